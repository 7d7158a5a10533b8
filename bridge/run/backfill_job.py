"""A backfill as a job: the function that runs it, and its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from bridge.edge.database import open_edge
from bridge.run.backfill import Backfill
from bridge.run.backfills import ArchiveReport, Wanted, run_backfills
from bridge.run.courtesy import Limits
from bridge.run.pace import parse_hours
from bridge.run.slices import Order
from historian.job_worker import PartlyDone, Watch
from historian.jobs import JobProgress
from historian.plant.load import load_plant
from historian.stores.open import open_store
from historian.times import Instant


class BackfillParameters(BaseModel):
    """The parameters of a job of the kind `backfill`, as JSON holds them."""

    model_config = ConfigDict(extra="forbid")

    archives: tuple[str, ...] = ()
    """Names of the archives; all of them if empty."""
    start: Instant | None = None
    end: Instant | None = None
    again: bool = False
    order: Order = "oldest"
    workers: int = 1
    samples_per_s: float | None = None
    window: str | None = None
    """Hours of the day, as `parse_hours` takes them."""

    def wanted(self, live: tuple[str, ...], *, patient: bool) -> Wanted:
        """Return what to backfill, and how.

        Args:
            live: names of the live sources, which go first.
            patient: whether to wait for ever for an archive or a store that is away.
        """
        hours = parse_hours(self.window) if self.window else None
        limits = Limits(self.workers, self.samples_per_s, hours, live, patient)
        return Wanted(self.start, self.end, self.again, self.order, limits)


async def run(plant: Path, parameters: Mapping[str, Any], watch: Watch) -> dict[str, Any]:
    """Run a backfill as a job; cancelled and run again, it goes on where it was.

    Args:
        plant: path of the plant file.
        parameters: `BackfillParameters` as JSON.
        watch: takes a function that returns the progress.

    Returns:
        `archives`, a record for each archive by name, and `problems`, a list of files and tags that cannot be read in
        any range and were left out.

    Raises:
        PartlyDone: something could not be read; everything else was.
        AccessDenied: the store does not let us write.
    """
    loaded, wanted = load_plant(plant), BackfillParameters.model_validate(parameters)
    connections = [loaded.archives[name] for name in wanted.archives or loaded.archives]
    with open_edge(loaded) as edge:
        reports = await run_backfills(
            connections,
            edge,
            open_store(loaded),
            wanted=wanted.wanted(tuple(loaded.sources), patient=True),
            dry_run=False,
            progress=progress_of(watch),
        )
    problems = [text for each in reports.values() for text in each.problems]
    result = {"archives": {name: _record(each) for name, each in reports.items()}, "problems": problems}
    if failures := [each.failure for each in reports.values() if each.failure]:
        raise PartlyDone("\n".join(failures), result)
    return result


def progress_of(watch: Watch) -> Callable[[Backfill, int], AbstractContextManager[Callable[[int], None]]]:
    """Return what `run_backfills` calls with each archive, so that a job's progress can be watched."""

    @contextmanager
    def progress(backfill: Backfill, slices: int) -> Iterator[Callable[[int], None]]:
        done = 0

        def found() -> JobProgress:
            waits = backfill.link.waits_for or backfill.courtesy.reason
            message = f"{backfill.name}: {waits}" if waits else backfill.name
            return JobProgress(done, slices, backfill.link.written, message)

        def advance(count: int) -> None:
            nonlocal done
            done += count

        watch(found)
        yield advance

    return progress


def _record(report: ArchiveReport) -> dict[str, Any]:
    """Return a report as JSON."""
    record = asdict(report)
    for key in ("plan", "estimate", "problems"):
        del record[key]
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in record.items()}
