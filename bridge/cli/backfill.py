"""`penstock backfill`: the history of legacy archives into the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli.options import chosen
from bridge.edge.database import open_edge
from bridge.run.backfills import ArchiveReport, Wanted, run_backfills
from historian.cli.console import JsonOption, PlantOption, answer, progress
from historian.errors import SourceError
from historian.logs import configure_logging
from historian.plant.load import load_plant
from historian.stores.open import open_store
from historian.times import parse_instant, utc_now


def backfill(
    archive: Annotated[str | None, typer.Argument(help="The archive; all archives if absent.")] = None,
    plant: PlantOption = Path("plant.toml"),
    *,
    start: Annotated[
        str | None, typer.Option(help="Start of the range, such as 2026-03-01T00:00:00Z or now-7d.")
    ] = None,
    end: Annotated[str | None, typer.Option(help="End of the range, excluded.")] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Also read intervals that were read before, because an address was wrong or a file came late.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be read.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read the history of legacy archives into the store; intervals that are there already are not read again."""
    configure_logging()
    loaded = load_plant(plant)
    connections = chosen(loaded.archives, [archive] if archive else None, "archives")
    now, started = utc_now(), time.monotonic()
    first, last = (parse_instant(text, now=now) if text else None for text in (start, end))
    with open_edge(loaded) as edge:
        work = run_backfills(
            connections,
            edge,
            open_store(loaded),
            wanted=Wanted(first, last, again),
            dry_run=dry_run,
            progress=lambda name, slices: progress(f"backfilling {name}", unit="slices", total=slices, quiet=as_json),
        )
        reports = asyncio.run(work)
    record = {"dry_run": dry_run, **_record(reports), "seconds": round(time.monotonic() - started, 3)}
    answer(record, "\n".join(map(partial(_line, dry_run=dry_run), reports.items())), as_json=as_json)
    if failures := record["failures"]:
        raise SourceError("\n".join(failures))


def _record(reports: Mapping[str, ArchiveReport]) -> dict[str, Any]:
    every = reports.values()
    return {
        "samples_backfilled": sum(report.samples for report in every),
        **{key: sum(getattr(report, key) for report in every) for key in ("quarantined", "conflicts", "waiting")},
        "archives": {name: asdict(report) for name, report in reports.items()},
        "failures": [each for report in every for each in (report.failure, *report.problems) if each],
    }


def _line(named: tuple[str, ArchiveReport], *, dry_run: bool) -> str:
    name, report = named
    if report.start is None or report.end is None:
        nothing = "nothing could be read" if report.failure else "all of it is in the store already"
        return f"{name}: {nothing}"
    period = f"{report.tags} tags from {report.start.isoformat()} to {report.end.isoformat()}"
    if dry_run:
        return f"{name}: would read {period} in {report.slices} slices"
    counts = f"{report.samples:,} samples, {report.quarantined:,} quarantined ({report.conflicts:,} conflicts)"
    waiting = f"; {report.waiting:,} wait in the spool for the store" if report.waiting else ""
    return f"{name}: {counts} of {period}{waiting}"
