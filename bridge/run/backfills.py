"""Backfills of several archives, one after the other, for `penstock backfill`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from bridge.edge.database import Edge
from bridge.edge.spool import Spool
from bridge.run.backfill import Backfill
from bridge.run.slices import Slice
from historian.errors import SourceError
from historian.plant.connections import ConnectionConfig
from historian.stores.protocols import Store

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Called with an archive's name and number of slices; its context is a function to call with 1 after each slice."""


@dataclass(frozen=True)
class Wanted:
    """The range of time to backfill."""

    start: datetime | None = None
    """The first instant; that of the archive if None."""
    end: datetime | None = None
    """The first instant after the range; that of the archive if None."""
    again: bool = False
    """Whether to read covered intervals too."""


@dataclass(frozen=True)
class ArchiveReport:
    """The result for one archive, or the plan of a dry run."""

    samples: int
    quarantined: int
    conflicts: int
    waiting: int
    """Number of samples that wait in the spool for the store."""
    slices: int
    """Number of slices to read; 0 if there was nothing to read or the archive could not be read."""
    tags: int
    start: datetime | None
    end: datetime | None
    failure: str = ""
    """What could not be read; empty if everything was read."""
    problems: tuple[str, ...] = ()
    """Files and tags that cannot be read in any range; the others were read, and count as covered."""


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
        wanted: the range of time.
        dry_run: whether only to plan.
        progress: shows the progress of each archive.

    Returns:
        One report per archive, by name.

    Raises:
        AccessDenied: the store does not let us write.
    """
    reports = {}
    for connection in connections:
        backfill = Backfill(connection, edge, store)
        plan, failure, problems = list[Slice](), "", tuple[str, ...]()
        try:
            plan = await backfill.plan(wanted.start, wanted.end, again=wanted.again)
            problems = tuple(await backfill.problems())
            with progress(connection.name, len(plan)) as advance:
                if not dry_run:
                    await backfill.run(plan, advance=advance)
        except SourceError as error:
            failure = str(error)
        finally:
            await backfill.close()
        waiting = Spool(edge).waiting().get(connection.name, 0)
        reports[connection.name] = _report(backfill, plan, waiting, failure, problems)
    return reports


def _report(
    backfill: Backfill, plan: Sequence[Slice], waiting: int, failure: str, problems: tuple[str, ...]
) -> ArchiveReport:
    return ArchiveReport(
        samples=backfill.store.written.total(),
        quarantined=backfill.ingest.quarantined,
        conflicts=backfill.ingest.conflicts,
        waiting=waiting,
        slices=len(plan),
        tags=len({tag for piece in plan for tag in piece.tags}),
        start=plan[0].start if plan else None,
        end=plan[-1].end if plan else None,
        failure=failure,
        problems=problems,
    )
