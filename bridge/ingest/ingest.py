"""From raw rows to the spool: pack, scale, normalise, check the contract, quarantine what fails, make the rest durable.

Live sources and archives share this one path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

import polars as pl

from bridge.drivers.raw_rows import RawRows, number_of_samples
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.edge.quarantine_rows import as_rejected
from bridge.edge.spool import Spool
from bridge.ingest.contracts.limits import contract_of
from bridge.ingest.transforms import pipeline
from bridge.ingest.validation import Validated, packed, rates_of, validated
from historian.errors import SpoolFull
from historian.logs import get_logger
from historian.plant.connections import ConnectionConfig
from historian.plant.model import SpoolBounds
from historian.stated import Contradiction, rate_contradictions

FULL_WAIT_S: Final = 0.5

log = get_logger(__name__)


class Ingest:
    """Moves the rows of one source or archive into the spool and the quarantine, and counts them."""

    def __init__(
        self, connection: ConnectionConfig, edge: Edge, *, live: bool, bounds: SpoolBounds | None = None
    ) -> None:
        self.name = connection.name
        self.samples = self.quarantined = self.conflicts = 0
        """Numbers of samples, those in stretches included."""
        self.spool_full = False
        """Whether reading waits for the spool to drain."""
        self.refused = 0
        """How many batches had to wait for it."""
        self._rules = contract_of(connection.tags, live=live)
        self._rates = rates_of(connection.tags)
        self._transforms = pipeline(connection.tags)
        self._contradictions: set[Contradiction] = set()
        self._spool = Spool(edge, bounds=bounds)
        self._quarantine = Quarantine(edge)

    def validate(self, rows: RawRows, *, now: datetime) -> Validated:
        """Divide raw rows of a driver into what may be stored and rejected rows.

        Args:
            rows: raw rows in any order, with repeats.
            now: when they were read.
        """
        if not rows.waveforms.is_empty():
            stated = rows.waveforms.select("tag", "sample_rate").drop_nulls().unique()
            self._report(rate_contradictions(stated.iter_rows(), self._rates))
        rows, unpackable = packed(rows, self._rates)
        for transform in self._transforms:
            rows = transform(rows)
        found = validated(rows, self._rules, now=now)
        return found.with_rejected(unpackable)

    def _report(self, contradictions: set[Contradiction]) -> None:
        """Log each contradiction once, however many stretches have it."""
        for each in contradictions - self._contradictions:
            log.warning("a sample rate contradicts the plant file", source=self.name, detail=str(each))
            self._contradictions.add(each)

    async def enqueue(
        self,
        found: Validated,
        *,
        origin: str,
        now: datetime,
        covered: pl.DataFrame | None = None,
        covers_since: int | None = None,
    ) -> int | None:
        """Make validated rows durable, the rejected ones first; wait while the spool is full.

        If cancelled, the step under way is finished first. Returns the spool's id of the batch, or None if there was
        nothing to append. See `Spool.append` for `covered` and `covers_since`.
        """
        if not found.rejected.is_empty():
            await self.quarantine(found.rejected, origin=origin, now=now, conflicts=found.conflicts)
        if found.batches.is_empty and (covered is None or covered.is_empty()):
            return None
        appended: list[int] = []

        def append() -> None:
            number = self._spool.append(
                found.batches, source=self.name, now=now, covered=covered, covers_since=covers_since
            )
            appended.append(number)
            self.samples += found.batches.total

        await self.when_there_is_room(append)
        return appended[-1]

    async def quarantine(self, rows: pl.DataFrame, *, origin: str, now: datetime, conflicts: int = 0) -> None:
        """Put rejected rows, with some or all columns of `REJECTED`, into quarantine; wait while the disk is full."""
        complete = as_rejected(rows)

        def add() -> None:
            self._quarantine.add(complete, source=self.name, origin=origin, now=now)
            self.quarantined += number_of_samples(complete)
            self.conflicts += conflicts

        await self.when_there_is_room(add)

    async def when_there_is_room(self, work: Callable[[], None]) -> None:
        """Run the work, and run it again while the spool or its disk is full."""
        while True:
            try:
                await to_its_end(work)
            except SpoolFull as error:
                if not self.spool_full:
                    self.refused += 1
                    log.warning("reading waits for the spool", source=self.name, reason=str(error))
                self.spool_full = True
                await asyncio.sleep(FULL_WAIT_S)
            else:
                if self.spool_full:
                    log.info("the spool has room again", source=self.name)
                self.spool_full = False
                return


async def to_its_end(work: Callable[[], None]) -> None:
    """Run blocking work in a thread to completion, even if the caller is cancelled meanwhile."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        with suppress(Exception):
            await running
        raise
