"""The forwarder: takes the oldest samples from the spool, writes them to the store, and only then forgets them.

The order is store, coverage, spool; a crash in between repeats a write, which the store takes as the same write.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from bridge.delivery.retry import backoff
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine, reasoned
from bridge.edge.spool import Spool, SpoolItem
from bridge.ingest.coverage import Coverage
from historian.errors import InvalidBatch, SpoolFull, StoreUnavailable
from historian.samples import SampleBatch
from historian.stores.protocols import Sink
from historian.times import utc_now

EVERY_S: Final = 1.0
"""Live samples are gathered for this long before a write, so that the store gets few and larger writes."""

log = logging.getLogger(__name__)


class Forwarder:
    """Empties the spool of some sources into a store. Blocking work is done in one thread at a time."""

    def __init__(self, edge: Edge, store: Sink, sources: Sequence[str]) -> None:
        self.stored: Counter[str] = Counter()
        """Samples handed to the store, by source."""
        self._edge = edge
        self._store = store
        self._sources = tuple(sources)
        self._spool = Spool(edge)
        self._coverage = Coverage(edge)
        self._quarantine = Quarantine(edge)

    async def run(
        self, finish: asyncio.Event, *, every: float = EVERY_S, clock: Callable[[], datetime] = utc_now
    ) -> None:
        """Forwards until `finish` is set and the spool is empty, or the store cannot be reached any more by then."""
        failures = 0
        while True:
            last_round, wait = finish.is_set(), None
            try:
                while await asyncio.to_thread(self.forward, clock()):
                    failures = 0
            except (StoreUnavailable, SpoolFull) as error:
                failures += 1
                wait = error.retry_after if isinstance(error, StoreUnavailable) else None
                log.warning("nothing can be forwarded (%s); what was read stays in the spool", error)
                if last_round:
                    return
            if last_round:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(finish.wait(), wait or (backoff(failures) if failures else every))

    def forward(self, now: datetime) -> bool:
        """Forwards the oldest item of every source; True while there is more than one write can take.

        Raises:
            StoreUnavailable, AccessDenied: the item stays in the spool.
        """
        more = False
        for source in self._sources:
            item = self._spool.oldest(source)
            if item is not None:
                self._forward(item, now)
                more |= item.more
        return more

    def _forward(self, item: SpoolItem, now: datetime) -> None:
        self.stored[item.source] += self._write(item.batch, item.source, now)
        with self._edge.transaction():
            self._coverage.widen(item.proven)
            self._spool.remove(item)

    def _write(self, batch: SampleBatch, source: str, now: datetime) -> int:
        """Writes a batch, or all of it but the samples the store refuses; returns how many samples it took."""
        if batch.is_empty():
            return 0
        try:
            self._store.write(batch, source=source, now=now)
        except InvalidBatch as error:
            if batch.height in (1, error.dropped):
                self._quarantine.add(reasoned(batch, str(error)), source=source, origin="store", now=now)
                return 0
            half = batch.height // 2
            return sum(self._write(SampleBatch(part), source, now) for part in (batch[:half], batch[half:]))
        return batch.height
