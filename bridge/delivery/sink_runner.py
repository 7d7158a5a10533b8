"""One runner per sink: takes the oldest samples from the spool, writes them to the sink, and only then deletes them.

For the store the order is store, coverage, spool; a crash in between repeats a write, which is idempotent. A failure of
a sink affects that sink alone: reading goes on while the spool has room, other sinks and sources are not affected, and
the runner reports its state.
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
from bridge.delivery.writing import Writer
from bridge.edge.batches import SpoolItem
from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.edge.spool import STORE, Spool
from historian.logs import get_logger
from historian.stores.protocols import Sink
from historian.times import utc_now

EVERY_S: Final = 1.0
"""Seconds for which live samples are collected before a write, so that the store receives fewer and larger writes."""

log = get_logger(__name__)


@dataclass
class SinkState:
    """The state of a sink: delivering, or failing since some time."""

    state: Kind | None = None
    """Kind of the current failure; None while the sink accepts samples."""
    last_error: str = ""
    error_since: datetime | None = None
    """When the current run of failures began."""
    failures: int = 0
    """Number of failures in a row."""
    last_write: datetime | None = None


class SinkRunner:
    """Delivers the spooled samples of some sources to a sink. Blocking work runs in one thread at a time."""

    def __init__(
        self,
        edge: Edge,
        sink: Sink,
        sources: Sequence[str],
        *,
        name: str = STORE,
        wait: Callable[[Exception, int], float] = wait_after,
    ) -> None:
        """Create a runner; `run` starts it.

        Args:
            edge: the edge database.
            sink: the sink to write to.
            sources: names of the sources whose samples are delivered.
            name: name of the sink in the spool.
            wait: seconds to wait after an error, given the number of errors in a row.
        """
        self.name = name
        self._wait = wait
        self.written: Counter[str] = Counter()
        """Number of samples delivered to the sink, by source."""
        self.status = SinkState()
        self.denied = asyncio.Event()
        """Set once the sink has failed permanently, so that a person must act."""
        self._edge = edge
        self._writer = Writer(sink, Quarantine(edge), name=name)
        self._sources = tuple(sources)
        self._spool = Spool(edge)
        self._coverage = Coverage(edge)

    async def run(
        self, finish: asyncio.Event, *, every: float = EVERY_S, clock: Callable[[], datetime] = utc_now
    ) -> None:
        """Forward until `finish` is set and either the spool is empty or the sink accepts no more samples."""
        while True:
            last_round = finish.is_set()
            wait = await self._round(clock, every)
            if last_round:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(finish.wait(), wait)

    async def _round(self, clock: Callable[[], datetime], every: float) -> float:
        """Forward the waiting samples; return the seconds until the next round."""
        try:
            while await asyncio.to_thread(self.forward, clock()):
                self._succeeded(clock())
        except Exception as error:  # noqa: BLE001 - a sink's failure, whatever it is, must not stop any reading
            self._failed(error, clock())
            return self._wait(error, self.status.failures)
        self._succeeded(clock())
        return every

    def forward(self, now: datetime) -> bool:
        """Forward the oldest item of every source; return True if some source has more than one write can take.

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
        self.written[item.source] += self._writer.write(item.batches, source=item.source, now=now)
        with self._edge.transaction():
            if self.name == STORE:
                self._coverage.add(item.covered)
            self._spool.delivered(item, sink=self.name)
        self.status.last_write = now

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
