"""One runner a sink: takes the oldest samples from the spool, writes them to the sink, and only then forgets them.

For the store the order is store, coverage, spool; a crash in between repeats a write, which the store takes as the same
write. Whatever goes wrong with a sink concerns that sink alone: reading goes on while the spool has room, other sinks
and other sources go on in any case, and the runner says how it is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bridge.delivery.retry import Kind, kind_of, wait_after
from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.edge.quarantine_rows import rejected
from bridge.edge.spool import STORE, Spool, SpoolItem
from historian.errors import InvalidBatch
from historian.logs import get_logger
from historian.samples import SampleBatch
from historian.stores.protocols import Sink
from historian.times import utc_now

EVERY_S: Final = 1.0
"""Live samples are gathered for this long before a write, so that the store gets few and larger writes."""
REFUSED: Final = "the store refused it"

log = get_logger(__name__)


@dataclass
class SinkState:
    """How a sink is."""

    state: Kind | None = None
    """What kind of failure it is in; None while it takes what it is given."""
    last_error: str = ""
    error_since: datetime | None = None
    """When the present run of failures began."""
    failures: int = 0
    """How many in a row."""
    last_write: datetime | None = None


class SinkRunner:
    """Empties the spool of some sources into a sink. Blocking work is done in one thread at a time."""

    def __init__(
        self,
        edge: Edge,
        sink: Sink,
        sources: Sequence[str],
        *,
        name: str = STORE,
        wait: Callable[[Exception, int], float] = wait_after,
    ) -> None:
        """A runner that has done nothing yet.

        Args:
            edge: the edge database.
            sink: where samples go.
            sources: whose samples.
            name: of the sink, as the spool knows it.
            wait: seconds to wait after an error, by how many there were in a row.
        """
        self.name = name
        self._wait = wait
        self.written: Counter[str] = Counter()
        """Samples handed to the sink, by source."""
        self.status = SinkState()
        self.denied = asyncio.Event()
        """Set once the sink has failed in a way that only a person can mend."""
        self._edge = edge
        self._sink = sink
        self._sources = tuple(sources)
        self._spool = Spool(edge)
        self._coverage = Coverage(edge)
        self._quarantine = Quarantine(edge)

    async def run(
        self, finish: asyncio.Event, *, every: float = EVERY_S, clock: Callable[[], datetime] = utc_now
    ) -> None:
        """Forward until `finish` is set and the spool is empty, or the sink does not take any more by then."""
        while True:
            last_round = finish.is_set()
            wait = await self._round(clock, every)
            if last_round:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(finish.wait(), wait)

    async def _round(self, clock: Callable[[], datetime], every: float) -> float:
        """Forward what waits; return the seconds until the next round."""
        try:
            while await asyncio.to_thread(self.forward, clock()):
                self._succeeded(clock())
        except Exception as error:  # noqa: BLE001 - a sink's failure, whatever it is, must not stop any reading
            self._failed(error, clock())
            return self._wait(error, self.status.failures)
        self._succeeded(clock())
        return every

    def forward(self, now: datetime) -> bool:
        """Forward the oldest item of every source; True while there is more than one write can take.

        Raises:
            StoreUnavailable, AccessDenied, SpoolFull: the items stay in the spool.
            Exception: a fault; the items of the other sources were forwarded.
        """
        more, faults = False, list[Exception]()
        for source in self._sources:
            try:
                item = self._spool.oldest(source, now=now, sink=self.name)
                if item is not None:
                    self._forward(item, now)
                    more |= item.more
            except Exception as error:
                if kind_of(error) != "unexpected":
                    raise
                faults.append(error)
        if faults:
            raise faults[0]
        return more

    def _forward(self, item: SpoolItem, now: datetime) -> None:
        self.written[item.source] += self._write(item.batch, item.source, now)
        with self._edge.transaction():
            if self.name == STORE:
                self._coverage.add(item.covered)
            self._spool.delivered(item, sink=self.name)
        self.status.last_write = now

    def _write(self, batch: SampleBatch, source: str, now: datetime) -> int:
        """Write a batch, or all of it but the samples the sink refuses; return how many samples it took."""
        if batch.is_empty():
            return 0
        try:
            self._sink.write(batch, source=source, now=now)
        except InvalidBatch as error:
            if batch.height in (1, error.dropped):
                refused = rejected(batch, REFUSED, detail=str(error))
                self._quarantine.add(refused, source=source, origin=self.name, now=now)
                return 0
            half = batch.height // 2
            return sum(self._write(SampleBatch(part), source, now) for part in (batch[:half], batch[half:]))
        return batch.height

    def _succeeded(self, now: datetime) -> None:
        if self.status.failures:
            since = self.status.error_since or now
            log.info("the sink takes samples again", sink=self.name, failed_for_s=round((now - since).total_seconds()))
        self.status = SinkState(last_write=self.status.last_write)

    def _failed(self, error: Exception, now: datetime) -> None:
        status, kind = self.status, kind_of(error)
        if str(error) != status.last_error:
            trace = error if kind == "unexpected" else None
            log.warning(
                "the sink does not take samples; they stay in the spool",
                sink=self.name,
                kind=kind,
                reason=str(error) or type(error).__name__,
                exc_info=trace,
            )
        status.state, status.last_error = kind, str(error) or type(error).__name__
        status.failures += 1
        if kind == "permanent":
            self.denied.set()
        status.error_since = status.error_since or now
