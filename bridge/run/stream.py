"""Live streaming: one runner per source and one per sink, concurrently, and their status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl

from bridge.delivery.retry import wait_after
from bridge.delivery.sink_runner import SinkRunner
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.edge.spool import Spool
from bridge.run.sizing import spool_rate
from bridge.run.source_runner import NAMED, SourceRunner
from historian.errors import AccessDenied, HistorianError
from historian.logs import get_logger
from historian.plant.connections import ConnectionConfig
from historian.plant.model import SpoolBounds
from historian.status import TAGS, SinkStatus, SourceStatus, StatusFile
from historian.stores.protocols import Sink
from historian.times import utc_now

CANCEL_AGAIN_S: Final = 5.0
STATUS_S: Final = 1.0

log = get_logger(__name__)


@dataclass(frozen=True)
class SourceReport:
    """The result of a run for one source."""

    streamed: int
    stored: int
    quarantined: int
    waiting: int
    """Number of samples that wait in the spool for the store."""
    connections: int
    last_error: str
    """Why the source is not connected; empty if it is."""


@dataclass(frozen=True)
class StreamReport:
    """The result of a run."""

    samples_streamed: int
    samples_stored: int
    quarantined: int
    sources: dict[str, SourceReport] = field(default_factory=dict)
    store_error: str = ""
    """Why the store does not accept samples; empty if it does."""

    @property
    def connected(self) -> bool:
        """Whether any source was connected at any time."""
        return any(source.connections for source in self.sources.values())


class Bridge:
    """The runners of some sources and of the store, and their status."""

    def __init__(
        self,
        connections: Sequence[ConnectionConfig],
        edge: Edge,
        store: Sink,
        status: StatusFile,
        *,
        clock: Callable[[], datetime] = utc_now,
        wait: Callable[[Exception, int], float] = wait_after,
        bounds: SpoolBounds | None = None,
    ) -> None:
        """Create the runners without connecting.

        Args:
            connections: the sources.
            edge: the edge database.
            store: the store to write to.
            status: receives the status, and has that of the previous run.
            clock: returns the current time.
            wait: seconds to wait after an error before reconnecting, given the number of errors in a row.
            bounds: how much the spool may hold of each source.

        Raises:
            ConfigError: the configuration of a connection cannot work.
        """
        self._status_file = status
        self._clock = clock
        self._spool, self._quarantine = Spool(edge, bounds=bounds), Quarantine(edge)
        self._expected = {each.name: spool_rate(each) for each in connections}
        heard, clocks = self._heard_before(), self._status_file.tags()
        self.sources = [
            SourceRunner(
                each,
                edge,
                clock=clock,
                wait=wait,
                heard_before=heard.get(each.name),
                clocks=clocks.filter(source=each.name),
                bounds=bounds,
            )
            for each in connections
        ]
        self.store = SinkRunner(edge, store, [each.name for each in connections])

    def _heard_before(self) -> dict[str, datetime]:
        """Return when earlier runs last heard each source, from the status and the more frequently written spool."""
        heard = self._spool.last_accepted()
        for source in self._status_file.bridge().sources:
            if source.last_heard is not None:
                heard[source.name] = max(source.last_heard, heard.get(source.name, source.last_heard))
        return heard

    async def run(self, stop: asyncio.Event, *, cancel_again_s: float = CANCEL_AGAIN_S) -> StreamReport:
        """Stream until `stop` is set or every source has ended; then empty the spool as far as the store allows.

        Args:
            stop: set to end the run.
            cancel_again_s: seconds after which a source that has not stopped is cancelled again.

        Raises:
            AccessDenied: the store does not let us write; what was read stays in the spool.
        """
        self._quarantine.expire(now=self._clock())
        self._log_room()
        finish = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.store.run(finish, clock=self._clock))
            reporting = group.create_task(self._report_status())
            async with asyncio.TaskGroup() as reading:
                tasks = [reading.create_task(source.run(), name=source.name) for source in self.sources]
                watching = group.create_task(_cancel_when(stop, tasks, cancel_again_s))
            watching.cancel()
            finish.set()
            reporting.cancel()
        self._write_status(stopped=True)
        if self.store.status.state == "permanent":
            raise AccessDenied(f"{self.store.status.last_error}; what was read stays in the spool")
        return self.report()

    def _log_room(self) -> None:
        """Log how long the spool holds out for each source if the store is away from now on."""
        for source, lasting in self._spool.lasts(self._expected, now=self._clock()).items():
            log.info(
                "without the store the spool lasts",
                source=source,
                hours=round(lasting.time.total_seconds() / 3600, 1),
                bytes_per_s=round(lasting.bytes_per_s),
                rate="measured" if lasting.is_measured else "expected",
            )

    def report(self) -> StreamReport:
        """Return the result so far."""
        waiting = self._spool.waiting()
        sources = {
            each.name: SourceReport(
                streamed=each.ingest.samples,
                stored=self.store.written[each.name],
                quarantined=each.ingest.quarantined,
                waiting=waiting.get(each.name, 0),
                connections=each.connections,
                last_error=each.last_error,
            )
            for each in self.sources
        }
        return StreamReport(
            samples_streamed=sum(each.streamed for each in sources.values()),
            samples_stored=self.store.written.total(),
            quarantined=sum(each.quarantined for each in sources.values()),
            sources=sources,
            store_error=self.store.status.last_error,
        )

    async def _report_status(self) -> None:
        while True:
            await asyncio.to_thread(self._write_status)
            await asyncio.sleep(STATUS_S)

    def _write_status(self, *, stopped: bool = False) -> None:
        """Write the status; a failure to do so is logged and stops nothing."""
        now = self._clock()
        clocks = [each.clocks.with_columns(source=pl.lit(each.name)).select(TAGS.names()) for each in self.sources]
        try:
            self._status_file.write(
                self._source_statuses(now, stopped=stopped),
                [self._sink_status(now)],
                pl.concat([TAGS.to_frame(), *clocks]),
            )
        except HistorianError as error:
            log.warning("the status cannot be written", reason=str(error))

    def _source_statuses(self, now: datetime, *, stopped: bool) -> list[SourceStatus]:
        waiting, sizes, damaged = self._spool.waiting(), self._spool.sizes(), self._spool.damaged()
        discarded = self._spool.discarded()
        return [
            SourceStatus(
                name=each.name,
                state="stopped" if stopped and each.state != "ended" else each.state,
                since=now if stopped else each.since,
                updated_at=now,
                connections=each.connections,
                last_heard=each.last_heard,
                last_error=each.last_error,
                error_since=each.error_since,
                samples=each.ingest.samples,
                quarantined=each.ingest.quarantined,
                waiting=waiting.get(each.name, 0),
                waiting_bytes=sizes.get(each.name, 0),
                damaged=damaged.get(each.name, 0),
                spool_full=each.ingest.spool_full,
                refused=each.ingest.refused,
                discarded=discarded.get(each.name, 0),
                overflows=each.overflows.total(),
                overflowing=dict(each.overflows.most_common(NAMED)),
                troubles=tuple(each.troubles()),
                clock_ahead_s=None if (ahead := each.clock_ahead()) is None else ahead.total_seconds(),
            )
            for each in self.sources
        ]

    def _sink_status(self, now: datetime) -> SinkStatus:
        status = self.store.status
        return SinkStatus(
            name=self.store.name,
            state=status.state or "ok",
            updated_at=now,
            written=self.store.written.total(),
            last_write=status.last_write,
            last_error=status.last_error,
            error_since=status.error_since,
        )


async def _cancel_when(stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]], again_s: float) -> None:
    await stop.wait()
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=again_s)  # asyncua's disconnect may swallow a cancellation
