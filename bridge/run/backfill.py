"""Backfill: the history of an archive, slice by slice, to the store.

Intervals known to be in the store are not read again, so an interrupted backfill resumes where it stopped, and
repeating a finished one costs nothing. A slice is covered once the store has acknowledged all of it; whatever ends a
run in between costs the slices that were being read.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

import polars as pl

from bridge.delivery.retry import wait_after
from bridge.delivery.writing import Writer
from bridge.drivers.protocols import (
    LearnsByReading,
    Page,
    ProposesSlices,
    ReadsConcurrently,
    ReportsProblems,
    open_archive,
)
from bridge.drivers.raw_rows import number_of_samples
from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.edge.spool import STORE
from bridge.ingest.ingest import Ingest
from bridge.run.ahead import read_ahead
from bridge.run.courtesy import Courtesy, Limits
from bridge.run.slice_writer import Parts, SliceWriter, StoreLink
from bridge.run.slices import Order, Slice, slices
from historian.errors import AccessDenied, NotConnected, SourceError, StoreUnavailable, TagsNotRead
from historian.intervals import INTERVALS, intervals
from historian.logs import get_logger
from historian.plant.connections import ConnectionConfig
from historian.stores.protocols import Store
from historian.times import utc_now

ATTEMPTS: Final = 5
"""Number of failed connections in a row after which a backfill gives up; it resumes when run again."""
STORE_ATTEMPTS: Final = 8
"""Number of failed writes in a row, some two minutes, after which a backfill gives up."""

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
        limits: Limits | None = None,
        clock: Callable[[], datetime] = utc_now,
        wait: Callable[[Exception, int], float] = wait_after,
    ) -> None:
        """Create the archive without opening it.

        Args:
            connection: the archive.
            edge: the edge database.
            store: the store to write to.
            limits: what it may use; one worker at any hour if None.
            clock: returns the current time.
            wait: seconds to wait after an error, given the number of errors in a row.

        Raises:
            ConfigError: the connection's configuration cannot work.
        """
        self.name = connection.name
        self.ingest = Ingest(connection, edge, live=False)
        self.archive = open_archive(connection)
        self._limits = limits or Limits()
        self.courtesy = Courtesy(self._limits, edge, clock=clock)
        writer = Writer(store, Quarantine(edge), name=STORE)
        attempts = None if self._limits.patient else STORE_ATTEMPTS
        self.link = StoreLink(writer, self.name, self.courtesy, clock=clock, wait=wait, attempts=attempts)
        self._tags = [tag.name for tag in connection.tags]
        self._coverage = Coverage(edge)
        self._parts = Parts(self.ingest, self.link, store, self._coverage, clock)
        self._attempts = None if self._limits.patient else ATTEMPTS
        self._wait = wait
        self._sessions = 0
        self._reopening = asyncio.Lock()
        self._unseen: list[Slice] = []

    async def plan(
        self, start: datetime | None, end: datetime | None, *, again: bool = False, order: Order = "oldest"
    ) -> list[Slice]:
        """Return the slices of start <= t < end that are still to be read.

        Args:
            start: the first instant; that of the archive if None.
            end: the first instant after the range; that of the archive if None.
            again: whether to read covered intervals too, because an address was corrected or a file came late.
            order: whether the oldest slice comes first or the newest.

        Raises:
            SourceError: the archive cannot be read.
        """
        await self._connected(self.archive.open)
        everything = start is None and end is None
        archive = self.archive
        glance = archive.outlook if everything and isinstance(archive, LearnsByReading) else archive.extents
        extents = await self._connected(glance)
        # The archive may still grow beyond its current extent: that time must not count as covered.
        rows = [(tag, max(start or first, first), min(end or last, last)) for tag, (first, last) in extents.items()]
        wanted = pl.DataFrame(rows, schema=INTERVALS, orient="row").filter(
            pl.col("tag").is_in(self._tags), pl.col("start") < pl.col("end")
        )
        if wanted.is_empty():
            return []
        first, last = wanted.select(pl.col("start").min(), pl.col("end").max()).row(0)
        covered = INTERVALS.to_frame() if again else self._coverage.of(self._tags, first, last)
        return slices(covered, wanted, starts=await self._proposed(first, last), order=order)

    async def _proposed(self, first: datetime, last: datetime) -> Sequence[datetime]:
        """Return where the archive wants slices of first <= t < last to begin; empty if it makes no proposal."""
        archive = self.archive
        if not isinstance(archive, ProposesSlices):
            return ()
        return await self._connected(partial(archive.slice_starts, first, last))

    async def problems(self) -> Sequence[str]:
        """Return what cannot be read in any range, and holds up nothing else.

        Some of it is known after `plan`, all of it after `run`.
        """
        archive = self.archive
        return await self._connected(archive.problems) if isinstance(archive, ReportsProblems) else ()

    async def run(self, plan: Sequence[Slice], *, advance: Callable[[int], None]) -> None:
        """Read the slices of a plan and write them to the store; call `advance(1)` after each slice.

        It may be cancelled at any time; what is covered then is in the store.

        Raises:
            SourceError: something could not be read. Everything else is in the store, and a slice with a failure does
                not count as covered.
            AccessDenied: the store does not let us write.
        """
        waiting, failures, denials = deque(plan), list[str](), list[AccessDenied]()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers()):
                group.create_task(self._work(waiting, failures, denials, advance))
        await self._cover_unseen()
        if denials:
            raise AccessDenied(f"{denials[0]}; what was not written is read again by the next backfill")
        if failures:
            raise SourceError("\n".join(dict.fromkeys(failures)))

    async def close(self) -> None:
        """Close the archive."""
        await self.archive.close()

    def _workers(self) -> int:
        """Return the number of slices to read at the same time."""
        allowed = self.archive.concurrent_reads() if isinstance(self.archive, ReadsConcurrently) else 1
        return max(1, min(self._limits.workers, allowed))

    async def _work(
        self,
        waiting: deque[Slice],
        failures: list[str],
        denials: list[AccessDenied],
        advance: Callable[[int], None],
    ) -> None:
        """Read slices until none is left. An unreadable file does not stop the others; a lost archive does."""
        while waiting:
            piece = waiting.popleft()
            await self.courtesy.turn()
            try:
                await self._connected(partial(self._read, piece))
            except (NotConnected, StoreUnavailable) as error:
                failures.append(str(error))
                waiting.clear()
                return
            except SourceError as error:
                failures.append(str(error))
            except AccessDenied as error:
                denials.append(error)
                waiting.clear()
                return
            except Exception as error:  # a fault in the driver must not stop the other slices
                log.exception("archive failed unexpectedly", source=self.name)
                failures.append(f"archive {self.name}: {type(error).__name__}: {error}")
            advance(1)

    async def _connected(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Run the work; whenever the connection is lost, wait, reopen the archive, and run it again."""
        failures = 0
        while True:
            session = self._sessions
            try:
                if failures:
                    await self._reopened(session)
                return await work()
            except NotConnected as error:
                failures += 1
                if failures == self._attempts:
                    raise
                wait = self._wait(error, failures)
                log.warning("archive not connected", source=self.name, reason=str(error), retry_in_s=round(wait, 1))
                await asyncio.sleep(wait)

    async def _reopened(self, session: int) -> None:
        """Close and open the archive, unless another worker has done so since that session."""
        async with self._reopening:
            if self._sessions == session:
                await self.archive.close()
                await self.archive.open()
                self._sessions += 1

    async def _read(self, piece: Slice) -> None:
        """Read a slice and cover it, except for tags that failed or that may be nowhere."""
        async with SliceWriter(self._parts) as writer:
            failure = await self._moved(piece, writer)
            lost = failure.tags if isinstance(failure, TagsNotRead) else piece.tags if failure else ()
            read = [tag for tag in piece.tags if tag not in lost]
            unseen = self._unseen_of(read)
            await writer.cover(intervals([tag for tag in read if tag not in unseen], piece.start, piece.end))
        if unseen:
            self._unseen.append(Slice(piece.start, piece.end, tuple(unseen)))
        if failure is not None:
            raise failure

    async def _moved(self, piece: Slice, writer: SliceWriter) -> Exception | None:
        """Give the pages of a slice to its writer; return what ended the reading before its end."""
        async with aclosing(read_ahead(self._timed(piece))) as pages:
            while True:
                try:
                    page = await anext(pages, None)
                except NotConnected:
                    raise
                except Exception as error:  # noqa: BLE001 (a fault in the driver; what was read before it is written)
                    return error
                if page is None:
                    return None
                await writer.take(page)
                await self.courtesy.turn()

    async def _timed(self, piece: Slice) -> AsyncGenerator[Page]:
        """Yield the pages of a slice; rest after one that took unusually long."""
        began = time.monotonic()
        async with aclosing(self.archive.read(piece.tags, piece.start, piece.end)) as pages:
            async for page in pages:
                count = page.rows.samples.height + number_of_samples(page.rows.waveforms)
                await self.courtesy.moved("source", count, time.monotonic() - began)
                yield page
                began = time.monotonic()

    def _unseen_of(self, tags: Sequence[str]) -> Collection[str]:
        return self.archive.unseen(tags) if isinstance(self.archive, LearnsByReading) else ()

    async def _cover_unseen(self) -> None:
        """Cover the slices of tags that were in no part read before them, but in one read since."""
        held, self._unseen = self._unseen, []
        for piece in held:
            unseen = self._unseen_of(piece.tags)
            found = [tag for tag in piece.tags if tag not in unseen]
            await self._parts.cover(intervals(found, piece.start, piece.end))
