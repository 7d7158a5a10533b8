"""`penstock compute`: brings the feature tables up to date with the stored samples."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Annotated, Final

import typer

from features import job
from features.job import ViewReport
from historian.console import JsonOption, PlantOption, answer, progress
from historian.open_store import open_store
from historian.plant_load import load_plant
from historian.times import utc_now

ViewOption = Annotated[list[str], typer.Option("--view", help="Only this feature view; may be given several times.")]
_EVERY_VIEW: Final[list[str]] = []


def compute(
    plant: PlantOption = Path("plant.toml"), view: ViewOption = _EVERY_VIEW, *, as_json: JsonOption = False
) -> None:
    """Computes the feature rows that new, late or backfilled samples call for. Safe to stop and to run again."""
    checked = load_plant(plant)
    store = open_store(checked)
    start = monotonic()
    with progress("compute", unit="samples", total=job.samples_due(checked, store, view), quiet=as_json) as advance:
        reports = job.compute(checked, store, utc_now, views=view, advance=advance)
    seconds = round(monotonic() - start, 3)
    views = {name: asdict(report) for name, report in reports.items()}
    totals = {key: sum(counts[key] for counts in views.values()) for key in asdict(ViewReport())}
    answer({**totals, "views": views, "seconds": seconds}, _text(reports, seconds), as_json=as_json)


def _text(reports: dict[str, ViewReport], seconds: float) -> str:
    lines = [
        f"{name}: {report.feature_rows} new rows; {report.windows} windows computed, {report.invalid} of them not valid"
        for name, report in reports.items()
    ]
    return "\n".join([*lines, f"in {seconds:.1f} s"])
