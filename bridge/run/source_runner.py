"""Keeps one live source connected and moves what it reads into the spool.

It connects, reads, and reads again only once the rows it has read are durable. When a connection fails it reconnects,
waiting a little longer each time. A failure of one source, even a fault in its driver, never stops the others.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from bridge.delivery.retry import wait_after
from bridge.drivers.protocols import Audible, AwaitsReturn, ReportsEveryChange, ReportsTroubles, open_source
from bridge.drivers.raw_rows import RawRows, joined, overflows
from bridge.edge.database import Edge
from bridge.ingest.continuity import CLOCKS, Continuity
from bridge.ingest.ingest import Ingest
from bridge.ingest.session_coverage import Marks, SessionCoverage
from bridge.ingest.validation import Validated
from bridge.run.outages import OutageFiller
from historian.errors import EndOfInput, NotConnected
from historian.logs import get_logger
from historian.plant.connections import ConnectionConfig
from historian.plant.model import SpoolBounds
from historian.status import Connection
from historian.times import utc_now

NAMED: Final = 10
"""Number of tags that a message or the status names."""

log = get_logger(__name__)


class SourceRunner:
    """Runs one source into the spool, and knows its state."""

    def __init__(
        self,
        connection: ConnectionConfig,
        edge: Edge,
        *,
        clock: Callable[[], datetime] = utc_now,
        wait: Callable[[Exception, int], float] = wait_after,
        heard_before: datetime | None = None,
        clocks: pl.DataFrame | None = None,
        bounds: SpoolBounds | None = None,
    ) -> None:
        """Create the source without connecting.

        Args:
            connection: the source.
            edge: the edge database.
            clock: returns the current time.
            wait: seconds to wait after an error, given the number of errors in a row.
            heard_before: when an earlier run last heard from the source, if there was one.
            clocks: the state of the tags' clocks at the end of that run: columns of `CLOCKS`.
            bounds: how much the spool may hold of it.

        Raises:
            ConfigError: the connection's configuration cannot work.
        """
        self.name = connection.name
        self.ingest = Ingest(connection, edge, live=True, bounds=bounds)
        self.connections = 0
        self.state: Connection = "connecting"
        self.since = clock()
        self.last_heard = heard_before
        self.last_error = ""
        self.error_since: datetime | None = None
        self.overflows: Counter[str] = Counter()
        """Tag -> number of its samples that the server marked because its queue had dropped values before them."""
        self._source = open_source(connection)
        self._continuity = Continuity(connection.tags, clocks)
        self._outages = OutageFiller(self._source, self.ingest, clock)
        self._clock = clock
        self._wait = wait
        self._failures = 0
        self._marks = Marks(clock())
        self._interrupted_at = heard_before
        """When the source was last heard before it was lost; None while nothing was lost since the last mark."""
        self._read_since_mark = False

    @property
    def clocks(self) -> pl.DataFrame:
        """The state of the tags' clocks: columns of `CLOCKS`; tags with unknown clocks are left out."""
        return self._continuity.clocks.filter(pl.col("last").is_not_null()).select(CLOCKS.names())

    def troubles(self) -> Sequence[str]:
        """Return what a person should look into, as far as the source knows."""
        return self._source.troubles() if isinstance(self._source, ReportsTroubles) else ()

    def clock_ahead(self) -> timedelta | None:
        """Return by how much the device's clock is ahead of ours; None if that is not known."""
        return self._source.clock_ahead() if isinstance(self._source, ReportsTroubles) else None

    async def run(self) -> None:
        """Read until the source ends; cancel to stop earlier."""
        try:
            while True:
                try:
                    await self._session()
                except EndOfInput:
                    self._enter("ended")
                    return
                except Exception as error:  # noqa: BLE001 - a fault in one driver must not stop the other sources
                    await self._outages.end()
                    await self._mark()
                    await self._close()
                    await self._failed(error)
        finally:
            await self._outages.end()
            await self._close()
            await self._mark()

    async def _session(self) -> None:
        """Connect, and read until the connection is lost."""
        if self._interrupted_at is not None:
            outage = RawRows(self._continuity.interrupted(self._interrupted_at))
            self._outages.interrupted(outage.samples, self._interrupted_at)
            now = self._clock()
            await self.ingest.enqueue(self.ingest.validate(outage, now=now), origin=self.name, now=now)
            self._interrupted_at, self._read_since_mark = None, False
        self._enter("connecting")
        await self._source.connect()
        self._connected()
        coverage = SessionCoverage(self._complete_tags(), began=self._clock())
        self._outages.begin(lambda: self._continuity.clocks)
        while True:
            rows = await self._source.read()
            self._heard()
            await self._take(rows, coverage)
            self._failures = 0

    async def _take(self, rows: RawRows, coverage: SessionCoverage) -> None:
        """Make rows durable, now and then together with what has been covered."""
        now = self._clock()
        self._outages.follow(rows)

        def validated() -> tuple[Validated, pl.DataFrame]:
            repeats = self._continuity.follow(rows, now=now)
            every = joined(rows, RawRows(repeats)) if repeats.height else rows
            return self.ingest.validate(every, now=now), coverage.extend(rows, now=now)

        found, covered = await asyncio.to_thread(validated)
        self._report(overflows(rows))
        self._marks.add(covered)
        if self._marks.is_due(now):
            await self._enqueue(found, now)
        else:
            self._marks.rely_on(await self.ingest.enqueue(found, origin=self.name, now=now))
        self._read_since_mark = True

    def _report(self, overflowed: Mapping[str, int]) -> None:
        """Count what the server's queues have dropped; each tag is logged once."""
        if new := sorted(overflowed.keys() - self.overflows):
            log.warning(
                "the server's queue overflowed and values were lost; raise queue_size or shorten publishing_interval",
                source=self.name,
                tags=new[:NAMED],
                number=len(new),
            )
        self.overflows.update(overflowed)

    async def _mark(self) -> None:
        """Make durable what has been covered since the last mark; at a crash instead, it counts as not covered."""
        if not self._marks.is_empty:
            await self._enqueue(Validated(), self._clock())

    async def _enqueue(self, found: Validated, now: datetime) -> None:
        """Make rows durable together with what they and those since the last mark cover."""
        covered, since = self._marks.take(now)
        await self.ingest.enqueue(found, origin=self.name, now=now, covered=covered, covers_since=since)

    def _complete_tags(self) -> Collection[str]:
        return self._source.complete_tags() if isinstance(self._source, ReportsEveryChange) else ()

    def _connected(self) -> None:
        now = self._clock()
        if self.error_since is not None:
            log.info("connected again", source=self.name, after_s=round((now - self.error_since).total_seconds(), 1))
        else:
            log.info("connected", source=self.name)
        self.connections += 1
        self.last_error, self.error_since = "", None
        self._enter("connected")
        self._heard()

    def _heard(self) -> None:
        heard = self._source.heard_at() if isinstance(self._source, Audible) else None
        self.last_heard = heard or self._clock()

    async def _failed(self, error: Exception) -> None:
        """Log the failure once per session, and wait."""
        now = self._clock()
        if self.state == "connected":
            heard = self._source.heard_at() if isinstance(self._source, Audible) else None
            self.last_heard = heard or self.last_heard
            if self._read_since_mark:  # a source that connects and fails at once needs no second mark
                self._interrupted_at = self.last_heard or now
        self._failures += 1
        reason = str(error) if isinstance(error, NotConnected) else f"{type(error).__name__}: {error}"
        wait = self._wait(error, self._failures)
        if reason != self.last_error:
            trace = None if isinstance(error, NotConnected) else error
            what = "connection lost" if self.state == "connected" else "cannot connect"
            log.warning(what, source=self.name, reason=reason, retry_in_s=round(wait, 1), exc_info=trace)
        self.last_error, self.error_since = reason, self.error_since or now
        self._enter("waiting")
        if isinstance(self._source, AwaitsReturn):
            await self._source.wait_reachable(wait)
        else:
            await asyncio.sleep(wait)

    async def _close(self) -> None:
        try:
            await self._source.close()
        except Exception as error:  # noqa: BLE001 - a failed close must not stop the runner
            log.warning("closing the connection failed", source=self.name, reason=f"{type(error).__name__}: {error}")

    def _enter(self, state: Connection) -> None:
        if state != self.state:
            self.state, self.since = state, self._clock()
