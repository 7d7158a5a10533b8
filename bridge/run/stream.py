"""The runner: one pump per live source, side by side, and one forwarder for all of them.

A pump connects, reads, and reads again only when what it read is durable. Connections fail; the pump connects again,
waiting a little longer each time. What happens to one source never stops the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import polars as pl

from bridge.delivery.forwarder import Forwarder
from bridge.delivery.retry import backoff
from bridge.drivers.protocols import open_source
from bridge.edge.database import Edge
from bridge.ingest.coverage import STRETCHES, reached
from bridge.ingest.intake import Intake
from historian.errors import EndOfInput, NotConnected
from historian.plant.connections import ConnectionConfig
from historian.quality import BAD_NOT_CONNECTED
from historian.samples import SCHEMA
from historian.times import utc_now

CANCEL_AGAIN_S: Final = 5.0

log = logging.getLogger(__name__)


class Pump:
    """Keeps one source connected and moves what it says into the spool."""

    def __init__(self, feed: ConnectionConfig, edge: Edge, *, clock: Callable[[], datetime] = utc_now) -> None:
        """Raises `ConfigError` if the feed's configuration cannot work; opens no connection."""
        self.name = feed.name
        self.intake = Intake(feed, edge)
        self.connections = 0
        self.trouble = ""
        """Why the source is not connected at present, in words."""
        self._source = open_source(feed)
        self._tags = [tag.name for tag in feed.tags]
        self._clock = clock
        self._failures = 0
        self._connected = False
        self._lost_at: datetime | None = None

    async def run(self) -> None:
        """Pumps until the source has ended, or for ever; cancel it to stop."""
        while True:
            try:
                await self._session()
            except EndOfInput:
                return
            except NotConnected as error:
                self.trouble = str(error)
            except Exception as error:  # a fault in one driver must not stop the other sources
                self.trouble = f"{type(error).__name__}: {error}"
                log.exception("%s failed unexpectedly", self.name)
            finally:
                await self._source.close()
            if self._connected:
                self._connected, self._lost_at = False, self._clock()
            self._failures += 1
            wait = backoff(self._failures)
            log.warning("%s: %s; trying again in %.1f s", self.name, self.trouble, wait)
            await asyncio.sleep(wait)

    async def _session(self) -> None:
        """One connection; in it, what a source says has no holes."""
        if self._lost_at:
            await self._take(outage(self._tags, self._lost_at), STRETCHES.to_frame())
            self._lost_at = None
        await self._source.connect()
        self._connected, self.trouble = True, ""
        self.connections += 1
        reach = STRETCHES.to_frame()
        while True:
            reach = await self._take(await self._source.read(), reach)
            self._failures = 0

    async def _take(self, rows: pl.DataFrame, reach: pl.DataFrame) -> pl.DataFrame:
        """Makes rows durable; returns how far each tag's samples of this session reach now."""
        now = self._clock()
        found = await asyncio.to_thread(self.intake.inspect, rows, now=now)
        proven = reached(found.batch, reach)
        await self.intake.admit(found, origin=self.name, now=now, proven=proven)
        return pl.concat([reach, proven]).unique("tag", keep="last")


def outage(tags: Sequence[str], lost_at: datetime) -> pl.DataFrame:
    """A Bad sample for every tag at the time its connection was lost, so that no older value stands for the present."""
    rows = pl.DataFrame({"tag": tags}, schema={"tag": pl.String()})
    missing = {"value": pl.lit(None), "text": pl.lit(None), "quality": pl.lit(BAD_NOT_CONNECTED)}
    return rows.with_columns(timestamp=pl.lit(lost_at), **missing).select(SCHEMA.names()).cast(SCHEMA)


async def stream(pumps: Sequence[Pump], forwarder: Forwarder, stop: asyncio.Event) -> None:
    """Runs until `stop` is set or every source has ended; then empties the spool as far as the store allows."""
    finish = asyncio.Event()
    async with asyncio.TaskGroup() as forwarding:
        forwarding.create_task(forwarder.run(finish))
        async with asyncio.TaskGroup() as reading:
            tasks = [reading.create_task(pump.run(), name=pump.name) for pump in pumps]
            watch = forwarding.create_task(_cancel_when(stop, tasks))
        watch.cancel()
        finish.set()


async def _cancel_when(stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> None:
    await stop.wait()
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)  # asyncua's disconnect may swallow a cancellation
