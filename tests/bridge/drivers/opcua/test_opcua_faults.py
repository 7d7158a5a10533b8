"""Faults between the bridge and an OPC UA server: what the server keeps arrives late instead of never."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from asyncua import ua

from bridge.drivers.opcua.source import OpcuaSource
from historian.errors import NotConnected
from historian.quality import BAD_NODE_ID_UNKNOWN
from tests.bridge.drivers.opcua.plc import SPEED, Plc, connected, connection_of, free_port, heard
from tests.bridge.drivers.opcua.relay import ALLOWED, Relay, service

CREATE, CLOSE = service(ua.CreateSessionRequest), service(ua.CloseSessionRequest)
REPUBLISH = service(ua.RepublishRequest)


@pytest.fixture(scope="module")
def other() -> Iterator[Plc]:
    """A second server with the same nodes."""
    one = Plc()
    one.start()
    yield one
    one.stop()
    one.end()


def values(found: pl.DataFrame) -> list[float]:
    """The values of samples."""
    return [value for value in found["value"].to_list() if value is not None]


def test_what_was_sent_into_a_dead_network_is_sent_again(tmp_path: Path, device: Plc) -> None:
    """The session is resumed by a new client, and the messages that were lost on the way are requested again."""
    port, wire = free_port(), Relay()

    async def main() -> list[float]:
        connection = connection_of(tmp_path, port, [SPEED])
        async with asyncio.timeout(20), wire.between(port, device.port), connected(connection) as source:
            await heard(source, 1)
            client = source.link.opened.client
            wire.silent = True
            for number in (1, 2, 3):
                device.say("speed", float(number), second=number)
                await asyncio.sleep(0.15)
            wire.silent = False
            wire.cut()
            device.say("speed", 4.0, second=4)
            found = values(await heard(source, 4))
            assert source.link.opened.client is not client
            return found

    assert asyncio.run(main()) == [1.0, 2.0, 3.0, 4.0]
    assert (wire.services[CREATE], wire.services[REPUBLISH] > 0) == (1, True)
    assert set(wire.services) <= ALLOWED


def test_a_stall_longer_than_silence_loses_nothing(tmp_path: Path, device: Plc) -> None:
    """The queue in the server is alive; only the connection is given up."""
    port, wire = free_port(), Relay()

    async def main() -> list[float]:
        connection = connection_of(tmp_path, port, [SPEED], silence="400ms", heartbeat="0s")
        async with asyncio.timeout(20), wire.between(port, device.port), connected(connection) as source:
            await heard(source, 1)
            reading = asyncio.create_task(heard(source, 3))
            wire.silent = True
            for number in (1, 2):
                device.say("speed", float(number), second=number)
                await asyncio.sleep(0.5)
            assert "nothing was heard" in source.troubles()[0]
            wire.silent = False
            device.say("speed", 3.0, second=3)
            return values(await reading)

    assert asyncio.run(main()) == [1.0, 2.0, 3.0]
    assert wire.services[CREATE] == 1


def test_a_session_that_cannot_be_resumed_in_time_is_a_new_one(tmp_path: Path, device: Plc) -> None:
    """The runner learns of it, so that the outage becomes an honest hole."""
    port, wire = free_port(), Relay()

    async def main() -> None:
        connection = connection_of(tmp_path, port, [SPEED], silence="200ms", resume="500ms")
        async with asyncio.timeout(20), wire.between(port, device.port), connected(connection) as source:
            await heard(source, 1)
            wire.silent = True
            with pytest.raises(NotConnected, match=r"could not be resumed within 0\.5 s"):
                await source.read()

    asyncio.run(main())


def test_after_a_crash_the_old_session_is_resumed(tmp_path: Path, device: Plc) -> None:
    """A server with few sessions lets us in at once, and sends again what was not durable and what it queued."""
    port, wire = free_port(), Relay()

    async def main() -> list[float]:
        async with asyncio.timeout(20), wire.between(port, device.port):
            first = OpcuaSource(connection_of(tmp_path, port, [SPEED]))
            await first.connect()
            await heard(first, 1)
            device.say("speed", 1.0, second=1)
            await heard(first, 1)  # read, but the process dies before the next read confirms that it is durable
            await first.link.drop()
            await first._upkeep.stop()
            device.say("speed", 2.0, second=2)
            device.say("speed", 3.0, second=3)
            async with connected(connection_of(tmp_path, port, [SPEED])) as source:
                return values(await heard(source, 4))

    assert set(asyncio.run(main())) == {1.0, 2.0, 3.0}
    assert wire.services[CREATE] == 1


def test_a_session_that_subscribes_to_something_else_is_closed(tmp_path: Path, device: Plc) -> None:
    """Its place is free for the new one."""
    port, wire = free_port(), Relay()

    async def main() -> None:
        async with asyncio.timeout(20), wire.between(port, device.port):
            first = OpcuaSource(connection_of(tmp_path, port, [SPEED]))
            await first.connect()
            await first.link.drop()
            await first._upkeep.stop()
            async with connected(connection_of(tmp_path, port, [SPEED, "x1,ns=2;s=array,first"])) as source:
                await heard(source, 2)
                assert (wire.services[CREATE], wire.services[CLOSE]) == (2, 1)

    asyncio.run(main())


def test_a_node_that_appears_is_streamed_without_a_new_connection(tmp_path: Path, device: Plc) -> None:
    """It is named once, requested again now and then, and holds up nothing."""
    port, wire = free_port(), Relay()

    async def main() -> None:
        connection = connection_of(tmp_path, port, [SPEED, "x1,ns=2;s=c101.late,first", "x2,nsu=urn:no;s=a,first"])
        async with (
            asyncio.timeout(20),
            wire.between(port, device.port),
            connected(connection, upkeep_s=0.1) as source,
        ):
            first = await heard(source, 3)
            assert first.filter(pl.col("quality") == BAD_NODE_ID_UNKNOWN)["tag"].to_list() == ["c101.x1", "c101.x2"]
            assert source.troubles() == ["c101.x1: BadNodeIdUnknown", "c101.x2: the server has no namespace urn:no"]
            device.add("late", 5.0)
            assert (await heard(source, 1)).select("tag", "value").rows() == [("c101.x1", 5.0)]
            assert source.troubles() == ["c101.x2: the server has no namespace urn:no"]

    asyncio.run(main())
    assert wire.services[CREATE] == 1


def test_a_server_that_comes_back_is_noticed_at_once(tmp_path: Path) -> None:
    """However long the back-off has become; a server that refuses us is not contacted more often for that."""

    async def main() -> None:
        port = free_port()
        source = OpcuaSource(connection_of(tmp_path, port, [SPEED]))
        with pytest.raises(NotConnected, match="cannot connect"):
            await source.connect()
        began = time.monotonic()
        await source.wait_reachable(0.3)
        assert time.monotonic() - began > 0.29
        waiting = asyncio.create_task(source.wait_reachable(30))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port):
            await asyncio.wait_for(waiting, 3)
            with pytest.raises(NotConnected):
                await source.connect()
            began = time.monotonic()
            await source.wait_reachable(0.5)
            assert time.monotonic() - began > 0.49
        await source.close()

    asyncio.run(main())


def test_the_server_with_the_best_service_level_is_used(tmp_path: Path, device: Plc, other: Plc) -> None:
    """At first, and when another one becomes better; a server that is away costs nothing but the attempt."""
    away, urls = free_port(), [f"opc.tcp://127.0.0.1:{port}" for port in (device.port, other.port)]

    async def main() -> None:
        connection = connection_of(tmp_path, away, [SPEED], standby=urls)
        device.set_service_level(100)
        other.set_service_level(200)
        async with asyncio.timeout(30), connected(connection, upkeep_s=0.2) as source:
            await heard(source, 1)
            assert source.link.url == urls[1]
            device.set_service_level(255)
            other.set_service_level(50)
            while source.link.url != urls[0]:
                other.say("speed", time.monotonic(), second=time.monotonic())
                await source.read()
            device.say("speed", 7.0, second=7)
            while 7.0 not in values(await heard(source, 1)):
                pass

    try:
        asyncio.run(main())
    finally:
        for each in (device, other):
            each.set_service_level(255)


def test_an_unchanged_value_is_repeated(tmp_path: Path, device: Plc) -> None:
    """As long as the server answers, it is not stale."""

    async def main() -> list[float]:
        connection = connection_of(tmp_path, device.port, [SPEED], heartbeat="1s", silence="150ms")
        async with asyncio.timeout(20), connected(connection) as source:
            return values(await heard(source, 3))

    assert asyncio.run(main()) == [0.0, 0.0, 0.0]
