"""`penstock verify-features`: draws stored rows, computes them again, and compares table, samples and online store."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from features.compute.verify import Difference, Verdict
from features.compute.verify_views import verify_views
from historian.cli.console import JsonOption, PlantOption, answer, progress
from historian.plant.load import load_plant
from historian.stores.open import open_store
from historian.times import utc_now

_SHOWN: Final = 10
_EVERY_VIEW: Final[list[str]] = []


def verify_features(
    plant: PlantOption = Path("plant.toml"),
    view: Annotated[
        list[str], typer.Option("--view", help="Only this feature view; several times for more.")
    ] = _EVERY_VIEW,
    *,
    rows: Annotated[int, typer.Option(min=1, help="How many stored rows of each view to draw.")] = 200,
    seed: Annotated[int | None, typer.Option(help="Draws the same rows again; else others each time.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that stored features are what their samples give, and online ones what is stored. Exit code 1 if not."""
    checked, now = load_plant(plant), utc_now()
    drawn, total = int(now.timestamp()) if seed is None else seed, len(view or checked.views)
    with progress("verify", unit="views", total=total, quiet=as_json) as advance:
        verdicts = verify_views(checked, open_store(checked), view, now=now, rows=rows, seed=drawn, advance=advance)
    right = all(verdict.right for verdict in verdicts.values())
    record = {"right": right, "seed": drawn, "views": {name: _record(verdict) for name, verdict in verdicts.items()}}
    answer(record, "\n".join(_text(name, verdict) for name, verdict in verdicts.items()), as_json=as_json)
    if not right:
        raise typer.Exit(1)


def _record(verdict: Verdict) -> dict[str, object]:
    return {**asdict(verdict), "differences": [asdict(each) for each in verdict.differences[:_SHOWN]]}


def _text(name: str, verdict: Verdict) -> str:
    counts = (
        f"{name}: {verdict.match} rows match, {verdict.mismatch} mismatch, {verdict.missing} missing, "
        f"{verdict.extra} extra, {verdict.left_out} left out; {_online_text(verdict)}"
    )
    return "\n".join([counts, *(f"  {_line(each)}" for each in verdict.differences[:_SHOWN])])


def _online_text(verdict: Verdict) -> str:
    if not verdict.materialised:
        return "nothing is online yet: penstock materialize writes it there"
    counts = (
        f"online {verdict.online} match, {verdict.online_mismatch} mismatch, {verdict.online_missing} missing, "
        f"{verdict.online_behind} behind"
    )
    return f"{counts}: run penstock materialize --full" if verdict.online_missing or verdict.online_behind else counts


def _line(each: Difference) -> str:
    expected = "stored" if each.where == "online" else "computed again"
    return (
        f"{each.where}: {each.asset} {_shown(each.event_timestamp)} {each.column}: "
        f"{_shown(each.found)}, {expected}: {_shown(each.expected)}"
    )


def _shown(value: object) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S.%f}Z" if isinstance(value, datetime) else repr(value)
