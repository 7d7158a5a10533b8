"""Backfills of several archives, one after the other, for the command and for jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime

from bridge.edge.database import Edge
from bridge.run.backfill import Backfill
from bridge.run.courtesy import Limits
from bridge.run.estimate import Estimate, estimated
from bridge.run.slices import Order, Slice
from historian.errors import SourceError
from historian.plant.connections import ConnectionConfig
from historian.stores.protocols import Store

Progress = Callable[[Backfill, int], AbstractContextManager[Callable[[int], None]]]
"""Called with a backfill and its number of slices; its context is a function to call with 1 after each slice."""


@dataclass(frozen=True)
class Wanted:
    """What to backfill, and how."""

    start: datetime | None = None
    """The first instant; that of the archive if None."""
    end: datetime | None = None
    """The first instant after the range; that of the archive if None."""
    again: bool = False
    """Whether to read covered intervals too."""
    order: Order = "oldest"
    """Which slice is read first."""
    limits: Limits = field(default_factory=Limits)
    """What it may use."""


@dataclass(frozen=True)
class ArchiveReport:
    """The result for one archive, or the plan of a dry run."""

    samples: int
    quarantined: int
    conflicts: int
    slices: int
    """Number of slices to read; 0 if there was nothing to read or the archive could not be read."""
    tags: int
    start: datetime | None
    end: datetime | None
    failure: str = ""
    """What could not be read; empty if everything was read."""
    problems: tuple[str, ...] = ()
    """Files and tags that cannot be read in any range; the others were read, and count as covered."""
    plan: tuple[Slice, ...] = ()
    """The slices, of a dry run."""
    estimate: Estimate | None = None
    """What the plan comes to, of a dry run; None if nothing could be probed."""


async def run_backfills(
    connections: Sequence[ConnectionConfig],
    edge: Edge,
    store: Store,
    *,
    wanted: Wanted,
    dry_run: bool,
    progress: Progress,
) -> dict[str, ArchiveReport]:
    """Read the history of some archives into the store. A failing archive does not stop the others.

    Args:
        connections: the archives.
        edge: the edge database.
        store: the store to write to.
        wanted: the range of time, and how to read it.
        dry_run: whether only to plan, and to probe how long it takes.
        progress: shows the progress of each archive.

    Returns:
        One report per archive, by name.

    Raises:
        AccessDenied: the store does not let us write.
    """
    reports = {}
    for connection in connections:
        backfill = Backfill(connection, edge, store, limits=wanted.limits)
        work = _planned(backfill, wanted) if dry_run else _run(backfill, wanted, progress)
        try:
            reports[connection.name] = await work
        finally:
            await backfill.close()
    return reports


async def _planned(backfill: Backfill, wanted: Wanted) -> ArchiveReport:
    """Return the plan of one archive with what it comes to."""
    plan, failure, estimate = list[Slice](), "", None
    try:
        plan = await backfill.plan(wanted.start, wanted.end, again=wanted.again, order=wanted.order)
        estimate = await estimated(backfill.archive, plan)
    except SourceError as error:
        failure = str(error)
    return await _report(backfill, plan, failure, estimate)


async def _run(backfill: Backfill, wanted: Wanted, progress: Progress) -> ArchiveReport:
    """Read one archive, and return the result."""
    plan, failure = list[Slice](), ""
    try:
        plan = await backfill.plan(wanted.start, wanted.end, again=wanted.again, order=wanted.order)
        with progress(backfill, len(plan)) as advance:
            await backfill.run(plan, advance=advance)
    except SourceError as error:
        failure = str(error)
    return await _report(backfill, plan, failure)


async def _report(
    backfill: Backfill, plan: Sequence[Slice], failure: str, estimate: Estimate | None = None
) -> ArchiveReport:
    try:
        problems = tuple(await backfill.problems()) if plan or not failure else ()
    except SourceError as error:
        problems, failure = (), failure or str(error)
    return ArchiveReport(
        samples=backfill.link.written,
        quarantined=backfill.ingest.quarantined,
        conflicts=backfill.ingest.conflicts,
        slices=len(plan),
        tags=len({tag for piece in plan for tag in piece.tags}),
        start=min((piece.start for piece in plan), default=None),
        end=max((piece.end for piece in plan), default=None),
        failure=failure,
        problems=problems,
        plan=tuple(plan) if estimate else (),
        estimate=estimate,
    )
