"""Fills the gap that an outage has left from the history of a source's other side, while the source is read again.

Where there is no history, or it cannot be read, the gap stays one: nothing counts as covered there, and a backfill can
read it from an archive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from bridge.drivers.protocols import KeepsHistory, Page, Source
from bridge.drivers.raw_rows import RawRows
from bridge.ingest.filled import FIRST, NEWEST, filled
from bridge.ingest.ingest import Ingest
from bridge.ingest.validation import Validated
from historian.logs import get_logger

SEAM: Final = timedelta(seconds=10)
"""How long before an outage its history is read: the last values may have waited in the server's queues."""

log = get_logger(__name__)


class OutageFiller:
    """Knows from when on values of one source are missing, and reads them once it is connected again."""

    def __init__(self, source: Source, ingest: Ingest, clock: Callable[[], datetime]) -> None:
        self._source = source
        self._ingest = ingest
        self._clock = clock
        self._since: datetime | None = None
        """From when on values may be missing, on the devices' clocks; None if none are."""
        self._lost_at: datetime | None = None
        """The same on our clock."""
        self._task: asyncio.Task[None] | None = None
        self._first = FIRST.to_frame()
        """The time of each tag's first value in this session, while an outage is being filled."""

    def interrupted(self, marks: pl.DataFrame, lost_at: datetime) -> None:
        """Note an outage by its Bad samples, columns of `samples.SCHEMA`, and when the source was last heard."""
        earliest = marks["timestamp"].min()
        if isinstance(earliest, datetime):
            self._since, self._lost_at = min(self._since or earliest, earliest), self._lost_at or lost_at

    def begin(self, clocks: Callable[[], pl.DataFrame]) -> None:
        """Start to fill what is missing, as the source is connected; `clocks` returns `Continuity.clocks`."""
        source, since, now = self._source, self._since, self._clock()
        if since is None or self._lost_at is None or not isinstance(source, KeepsHistory) or not source.longest_outage:
            return
        if now - self._lost_at > source.longest_outage:
            log.warning("the outage was too long to be filled; run a backfill", source=self._ingest.name, since=since)
            self._since = self._lost_at = None
            return
        self._first = FIRST.to_frame()
        filling = self._fill(source, since - SEAM, now, clocks)
        self._task = asyncio.create_task(filling, name=f"fill outage of {self._ingest.name}")

    def follow(self, rows: RawRows) -> None:
        """Note the first values of the session."""
        if self._task is not None and not self._task.done() and not rows.is_empty:
            first = rows.spans().select("tag", "first").cast(FIRST)
            self._first = pl.concat([self._first, first]).unique("tag", keep="first", maintain_order=True)

    async def end(self) -> None:
        """Stop filling, because the connection ends; what is missing is filled after the next one begins."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _fill(
        self, source: KeepsHistory, start: datetime, began: datetime, clocks: Callable[[], pl.DataFrame]
    ) -> None:
        try:
            await asyncio.sleep(source.history_lag.total_seconds())
            samples = await self._read(source, start, began, clocks)
        except Exception as error:  # noqa: BLE001 - whatever history is like, live data go on
            reason = f"{type(error).__name__}: {error}"
            log.warning("an outage could not be filled from the history", source=self._ingest.name, reason=reason)
        else:
            self._since = self._lost_at = None
            log.info("filled an outage from the history", source=self._ingest.name, since=start, samples=samples)

    async def _read(
        self, source: KeepsHistory, start: datetime, began: datetime, clocks: Callable[[], pl.DataFrame]
    ) -> int:
        """Read the history into the spool, and then mark what it covers; return the number of samples."""
        newest, batches, samples = NEWEST.to_frame(), list[int](), 0

        async def take(page: Page) -> None:
            nonlocal newest, samples
            now = self._clock()
            validated = await asyncio.to_thread(self._ingest.validate, page.rows, now=now)
            batch = await self._ingest.enqueue(validated, origin=page.origin, now=now)
            batches.extend([] if batch is None else [batch])
            samples += validated.batches.total
            spans = page.rows.spans().select("tag", newest="last").cast(NEWEST)
            newest = pl.concat([newest, spans]).group_by("tag").agg(pl.col("newest").max())

        tags = await source.read_missed(start, self._clock(), take)
        covered = filled(tags, start=start, began=began, newest=newest, first=self._first, clocks=clocks())
        if not covered.is_empty():
            since = batches[0] if batches else None
            await self._ingest.enqueue(Validated(), origin="", now=self._clock(), covered=covered, covers_since=since)
        return samples
