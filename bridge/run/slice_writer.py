"""Writes one slice of an archive to the store: pages are validated, joined into large writes, and then covered.

Nothing is kept on the edge's disk on the way, because the archive can be read again. What covers the slice is recorded
only when the store has acknowledged all of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from bridge.delivery.retry import wait_after
from bridge.delivery.writing import Writer
from bridge.drivers.protocols import Page
from bridge.edge.batches import Batches, joined
from bridge.edge.coverage import Coverage
from bridge.edge.spool import MAX_MEMORY
from bridge.ingest.ingest import Ingest, to_its_end
from bridge.ingest.validation import Validated
from bridge.run.courtesy import Courtesy
from bridge.run.reconcile import intervals_of, reconciled
from historian.errors import AccessDenied, StoreUnavailable
from historian.intervals import INTERVALS, overlap, union
from historian.logs import get_logger
from historian.stores.protocols import Reader

log = get_logger(__name__)


class StoreLink:
    """The store as the slices of an archive share it: retries, and counts what it has accepted."""

    def __init__(
        self,
        writer: Writer,
        source: str,
        courtesy: Courtesy,
        *,
        clock: Callable[[], datetime],
        wait: Callable[[Exception, int], float] = wait_after,
        attempts: int | None,
    ) -> None:
        """Create it.

        Args:
            writer: writes to the store.
            source: name of the archive.
            courtesy: rests when the store is slow.
            clock: returns the current time.
            wait: seconds to wait after an error, given the number of errors in a row.
            attempts: number of failures in a row after which a write fails; None to retry for ever.
        """
        self.written = 0
        """Number of samples that the store has accepted."""
        self.waits_for = ""
        """Why a write waits for the store; empty while it does not."""
        self.turn = asyncio.Lock()
        """Held by whoever uses the store: its object is that of one thread at a time."""
        self._writer = writer
        self._source = source
        self._courtesy = courtesy
        self._clock = clock
        self._wait = wait
        self._attempts = attempts

    async def write(self, batches: Batches) -> None:
        """Write until the store has accepted it; if cancelled, the write under way is finished first.

        Raises:
            AccessDenied: the store does not let us write.
            StoreUnavailable: it has failed too often.
        """
        failures = 0
        while True:
            try:
                async with self.turn:
                    began = time.monotonic()
                    await to_its_end(lambda: self._write(batches))
            except AccessDenied:
                raise
            except Exception as error:  # noqa: BLE001 (whatever a store raises, the samples are in the archive)
                failures += 1
                await self._failed(error, failures)
            else:
                self.waits_for = ""
                await self._courtesy.moved("store", batches.total, time.monotonic() - began)
                return

    def _write(self, batches: Batches) -> None:
        self.written += self._writer.write(batches, source=self._source, now=self._clock())

    async def _failed(self, error: Exception, failures: int) -> None:
        reason = str(error) or type(error).__name__
        if failures == self._attempts:
            raise StoreUnavailable(f"archive {self._source}: waiting for the store, in vain: {reason}") from error
        if reason != self.waits_for:
            log.warning("the backfill waits for the store", source=self._source, reason=reason)
        self.waits_for = reason
        await asyncio.sleep(self._wait(error, failures))


@dataclass(frozen=True)
class Parts:
    """What the slices of one archive share."""

    ingest: Ingest
    link: StoreLink
    store: Reader
    coverage: Coverage
    clock: Callable[[], datetime]

    async def cover(self, covered: pl.DataFrame) -> None:
        """Record intervals, columns of `INTERVALS`, that the store has completely."""
        await self.ingest.when_there_is_room(lambda: self.coverage.add(covered))


class SliceWriter:
    """Takes the pages of one slice, in the order in which they were read; `async with` ends what it has begun.

    One write is under way while the next pages are validated.
    """

    def __init__(self, parts: Parts, *, max_memory: int = MAX_MEMORY) -> None:
        """Create a writer of one slice.

        Args:
            parts: what it shares with other slices.
            max_memory: approximate size in memory, in bytes, from which pages are written.
        """
        self._parts = parts
        self._max_memory = max_memory
        self._held: list[Batches] = []
        self._seen = INTERVALS.to_frame()
        self._writing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SliceWriter:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])

    async def take(self, page: Page) -> None:
        """Validate a page, put what is invalid into quarantine, and write the rest or hold it for a larger write.

        What contradicts an earlier page of the slice is rejected, as it is within a page.
        """
        parts, now = self._parts, self._parts.clock()
        if page.rejected is not None and not page.rejected.is_empty():
            await parts.ingest.quarantine(page.rejected, origin=page.origin, now=now)
        found = await asyncio.to_thread(parts.ingest.validate, page.rows, now=now)
        own = intervals_of(found.batches)
        if overlap(own, self._seen):
            await self._flush()
            await self._written()
            found = await self._reconciled(found)
        self._seen = union(pl.concat([self._seen, own]))
        if not found.rejected.is_empty():
            await parts.ingest.quarantine(found.rejected, origin=page.origin, now=now, conflicts=found.conflicts)
        self._held.append(found.batches)
        if sum(each.memory for each in self._held) >= self._max_memory:
            await self._flush()

    async def _flush(self) -> None:
        """Begin to write what is held, once the write before is done."""
        held = [each for each in self._held if not each.is_empty]
        self._held = []
        if held:
            batches = held[0] if len(held) == 1 else await asyncio.to_thread(joined, held)
            await self._written()
            self._writing = asyncio.create_task(self._parts.link.write(batches))

    async def _written(self) -> None:
        """Wait for the write under way. Raises what it raises."""
        writing, self._writing = self._writing, None
        if writing is not None:
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                self._writing = writing
                raise

    async def cover(self, covered: pl.DataFrame) -> None:
        """Record intervals, columns of `INTERVALS`, as covered, once everything taken is in the store."""
        await self._flush()
        await self._written()
        await self._parts.cover(covered)

    async def _reconciled(self, found: Validated) -> Validated:
        """Reject what contradicts earlier pages, which are in the store.

        Raises:
            StoreUnavailable: the store cannot be read.
        """
        async with self._parts.link.turn:
            return await asyncio.to_thread(reconciled, found, self._parts.store)
