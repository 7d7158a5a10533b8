"""From raw rows to the spool: normalise, transform, hold to the contract, keep what failed, make the rest durable.

The one path that live sources and archives share. The order is normalise, transforms, contract: a contract's range is
in engineering units, which a raw value has only after its scale.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine, reasoned
from bridge.edge.spool import MAX_BYTES, Spool
from bridge.ingest.contract import contract, identified, judged
from bridge.ingest.transforms import pipeline
from historian.errors import SpoolFull
from historian.plant.connections import ConnectionConfig
from historian.samples import SampleBatch, normalise

CONFLICT: Final = "another value has the same tag and time"
FULL_WAIT_S: Final = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inspected:
    """Raw rows told apart; every one of them is in exactly one place, exact repeats aside."""

    batch: SampleBatch
    rejected: pl.DataFrame
    """Columns of `quarantine.REASONED`; conflicts are among them."""
    conflicts: int


class Intake:
    """The way into the spool for one source or archive; counts what went through it."""

    def __init__(self, feed: ConnectionConfig, edge: Edge, *, max_bytes: int = MAX_BYTES) -> None:
        self.name = feed.name
        self.samples = self.quarantined = self.conflicts = 0
        self._terms = contract(feed.tags)
        self._transforms = pipeline(feed.tags)
        self._spool = Spool(edge, max_bytes=max_bytes)
        self._quarantine = Quarantine(edge)

    def inspect(self, rows: pl.DataFrame, *, now: datetime) -> Inspected:
        """Raw rows of a driver, in any order and with repeats -> what may be stored and what may not. Pure."""
        usable, nameless = identified(rows)
        batch, conflicts = normalise(usable)
        for transform in self._transforms:
            batch = transform(batch)
        accepted, rejected = judged(batch, self._terms, now=now)
        return Inspected(accepted, pl.concat([nameless, reasoned(conflicts, CONFLICT), rejected]), conflicts.height)

    async def admit(self, found: Inspected, *, origin: str, now: datetime, proven: pl.DataFrame) -> None:
        """Makes it durable, first what was rejected; waits for as long as the spool is full.

        If cancelled, what has been begun is finished first.
        """
        if not found.rejected.is_empty():
            await self.refuse(found.rejected, origin=origin, now=now, conflicts=found.conflicts)
        if found.batch.is_empty() and proven.is_empty():
            return

        def append() -> None:
            self._spool.append(found.batch, source=self.name, now=now, proven=proven)
            self.samples += found.batch.height

        await self._when_there_is_room(append)

    async def refuse(self, rejected: pl.DataFrame, *, origin: str, now: datetime, conflicts: int = 0) -> None:
        """Puts rows (columns of `quarantine.REASONED`) into quarantine."""

        def add() -> None:
            self._quarantine.add(rejected, source=self.name, origin=origin, now=now)
            self.quarantined += rejected.height
            self.conflicts += conflicts

        await self._when_there_is_room(add)

    async def _when_there_is_room(self, work: Callable[[], None]) -> None:
        """Does the work, trying again for as long as the spool or its disk is full."""
        told = False
        while True:
            try:
                await _finished(work)
            except SpoolFull as error:
                if not told:
                    log.warning("%s: not read any further: %s", self.name, error)
                told = True
                await asyncio.sleep(FULL_WAIT_S)
            else:
                return


async def _finished(work: Callable[[], None]) -> None:
    """Runs blocking work in a thread, to its end even if the caller is cancelled meanwhile."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        with suppress(SpoolFull):
            await running
        raise
