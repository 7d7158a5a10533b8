"""Backfills of several archives, one after the other: what `penstock backfill` does."""

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
"""Called with an archive's name and its number of slices; gives what is called with 1 after each slice."""


@dataclass(frozen=True)
class Wanted:
    """What of the archives to bring."""

    start: datetime | None = None
    """The first instant; all that an archive has if None."""
    end: datetime | None = None
    """The first instant after."""
    again: bool = False
    """Whether to read what is covered already too."""


@dataclass(frozen=True)
class ArchiveReport:
    """What was done for one archive, or would be."""

    samples: int
    quarantined: int
    conflicts: int
    waiting: int
    """Samples that wait in the spool for the store."""
    slices: int
    """How many were to be read; 0 if nothing was, or if the archive could not be looked at."""
    tags: int
    start: datetime | None
    end: datetime | None
    failure: str = ""
    """What could not be read; empty if all could."""


async def run_backfills(
    connections: Sequence[ConnectionConfig],
    edge: Edge,
    store: Store,
    *,
    wanted: Wanted,
    dry_run: bool,
    progress: Progress,
) -> dict[str, ArchiveReport]:
    """Bring the past of some archives into the store. One that fails does not stop the others.

    Args:
        connections: the archives.
        edge: the edge database.
        store: where samples go.
        wanted: what to bring.
        dry_run: whether only to say what would be read.
        progress: how far each archive is.

    Returns:
        A report an archive.

    Raises:
        AccessDenied: the store does not let us write.
    """
    reports = {}
    for connection in connections:
        backfill = Backfill(connection, edge, store)
        plan, failure = list[Slice](), ""
        try:
            plan = await backfill.plan(wanted.start, wanted.end, again=wanted.again)
            with progress(connection.name, len(plan)) as advance:
                if not dry_run:
                    await backfill.run(plan, advance=advance)
        except SourceError as error:
            failure = str(error)
        finally:
            await backfill.close()
        reports[connection.name] = _report(backfill, plan, Spool(edge).waiting().get(connection.name, 0), failure)
    return reports


def _report(backfill: Backfill, plan: Sequence[Slice], waiting: int, failure: str) -> ArchiveReport:
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
    )
