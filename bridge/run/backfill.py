"""Backfill: the history of an archive, slice by slice, through the same path as live samples.

Intervals known to be in the store are not read again, so an interrupted backfill resumes where it stopped, and
repeating a finished one costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

import polars as pl
from pydantic import ByteSize

from bridge.delivery.retry import wait_after
from bridge.delivery.sink_runner import SinkRunner
from bridge.drivers.protocols import ProposesSlices, ReportsProblems, open_archive
from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.edge.spool import Spool
from bridge.ingest.ingest import Ingest
from bridge.ingest.validation import Validated
from bridge.run.reconcile import intervals_of, reconciled
from bridge.run.slices import Slice, slices
from historian.errors import AccessDenied, NotConnected, SourceError, StoreUnavailable
from historian.intervals import INTERVALS, intervals, overlap, union
from historian.logs import get_logger
from historian.plant.connections import ConnectionConfig
from historian.plant.model import SpoolBounds
from historian.stores.protocols import Store
from historian.times import utc_now

SPOOL_BYTES: Final = 512 << 20
"""Largest size in bytes of one archive's batches in the spool, smaller than a live source's: an archive can wait."""
IDLE_S: Final = 0.05
ATTEMPTS: Final = 5
"""Number of failed connections in a row after which a backfill gives up; it resumes when run again."""
STORE_FAILURES: Final = 8
"""Number of store failures in a row, some two minutes, after which comparing pages with the store gives up."""

Result = TypeVar("Result")

log = get_logger(__name__)


class Backfill:
    """The backfill of one archive."""

    def __init__(
        self,
        connection: ConnectionConfig,
        edge: Edge,
        store: Store,
        *,
        clock: Callable[[], datetime] = utc_now,
        wait: Callable[[Exception, int], float] = wait_after,
    ) -> None:
        """Create the archive without opening it. Raises `ConfigError` if the connection's configuration cannot work."""
        self.name = connection.name
        self.ingest = Ingest(connection, edge, live=False, bounds=SpoolBounds(max_size=ByteSize(SPOOL_BYTES)))
        self.store = SinkRunner(edge, store, [connection.name], wait=wait)
        self._archive = open_archive(connection)
        self._tags = [tag.name for tag in connection.tags]
        self._reader = store
        self._spool = Spool(edge)
        self._coverage = Coverage(edge)
        self._clock = clock
        self._wait = wait

    async def plan(self, start: datetime | None, end: datetime | None, *, again: bool = False) -> list[Slice]:
        """Return the slices of start <= t < end that are still to be read.

        Args:
            start: the first instant; that of the archive if None.
            end: the first instant after the range; that of the archive if None.
            again: whether to read covered intervals too, because an address was corrected or a file came late.

        Raises:
            SourceError: the archive cannot be read.
        """
        await self._connected(self._archive.open)
        extents = await self._connected(self._archive.extents)
        # The archive may still grow beyond its current extent: that time must not count as covered.
        rows = [(tag, max(start or first, first), min(end or last, last)) for tag, (first, last) in extents.items()]
        wanted = pl.DataFrame(rows, schema=INTERVALS, orient="row").filter(
            pl.col("tag").is_in(self._tags), pl.col("start") < pl.col("end")
        )
        if wanted.is_empty():
            return []
        first, last = wanted.select(pl.col("start").min(), pl.col("end").max()).row(0)
        covered = INTERVALS.to_frame() if again else self._coverage.of(self._tags, first, last)
        return slices(covered, wanted, starts=await self._proposed(first, last))

    async def _proposed(self, first: datetime, last: datetime) -> Sequence[datetime]:
        """Return where the archive wants slices of first <= t < last to begin; empty if it makes no proposal."""
        archive = self._archive
        if not isinstance(archive, ProposesSlices):
            return ()
        return await self._connected(partial(archive.slice_starts, first, last))

    async def problems(self) -> Sequence[str]:
        """Return what cannot be read in any range, and holds up nothing else; known after `plan`."""
        archive = self._archive
        return await self._connected(archive.problems) if isinstance(archive, ReportsProblems) else ()

    async def run(self, plan: Sequence[Slice], *, advance: Callable[[int], None]) -> None:
        """Read the slices of a plan and forward their samples; call `advance(1)` after each slice.

        Raises:
            SourceError: something could not be read. Everything else is in the store or the spool, and a slice with a
                failure does not count as covered.
            AccessDenied: the store does not let us write; what was read stays in the spool.
        """
        finish = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.store.run(finish, every=IDLE_S, clock=self._clock))
            reading = group.create_task(self._read_all(plan, advance))
            denied = group.create_task(self.store.denied.wait())
            await asyncio.wait((reading, denied), return_when=asyncio.FIRST_COMPLETED)
            reading.cancel()
            denied.cancel()
            finish.set()
        if self.store.denied.is_set():
            raise AccessDenied(f"{self.store.status.last_error}; what was read stays in the spool")
        if failures := reading.result():
            raise SourceError("\n".join(dict.fromkeys(failures)))

    async def close(self) -> None:
        """Close the archive."""
        await self._archive.close()

    async def _read_all(self, plan: Sequence[Slice], advance: Callable[[int], None]) -> list[str]:
        """Read the slices and return the failures. An unreadable file does not stop the others; a lost archive does."""
        failures: list[str] = []
        for piece in plan:
            try:
                await self._connected(partial(self._read, piece))
            except (NotConnected, StoreUnavailable) as error:
                return [*failures, str(error)]
            except SourceError as error:
                failures.append(str(error))
            except Exception as error:  # a fault in the driver must not stop the other slices
                log.exception("archive failed unexpectedly", source=self.name)
                failures.append(f"archive {self.name}: {type(error).__name__}: {error}")
            advance(1)
        return failures

    async def _connected(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Run the work; whenever the connection is lost, wait, reopen the archive, and run it again."""
        failures = 0
        while True:
            try:
                if failures:
                    await self._archive.open()
                return await work()
            except NotConnected as error:
                failures += 1
                await self._archive.close()
                if failures == ATTEMPTS:
                    raise
                wait = self._wait(error, failures)
                log.warning("archive not connected", source=self.name, reason=str(error), retry_in_s=round(wait, 1))
                await asyncio.sleep(wait)

    async def _read(self, piece: Slice) -> None:
        seen, first = INTERVALS.to_frame(), None
        async with aclosing(self._archive.read(piece.tags, piece.start, piece.end)) as pages:
            async for page in pages:
                now = self._clock()
                if page.rejected is not None and not page.rejected.is_empty():
                    await self.ingest.quarantine(page.rejected, origin=page.origin, now=now)
                found = await asyncio.to_thread(self.ingest.validate, page.rows, now=now)
                own = intervals_of(found.batches)
                if overlap(own, seen):
                    found = await self._reconciled(found)
                appended = await self.ingest.enqueue(found, origin=page.origin, now=now)
                first, seen = first or appended, union(pl.concat([seen, own]))
        # The mark after the last page: once it leaves the spool, the whole slice is in the store.
        whole = intervals(piece.tags, piece.start, piece.end)
        await self.ingest.enqueue(Validated(), origin="", now=self._clock(), covered=whole, covers_since=first)

    async def _reconciled(self, found: Validated) -> Validated:
        """Reject what contradicts earlier pages of the slice, as is done within a page.

        Raises:
            StoreUnavailable: the store has not accepted the earlier pages for some minutes, so they cannot be compared.
        """
        while self.name in await asyncio.to_thread(self._spool.waiting):
            if self.store.status.failures >= STORE_FAILURES:
                raise StoreUnavailable(
                    f"archive {self.name}: waiting for the store, in vain: {self.store.status.last_error}"
                )
            await asyncio.sleep(IDLE_S)
        return await asyncio.to_thread(reconciled, found, self._reader)
