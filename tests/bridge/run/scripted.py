"""Helpers of the streaming tests: a settable clock, rows, and a bridge that runs until a condition holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from bridge.edge.database import Edge
from bridge.run.stream import Bridge, StreamReport
from historian.plant.connections import ConnectionConfig
from historian.plant.model import SpoolBounds
from historian.quality import BAD_NOT_CONNECTED
from historian.samples import SCHEMA
from historian.status import StatusFile
from historian.stores.memory import MemoryStore

T0 = datetime(2026, 3, 1, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
Connections = Callable[..., ConnectionConfig]


class Clock:
    """Shows the time it was set to."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def at(self, second: float) -> Callable[[], None]:
        """A step of a script that sets the clock."""

        def step() -> None:
            self.now = T0 + second * SECOND

        return step


def raw(*rows: tuple[str | None, float, float | None]) -> pl.DataFrame:
    """Raw rows of (tag, second, value)."""
    filled = [(tag, T0 + second * SECOND, value, None, 0) for tag, second, value in rows]
    return pl.DataFrame(filled, schema=SCHEMA, orient="row")


def outage(second: float, *tags: str) -> pl.DataFrame:
    """The Bad samples of an outage."""
    lost = [(tag, T0 + second * SECOND, None, None, BAD_NOT_CONNECTED) for tag in tags]
    return pl.DataFrame(lost, schema=SCHEMA, orient="row")


def bridge_of(
    edge: Edge,
    store: Any,
    connections: Sequence[ConnectionConfig],
    directory: Path,
    clock: Clock | None = None,
    *,
    bounds: SpoolBounds | None = None,
) -> Bridge:
    """A bridge that reconnects at once."""
    status = StatusFile(directory)
    return Bridge(connections, edge, store, status, clock=clock or Clock(), wait=lambda _, __: 0.02, bounds=bounds)


def run(bridge: Bridge, *, until: Callable[[], bool] | None = None) -> StreamReport:
    """Stream until all sources have ended, or until a condition holds."""

    async def main() -> StreamReport:
        stop = asyncio.Event()
        async with asyncio.timeout(30):
            running = asyncio.create_task(bridge.run(stop))
            while until is not None and not running.done() and not until():
                await asyncio.sleep(0.01)
            if until is not None:
                stop.set()
            return await running

    return asyncio.run(main())


def stored(store: MemoryStore) -> pl.DataFrame:
    """All samples in the store."""
    return pl.concat([SCHEMA.to_frame(), *store.read(["a", "b"], T0 - DAY, T0 + 9 * DAY)]).sort("tag", "timestamp")


def healthy_rows(count: int) -> pl.DataFrame:
    """All rows that the healthy source reports."""
    return raw(*(("a", number, float(number)) for number in range(count)))
