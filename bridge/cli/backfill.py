"""`penstock backfill`: the history of legacy archives into the store, at once or as jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from bridge.cli import backfill_jobs
from bridge.cli.backfill_options import (
    AgainOption,
    EndOption,
    OrderName,
    OrderOption,
    RateOption,
    StartOption,
    WindowOption,
    WorkersOption,
    parameters_of,
)
from bridge.cli.options import chosen
from bridge.edge.database import open_edge
from bridge.run.backfill import Backfill
from bridge.run.backfills import ArchiveReport, run_backfills
from bridge.run.estimate import Estimate
from historian.cli.console import JsonOption, PlantOption, answer, progress
from historian.errors import SourceError
from historian.logs import configure_logging
from historian.plant.load import load_plant
from historian.stores.open import open_store
from historian.times import format_instant, utc_now

DIRECT: Final = "now"
"""The subcommand that runs if none is named."""
_SHOWN: Final = 12
"""Largest number of slices that a dry run shows as text."""


class _Group(TyperGroup):
    """Takes `penstock backfill history` for `penstock backfill now history`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] == "--help")
        return list(super().parse_args(ctx, args if named else [DIRECT, *args]))


app = typer.Typer(
    cls=_Group,
    help="Read the history of legacy archives into the store; intervals that are there already are not read again. "
    "Without a subcommand it is `now`.",
)
backfill_jobs.add_to(app)


@app.command(DIRECT)
def backfill(  # noqa: PLR0913 (a parameter an option)
    archive: Annotated[str | None, typer.Argument(help="The archive; all archives if absent.")] = None,
    plant: PlantOption = Path("plant.toml"),
    *,
    start: StartOption = None,
    end: EndOption = None,
    again: AgainOption = False,
    order: OrderOption = OrderName.oldest,
    workers: WorkersOption = 1,
    rate: RateOption = None,
    window: WindowOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the slices, and what a probe says of samples, bytes and time.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read the history of legacy archives in this process, and wait for the end of it."""
    configure_logging()
    loaded, began = load_plant(plant), time.monotonic()
    connections = chosen(loaded.archives, [archive] if archive else None, "archives")
    parameters = parameters_of(
        (), start=start, end=end, again=again, order=order, workers=workers, rate=rate, window=window, now=utc_now()
    )
    with open_edge(loaded) as edge:
        work = run_backfills(
            connections,
            edge,
            open_store(loaded),
            wanted=parameters.wanted(tuple(loaded.sources), patient=False),
            dry_run=dry_run,
            progress=partial(_progress, quiet=as_json),
        )
        reports = asyncio.run(work)
    record = {"dry_run": dry_run, **_record(reports), "seconds": round(time.monotonic() - began, 3)}
    answer(record, "\n".join(map(_text, reports.items())), as_json=as_json)
    if failures := record["failures"]:
        raise SourceError("\n".join(failures))


def _progress(backfill: Backfill, slices: int, *, quiet: bool) -> AbstractContextManager[Any]:
    return progress(f"backfilling {backfill.name}", unit="slices", total=slices, quiet=quiet)


def _record(reports: Mapping[str, ArchiveReport]) -> dict[str, Any]:
    every = reports.values()
    return {
        "samples_backfilled": sum(report.samples for report in every),
        **{key: sum(getattr(report, key) for report in every) for key in ("quarantined", "conflicts")},
        "archives": {name: asdict(report) for name, report in reports.items()},
        "failures": [each for report in every for each in (report.failure, *report.problems) if each],
    }


def _text(named: tuple[str, ArchiveReport]) -> str:
    name, report = named
    if report.start is None or report.end is None:
        nothing = "nothing could be read" if report.failure else "all of it is in the store already"
        return f"{name}: {nothing}"
    period = f"{report.tags} tags from {report.start.isoformat()} to {report.end.isoformat()}"
    if report.plan:
        return "\n".join([f"{name}: would read {period} in {report.slices} slices", *_planned(report)])
    counts = f"{report.samples:,} samples, {report.quarantined:,} quarantined ({report.conflicts:,} conflicts)"
    return f"{name}: {counts} of {period}"


def _planned(report: ArchiveReport) -> list[str]:
    """Return the lines of a dry run: what the plan comes to, and the first slices in the order they would be read."""
    shown = [f"  {format_instant(piece.start)} to {format_instant(piece.end)}, {len(piece.tags)} tags"
             for piece in report.plan[:_SHOWN]]  # fmt: skip
    more = [f"  and {report.slices - _SHOWN} more"] if report.slices > _SHOWN else []
    return [f"  {_estimated(report.estimate)}", *shown, *more]


def _estimated(estimate: Estimate | None) -> str:
    if estimate is None:
        return "how many samples that is could not be estimated: the slice that was probed is empty"
    took = timedelta(seconds=round(estimate.seconds))
    size = estimate.store_bytes / 1e6
    return f"about {estimate.samples:,} samples, {size:,.1f} MB in the store, {took} to read with one worker"
