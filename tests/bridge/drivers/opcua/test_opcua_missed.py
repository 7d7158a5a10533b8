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

OPTIONS = {"history_lag": "100ms", "fill_outages": "1h", "resume": "0s", "heartbeat": "0s"}
"""Without resuming the session, for which the server keeps what has changed: then no history is needed."""
ROWS = ("speed,ns=2;s=c101.speed,first", "state,ns=2;s=c101.state,first")


@pytest.fixture(scope="module")
def historian() -> Iterator[HistorianPlc]:
    """A server that keeps a history of `speed`, and none of `state`."""
    one = HistorianPlc()
    one.start()
    yield one
    one.stop()
    one.end()


class Plant:
    """A server with a history, and a bridge that reaches it through a relay."""

    def __init__(self, historian: HistorianPlc, edge: Edge, directory: Path) -> None:
        self.store, self.began, self.port = MemoryStore(), datetime.now(UTC), free_port()
        self._historian = historian
        self._state = directory / ".penstock" / "opcua"
        connection = connection_of(directory, self.port, ROWS, **OPTIONS)
        self._bridge = Bridge([connection], edge, self.store, StatusFile(directory), wait=lambda _, __: 0.05)

    def samples(self) -> list[tuple[Any, ...]]:
        """What is stored, as tuples."""
        batches = self.store.read(["c101.speed", "c101.state"], self.began, datetime.now(UTC))
        return [row for batch in batches for row in batch.rows()]

    async def say(self, *numbers: int) -> datetime:
        """Sets values of both nodes, of which the history has those of the first; returns the last time."""
        for number in numbers:
            at = datetime.now(UTC)
            await asyncio.to_thread(self._historian.remember, "speed", (at, float(number), 0))
            await asyncio.to_thread(self._historian.say_at, "speed", float(number), at)
            await asyncio.to_thread(self._historian.say_at, "state", f"S{number}", at)
        return at

    async def stored(self, number: float) -> None:
        """Waits until a value is in the store."""
        while number not in [value for _, _, value, _, _ in self.samples()]:
            await asyncio.sleep(0.02)

    async def run(self) -> tuple[datetime, datetime]:
        """Says 1, is cut off while it says 2 to 4, and says 5; returns the times of 1 and 4."""
        stop = asyncio.Event()
        running = asyncio.create_task(self._bridge.run(stop))
        async with asyncio.timeout(30):
            async with Relay().between(self.port, self._historian.port):
                first = await self.say(1)
                await self.stored(1.0)
            for session in self._state.glob("*.json"):
                session.unlink()  # or a new connection resumes it as well
            missed = await self.say(2, 3, 4)
            async with Relay().between(self.port, self._historian.port):
                await self.stored(3.0)
                await self.say(5)
                await self.stored(5.0)
                stop.set()
                await running
        return first, missed


def test_missed_values_are_read_and_covered(historian: HistorianPlc, edge: Edge, tmp_path: Path) -> None:
    """Of the node that has a history; live values go on meanwhile, and the other node keeps its gap."""
    plant = Plant(historian, edge, tmp_path)
    first, missed = asyncio.run(plant.run())
    rows = plant.samples()
    assert [value for tag, _, value, _, quality in rows if tag == "c101.speed" and quality == 0][-5:] == [1, 2, 3, 4, 5]
    assert not {"S2", "S3"} & {text for *_, text, _ in rows}
    [(tag, start, end)] = Coverage(edge).of(["c101.speed", "c101.state"], plant.began, missed).rows()
    assert (tag, start <= first, end > missed) == ("c101.speed", True, True)
