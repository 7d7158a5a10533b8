"""Backfill: an archive's past, slice by slice, through the same path as live samples.

What coverage proves to be in the store is not read again, so an interrupted backfill resumes where it stopped, and a
finished one costs nothing to repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from bridge.delivery.forwarder import Forwarder
from bridge.drivers.protocols import open_archive
from bridge.edge.database import Edge
from bridge.edge.quarantine import REASONED, reasoned
from bridge.edge.spool import Spool
from bridge.ingest.coverage import STRETCHES, Coverage, gaps, reached, stretches, union
from bridge.ingest.intake import CONFLICT, Inspected, Intake
from historian.errors import NotConnected, SourceError
from historian.plant.connections import ConnectionConfig
from historian.samples import KEY, SampleBatch, empty_batch, normalise
from historian.stores.protocols import Store
from historian.times import utc_now

SLICES: Final = 64
"""A backfill is cut into at most this many slices: its steps of progress, and what an interruption can cost."""
SHORTEST_SLICE: Final = timedelta(hours=1)
SPOOL_BYTES: Final = 512 << 20
"""Of the spool, a backfill takes no more than this: its archive can wait."""
IDLE_S: Final = 0.05


@dataclass(frozen=True)
class Slice:
    """A half-open stretch of time and the tags not yet proven complete in it."""

    start: datetime
    end: datetime
    tags: tuple[str, ...]


def slices(covered: pl.DataFrame, tags: Sequence[str], start: datetime, end: datetime) -> list[Slice]:
    """What is still to be read of start <= t < end, in order of time."""
    length = max(SHORTEST_SLICE, (end - start) / SLICES)
    open_ = gaps(covered, tags, start, end)
    found = []
    while start < end:
        stop = min(start + length, end)
        inside = open_.filter(pl.col("start") < stop, pl.col("end") > start)
        if not inside.is_empty():
            # Only as far as the gaps go: what the store has already is not asked for again.
            first, last = inside.select(pl.col("start").min().clip(start), pl.col("end").max().clip(None, stop)).row(0)
            found.append(Slice(first, last, tuple(inside["tag"].unique(maintain_order=True))))
        start = stop
    return found


class Backfill:
    """One archive's way into the store."""

    def __init__(
        self, feed: ConnectionConfig, edge: Edge, store: Store, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        """Raises `ConfigError` if the feed's configuration cannot work."""
        self.name = feed.name
        self.archive = open_archive(feed)
        self.intake = Intake(feed, edge, max_bytes=SPOOL_BYTES)
        self.forwarder = Forwarder(edge, store, [feed.name])
        self._tags = [tag.name for tag in feed.tags]
        self._store = store
        self._spool = Spool(edge)
        self._coverage = Coverage(edge)
        self._clock = clock

    def plan(self, start: datetime | None, end: datetime | None, *, again: bool = False) -> list[Slice]:
        """The slices of start <= t < end that are still to be read; all the archive has where None is given.

        With `again`, those too that are covered: after an address was corrected, or a file came late.
        """
        # Beyond its present extent the archive may still grow: that time must not count as covered.
        first, last = self.archive.extent()
        start, end = max(start or first, first), min(end or last, last)
        covered = STRETCHES.to_frame() if again else self._coverage.of(self._tags, start, end)
        return slices(covered, self._tags, start, end)

    async def run(self, plan: Sequence[Slice], *, advance: Callable[[int], None]) -> None:
        """Reads the slices of a plan and forwards what they hold; calls `advance(1)` after each.

        Raises:
            SourceError: something could not be read. All that could be is in the store or the spool, and a slice with
                a failure does not count as covered.
        """
        finish = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.forwarder.run(finish, every=IDLE_S, clock=self._clock))
            failures = await self._read_all(plan, advance)
            finish.set()
        if failures:
            raise SourceError("\n".join(dict.fromkeys(failures)))

    async def _read_all(self, plan: Sequence[Slice], advance: Callable[[int], None]) -> list[str]:
        """Reads the slices; returns what went wrong. A broken file must not stop the others, a lost archive may."""
        failures: list[str] = []
        for piece in plan:
            try:
                await self._read(piece)
            except NotConnected as error:
                return [*failures, str(error)]
            except SourceError as error:
                failures.append(str(error))
            advance(1)
        return failures

    async def _read(self, piece: Slice) -> None:
        pages = self.archive.read(piece.tags, piece.start, piece.end)
        seen = nothing = STRETCHES.to_frame()
        while page := await asyncio.to_thread(next, pages, None):
            if page.rejected is not None and not page.rejected.is_empty():
                await self.intake.refuse(page.rejected, origin=page.origin, now=self._clock())
            found = await asyncio.to_thread(self.intake.inspect, page.rows, now=self._clock())
            own = reached(found.batch, nothing)
            if overlap(own, seen):
                found = await self._reconciled(found)
            await self.intake.admit(found, origin=page.origin, now=self._clock(), proven=nothing)
            seen = union(pl.concat([seen, own]))
        # The mark behind the last page: once it leaves the spool, the whole slice is in the store.
        whole = stretches(piece.tags, piece.start, piece.end)
        mark = Inspected(empty_batch(), REASONED.to_frame(), conflicts=0)
        await self.intake.admit(mark, origin="", now=self._clock(), proven=whole)

    async def _reconciled(self, found: Inspected) -> Inspected:
        """Tells apart what contradicts earlier pages of the slice: theirs stays, as `normalise` does within a page."""
        while self.name in await asyncio.to_thread(self._spool.waiting):
            await asyncio.sleep(IDLE_S)
        return await asyncio.to_thread(self._against_store, found)

    def _against_store(self, found: Inspected) -> Inspected:
        tags = found.batch["tag"].unique().to_list()
        first, last = found.batch.select(first=pl.col("timestamp").min(), last=pl.col("timestamp").max()).row(0)
        stored = list(self._store.read(tags, first, last + timedelta(microseconds=1)))
        conflicts = normalise(pl.concat([*stored, found.batch])).conflicts
        kept = found.batch.join(conflicts, on=KEY, how="anti", maintain_order="left")
        rejected = pl.concat([found.rejected, reasoned(conflicts, CONFLICT)])
        return Inspected(SampleBatch(kept), rejected, found.conflicts + conflicts.height)


def overlap(some: pl.DataFrame, others: pl.DataFrame) -> bool:
    """Whether any stretch of one frame overlaps one of the same tag in the other."""
    pairs = some.join(others, on="tag", suffix="_other")
    meet = (pl.col("start") < pl.col("end_other")) & (pl.col("start_other") < pl.col("end"))
    return bool(pairs.select(meet.any()).item())
