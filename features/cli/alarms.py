"""`penstock alarms`: when the rules of the plant file would have fired, and how long before each failure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import polars as pl
import typer

from features.analysis.replay import Replayed, all_firings, replay
from features.training.events import read_events
from historian.cli.console import JsonOption, PlantOption, answer
from historian.cli.options import parse_duration_option
from historian.errors import InvalidInput, near_misses
from historian.plant.load import load_plant
from historian.plant.plant import Plant

app = typer.Typer(no_args_is_help=True, help="Alarm rules: when they would have fired.")
_PLANT: Final = Path("plant.toml")


@app.callback()
def alarms() -> None:
    """Alarm rules of the plant file, `[classes.X.alarms.NAME]`."""


@app.command("replay")
def replay_alarms(
    names: Annotated[list[str] | None, typer.Argument(help="Only these alarms; all if left out.")] = None,
    plant: PlantOption = _PLANT,
    *,
    failures: Annotated[Path | None, typer.Option(help="An event file, to count how early alarms warn.")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Kinds of events that are failures.")] = None,
    within: Annotated[
        str, typer.Option(help="A firing earlier than this before a failure is no warning of it.")
    ] = "30d",
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the firings as an event file: .csv or .parquet.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say how often the alarms would have fired on stored features, and how many hours before each failure.

    The firings are events of the kind that the alarm is called, which label rules can name.
    """
    checked = load_plant(plant)
    known = _failures(checked, failures, kind or ["failure"])
    span = parse_duration_option(within, "--within")
    found = replay(checked, names=names or (), failures=known, within=span)
    if out:
        _write(all_firings(found), out)
    text = "\n".join(line for each in found for line in _lines(each))
    record = {"alarms": [each.record for each in found], "file": out}
    answer(record, f"{text}\nwrote {out}" if out else text, as_json=as_json)


def _failures(plant: Plant, path: Path | None, kinds: list[str]) -> pl.DataFrame | None:
    if path is None:
        return None
    events = read_events(path, plant.assets)
    present = events["kind"].unique().to_list()
    if absent := [kind for kind in kinds if kind not in present]:
        raise InvalidInput(
            f"{path} has no event of kind {absent[0]!r}{near_misses(absent[0], present)}; name it by --kind"
        )
    return events.filter(pl.col("kind").is_in(kinds))


def _write(firings: pl.DataFrame, out: Path) -> None:
    if out.suffix not in (".csv", ".parquet"):
        raise InvalidInput(f"{out} is neither .csv nor .parquet")
    times = pl.col("happened_at", "known_at", "end").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    try:
        firings.with_columns(times).write_csv(out) if out.suffix == ".csv" else firings.write_parquet(out)
    except OSError as error:
        raise InvalidInput(f"{out} cannot be written: {error}") from None


def _lines(each: Replayed) -> Iterator[str]:
    assets = ", ".join(f"{asset} {count}" for asset, count in each.fired.group_by("asset").len().sort("asset").rows())
    title = f"{each.asset_class} {each.name} ({each.alarm.feature})"
    yield f"{title}: would have fired {each.fired.height} times{f', {assets}' if assets else ''}"
    for row in each.leads.iter_rows(named=True):
        when = f"{row['failed_at']:%Y-%m-%d %H:%M} UTC"
        warned = "no warning" if row["hours"] is None else f"{row['hours']:.1f} h before"
        yield f"  {row['asset']} failed {when}: {warned}"
    if each.false is not None:
        yield f"  {each.false} of {each.fired.height} firings were followed by no failure"
