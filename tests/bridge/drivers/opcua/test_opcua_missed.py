"""What an outage cost is read from the history of a real server of asyncua after the reconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.run.stream import Bridge
from historian.status import StatusFile
from historian.stores.memory import MemoryStore
from tests.bridge.drivers.opcua.historian import HistorianPlc
from tests.bridge.drivers.opcua.plc import connection_of, free_port
from tests.bridge.drivers.opcua.relay import Relay

ROWS = ("speed,ns=2;s=c101.speed,first", "state,ns=2;s=c101.state,first")


@pytest.fixture(scope="module")
def historian() -> Iterator[HistorianPlc]:
    """A server that keeps a history of `speed`, and none of `state`."""
    one = HistorianPlc()
    one.start()
    yield one
    one.stop()
    one.end()


def test_missed_values_are_read_and_covered(historian: HistorianPlc, edge: Edge, tmp_path: Path) -> None:
    """Of the node that has a history; live values go on meanwhile, and the other node keeps its gap."""
    port, store, began = free_port(), MemoryStore(), datetime.now(UTC)
    connection = connection_of(tmp_path, port, ROWS, history_lag="100ms", fill_outages="1h")
    bridge = Bridge([connection], edge, store, StatusFile(tmp_path), wait=lambda _, __: 0.05)

    def say(number: int) -> datetime:
        """A value of both nodes, now; the history has those of the first."""
        at = datetime.now(UTC)
        historian.remember("speed", (at, float(number), 0))
        historian.say_at("speed", float(number), at)
        historian.say_at("state", f"S{number}", at)
        return at

    def samples() -> list[tuple[Any, ...]]:
        batches = store.read(["c101.speed", "c101.state"], began, datetime.now(UTC))
        return [row for batch in batches for row in batch.rows()]

    async def stored(number: float) -> None:
        while number not in [value for _, _, value, _, _ in samples()]:
            await asyncio.sleep(0.02)

    async def main() -> tuple[datetime, datetime]:
        stop = asyncio.Event()
        running = asyncio.create_task(bridge.run(stop))
        async with Relay().between(port, historian.port):
            first = await asyncio.to_thread(say, 1)
            await stored(1.0)
        for number in (2, 3, 4):
            missed = await asyncio.to_thread(say, number)
        async with Relay().between(port, historian.port):
            await stored(3.0)
            await asyncio.to_thread(say, 5)
            await stored(5.0)
            stop.set()
            await running
        return first, missed

    async def limited() -> tuple[datetime, datetime]:
        async with asyncio.timeout(30):
            return await main()

    first, missed = asyncio.run(limited())
    rows = samples()
    assert [value for tag, _, value, _, quality in rows if tag == "c101.speed" and quality == 0][-5:] == [1, 2, 3, 4, 5]
    assert not {"S2", "S3"} & {text for *_, text, _ in rows}
    covered = Coverage(edge).of(["c101.speed", "c101.state"], began, missed)
    [(tag, start, end)] = covered.rows()
    assert (tag, start <= first, end > missed) == ("c101.speed", True, True)
