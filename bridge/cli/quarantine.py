"""`penstock quarantine`: samples that were kept out of the store, and why; export, purge and replay."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bridge.edge.database import open_edge
from bridge.edge.quarantine import Quarantine, Selection
from bridge.run.replay import replay as replay_rows
from historian.cli.console import JsonOption, PlantOption, answer
from historian.errors import InvalidInput
from historian.plant.load import load_plant
from historian.stores.open import open_store
from historian.times import parse_instant, utc_now

SourceOption = Annotated[str | None, typer.Option("--source", help="Only of this source or archive.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only with this reason, as shown in the list.")]
TagOption = Annotated[str | None, typer.Option("--tag", help="Only of this tag.")]
BeforeOption = Annotated[
    str | None, typer.Option("--before", help="Only rejected before this time, such as 2026-03-01T00:00:00Z or now-7d.")
]

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
def export(
    file: Annotated[Path, typer.Argument(help="A .parquet or .csv file.")],
    plant: PlantOption = Path("plant.toml"),
    *,
    source: SourceOption = None,
    reason: ReasonOption = None,
    tag: TagOption = None,
    before: BeforeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the rejected samples to a file, each with its reason, its origin and the time of rejection."""
    with open_edge(load_plant(plant)) as edge:
        rows = Quarantine(edge).export(file, _selection(source, reason, tag, before))
    answer({"rows": rows, "file": file}, f"{rows:,} rows written to {file}", as_json=as_json)


@app.command()
def purge(
    plant: PlantOption = Path("plant.toml"),
    *,
    source: SourceOption = None,
    reason: ReasonOption = None,
    tag: TagOption = None,
    before: BeforeOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Every rejected sample.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete rejected samples permanently."""
    selection = _selection(source, reason, tag, before)
    if selection == Selection() and not everything:
        raise InvalidInput("say which rows to delete, by --source, --reason, --tag or --before; or --all")
    with open_edge(load_plant(plant)) as edge:
        rows = Quarantine(edge).purge(selection)
    answer({"rows": rows}, f"{rows:,} rows deleted", as_json=as_json)


@app.command()
def replay(
    plant: PlantOption = Path("plant.toml"),
    *,
    source: SourceOption = None,
    reason: ReasonOption = None,
    tag: TagOption = None,
    before: BeforeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check rejected samples against the current plant file, and store those that are valid now.

    Samples that contradict a stored one are replayed, and overwrite it, only if --reason names that.
    """
    loaded, selection = load_plant(plant), _selection(source, reason, tag, before)
    with open_edge(loaded) as edge:
        done = asyncio.run(replay_rows(loaded, edge, open_store(loaded), selection, now=utc_now()))
    waiting = f"; {done.waiting:,} samples wait in the spool for the store" if done.waiting else ""
    text = f"{done.replayed:,} samples were accepted, {done.rejected:,} stay in quarantine{waiting}"
    answer(asdict(done), text, as_json=as_json)


def _selection(source: str | None, reason: str | None, tag: str | None, before: str | None) -> Selection:
    return Selection(source, reason, tag, parse_instant(before, now=utc_now()) if before else None)
