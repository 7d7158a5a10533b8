"""`penstock quarantine`: samples that were kept out of the store, and why; export, purge and replay."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.selection import with_selection
from bridge.edge.database import open_edge
from bridge.edge.quarantine import Quarantine, Selection
from bridge.run.replay import replay as replay_rows
from historian.cli.console import JsonOption, PlantOption, answer
from historian.errors import InvalidInput
from historian.plant.load import load_plant
from historian.stores.open import open_store
from historian.times import utc_now

app = typer.Typer(help="Samples that were kept out of the store: show, export, purge, replay.", no_args_is_help=False)


@app.callback(invoke_without_command=True)
def quarantine(ctx: typer.Context, plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """Show how many samples were kept out of the store, and why."""
    if ctx.invoked_subcommand is not None:
        return
    with open_edge(load_plant(plant)) as edge:
        counts = Quarantine(edge).counts().to_dicts()
    lines = []
    for count in counts:
        discarded = f" ({count['discarded']:,} more were discarded)" if count["discarded"] else ""
        lines.append(f"{count['rows']:>10,}  {count['source']}: {count['reason']}{discarded}")
    record = {"rows": sum(count["rows"] for count in counts), "reasons": counts}
    answer(record, "\n".join(lines) or "nothing is in quarantine", as_json=as_json)


@app.command()
@with_selection
def export(
    file: Annotated[Path, typer.Argument(help="A .parquet or .csv file.")],
    plant: PlantOption = Path("plant.toml"),
    *,
    selection: Selection,
    as_json: JsonOption = False,
) -> None:
    """Write the rejected samples to a file, each with its reason, its origin and the time of rejection."""
    with open_edge(load_plant(plant)) as edge:
        rows = Quarantine(edge).export(file, selection)
    answer({"rows": rows, "file": file}, f"{rows:,} rows written to {file}", as_json=as_json)


@app.command()
@with_selection
def purge(
    plant: PlantOption = Path("plant.toml"),
    *,
    selection: Selection,
    everything: Annotated[bool, typer.Option("--all", help="Every rejected sample.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete rejected samples permanently."""
    if selection == Selection() and not everything:
        raise InvalidInput("say which rows to delete, by --source, --reason, --tag or --before; or --all")
    with open_edge(load_plant(plant)) as edge:
        rows = Quarantine(edge).purge(selection)
    answer({"rows": rows}, f"{rows:,} rows deleted", as_json=as_json)


@app.command()
@with_selection
def replay(
    plant: PlantOption = Path("plant.toml"),
    *,
    selection: Selection,
    as_json: JsonOption = False,
) -> None:
    """Check rejected samples against the current plant file, and store those that are valid now.

    Samples that contradict a stored one are replayed, and overwrite it, only if --reason names that.
    """
    loaded = load_plant(plant)
    with open_edge(loaded) as edge:
        done = asyncio.run(replay_rows(loaded, edge, open_store(loaded), selection, now=utc_now()))
    waiting = f"; {done.waiting:,} samples wait in the spool for the store" if done.waiting else ""
    text = f"{done.replayed:,} samples were accepted, {done.rejected:,} stay in quarantine{waiting}"
    answer(asdict(done), text, as_json=as_json)
