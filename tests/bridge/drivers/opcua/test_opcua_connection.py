"""The connection to an OPC UA server: read-only, never silent without notice, and made again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from asyncua import ua

from bridge.edge.database import Edge
from bridge.run.stream import Bridge
from historian.errors import NotConnected
from historian.status import StatusFile
from historian.stores.memory import MemoryStore
from tests.bridge.drivers.opcua.plc import (
    SPEED,
    T0,
    Plc,
    connected,
    connection_of,
    free_port,
    heard,
)
from tests.bridge.drivers.opcua.relay import ALLOWED, Relay, service


def test_only_reading_services_are_ever_requested(tmp_path: Path, device: Plc) -> None:
    """On the wire there is no Write, no Call, and nothing that changes a server's nodes."""
    port, wire = free_port(), Relay()

    async def main() -> None:
        async with wire.between(port, device.port), connected(connection_of(tmp_path, port)) as source:
            await heard(source, 4)
            device.say("speed", 1.0, second=1)
            await heard(source, 1)

    asyncio.run(main())
    assert wire.services[service(ua.PublishRequest)] > 0
    assert set(wire.services) <= ALLOWED


def test_a_server_that_falls_silent_is_noticed(tmp_path: Path, device: Plc) -> None:
    """Missing keep-alives end the connection; while they arrive, a server without changes counts as alive."""
    port, wire = free_port(), Relay()

    async def main() -> None:
        async with (
            wire.between(port, device.port),
            connected(connection_of(tmp_path, port, silence="600ms", resume="0s")) as source,
        ):
            await heard(source, 4)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.5):
                    await source.read()
            wire.silent = True
            with pytest.raises(NotConnected, match="nothing was heard for"):
                async with asyncio.timeout(5):
                    await source.read()

    asyncio.run(main())


def test_what_has_been_read_is_acknowledged_when_it_is_read_on(tmp_path: Path, device: Plc) -> None:
    """The next call of `read` says that it is durable; until then the server keeps it."""
    port, wire = free_port(), Relay()

    async def requests(more: int) -> None:
        wanted = wire.services[service(ua.PublishRequest)] + more
        while wire.services[service(ua.PublishRequest)] < wanted:
            await asyncio.sleep(0.01)

    async def main() -> None:
        async with (
            asyncio.timeout(20),
            wire.between(port, device.port),
            connected(connection_of(tmp_path, port, [SPEED])) as source,
        ):
            await heard(source, 1)
            for second in (1, 2):
                device.say("speed", float(second), second=second)
                await requests(1)
            assert not wire.acknowledged
            await heard(source, 2)
            device.say("speed", 3.0, second=3)
            await requests(1)
            assert wire.acknowledged

    asyncio.run(main())


def test_a_slow_reader_slows_the_server_down_and_loses_nothing(tmp_path: Path, device: Plc) -> None:
    """Values that are not read yet wait in the server's queue."""
    count = 300

    async def main() -> pl.DataFrame:
        connection = connection_of(tmp_path, device.port, [SPEED], queue_size=1000, publishing_interval="10ms")
        async with connected(connection) as source:
            await heard(source, 1)
            for number in range(1, count + 1):
                device.say("speed", float(number), second=number)
                await asyncio.sleep(0.005)
            return await heard(source, count)

    assert asyncio.run(main())["value"].to_list() == [float(number) for number in range(1, count + 1)]


def test_a_server_that_keeps_the_session_is_resumed(tmp_path: Path, device: Plc) -> None:
    """Nothing is lost while nobody listens, so that there is no new connection and no Bad sample."""
    store, edge, now = MemoryStore(), Edge(tmp_path / "edge.db"), (datetime.now(UTC) - T0).total_seconds()
    bridge = Bridge([connection_of(tmp_path, device.port, [SPEED])], edge, store, StatusFile(tmp_path))

    async def stored(speed: float) -> None:
        while speed not in store.latest(["c101.speed"])["value"].to_list():
            await asyncio.sleep(0.05)

    async def main() -> None:
        stop = asyncio.Event()
        async with asyncio.timeout(40), asyncio.TaskGroup() as group:
            group.create_task(bridge.run(stop))
            device.say("speed", 1.0, second=now)
            await stored(1.0)
            await asyncio.to_thread(device.stop)
            device.say("speed", 2.0, second=now + 1)
            await asyncio.to_thread(device.start)
            device.say("speed", 3.0, second=now + 2)
            await stored(3.0)
            stop.set()

    asyncio.run(main())
    edge.close()
    assert bridge.sources[0].connections == 1
    speeds = pl.concat(store.read(["c101.speed"], T0 + timedelta(seconds=1), T0 + timedelta(days=36_500)))
    found = speeds.filter(pl.col("value").is_null() | (pl.col("value") > 0)).select("value", "quality").rows()
    assert found == [(1.0, 0), (2.0, 0), (3.0, 0)]


def test_a_server_that_was_away_is_streamed_again_at_once(tmp_path: Path, device: Plc) -> None:
    """Whatever the back-off has become: it would be a minute here. The status has the offset of the server's clock."""
    store, edge, now = MemoryStore(), Edge(tmp_path / "edge.db"), (datetime.now(UTC) - T0).total_seconds()
    connection, status = connection_of(tmp_path, device.port, [SPEED], resume="0s"), StatusFile(tmp_path)
    bridge = Bridge([connection], edge, store, status, wait=lambda _, failures: 0.1 if failures == 1 else 60.0)

    async def until(done: Callable[[], bool]) -> None:
        while not done():
            await asyncio.sleep(0.05)

    async def main() -> None:
        stop, [source] = asyncio.Event(), bridge.sources
        async with asyncio.timeout(40), asyncio.TaskGroup() as group:
            group.create_task(bridge.run(stop))
            await until(lambda: bool(status.bridge().sources) and status.bridge().sources[0].clock_ahead_s is not None)
            await asyncio.to_thread(device.stop)
            await until(lambda: "Connect call failed" in source.last_error)
            await asyncio.to_thread(device.start)
            device.say("speed", 2.0, second=now)
            await until(lambda: 2.0 in store.latest(["c101.speed"])["value"].to_list())
            stop.set()

    asyncio.run(main())
    edge.close()
    assert bridge.sources[0].connections == 2
