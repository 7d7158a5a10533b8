"""The compressor's OPC UA server: waveforms as arrays, process values, a text state, and a counter that reveals losses.

ns=2;s=c101.de_h, c101.de_v         Float[2560]: 100 ms at 25,600 Hz, published when complete, stamped with its start
ns=2;s=c101.speed, c101.oil_temp    Double, every second
ns=2;s=c101.state                   String, when it changes
ns=2;s=counter                      UInt64, up by one at a fixed rate
ns=2;s=sent                         String: JSON of how often each of the others has been published so far
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from asyncua import Server, ua

from bridge.simulator.signals import BURST, Compressor, Direction, burst_instants
from historian.times import EPOCH, micros, utc_now

NAMESPACE: Final = "urn:penstock:simulator"
_SECOND: Final = timedelta(seconds=1)
_DIRECTIONS: Final[tuple[Direction, ...]] = ("de_h", "de_v")
_NODES: Final[dict[str, tuple[ua.VariantType, object]]] = {
    "c101.de_h": (ua.VariantType.Float, [0.0]),
    "c101.de_v": (ua.VariantType.Float, [0.0]),
    "c101.speed": (ua.VariantType.Double, 0.0),
    "c101.oil_temp": (ua.VariantType.Double, 0.0),
    "c101.state": (ua.VariantType.String, ""),
    "counter": (ua.VariantType.UInt64, 0),
    "sent": (ua.VariantType.String, "{}"),
}
"""The type of each node, and a placeholder value of that type, which no client ever receives."""

# asyncua would warn of missing encryption, which is intended: this server is for trying things out.
logging.getLogger("asyncua").setLevel(logging.CRITICAL)


class OpcuaServer:
    """The server; call `start`, then `publish` until it is cancelled, then `stop`."""

    def __init__(self, compressor: Compressor, *, host: str, port: int, burst_every: timedelta, rate: float) -> None:
        self.endpoint = f"opc.tcp://{host}:{port}"
        self._compressor = compressor
        self._burst_every = burst_every
        self._rate = rate
        self._sent: Counter[str] = Counter()
        self._server = Server()

    async def start(self) -> None:
        """Start to listen; every node waits for its first value. Raises `OSError` if the port is in use."""
        await self._server.init()
        self._server.set_endpoint(self.endpoint)
        self._server.set_server_name("Penstock simulator")
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        namespace = await self._server.register_namespace(NAMESPACE)
        assert namespace == 2  # noqa: S101 (every tag list says so)
        waiting = ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadWaitingForInitialData))
        for name, (kind, value) in _NODES.items():
            await self._server.nodes.objects.add_variable(_node(name), name, value, varianttype=kind)
            await self._server.write_attribute_value(_node(name), waiting)
        self._server.set_attribute_value_callback(_node("sent"), lambda *_: self._sent_so_far())
        await self._server.start()

    async def publish(self) -> None:
        """Publish for ever, starting with the latest past values.

        Values that are late are published late, with their own timestamps; none is left out.
        """
        now = utc_now()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publish_bursts(now))
            group.create_task(self._publish_slow(now))
            group.create_task(self._count(now))

    async def stop(self) -> None:
        """Close all sessions and the port."""
        await self._server.stop()

    async def _publish_bursts(self, now: datetime) -> None:
        start = _latest(now - BURST, self._burst_every)
        while True:
            await _until(start + BURST)
            at = burst_instants(start)
            for direction in _DIRECTIONS:
                burst = self._compressor.acceleration(direction, at).astype(np.float32)
                await self._write(f"c101.{direction}", burst.tolist(), start)
            start += self._burst_every

    async def _publish_slow(self, now: datetime) -> None:
        instant, state = _latest(now, _SECOND), ""
        while True:
            await _until(instant)
            at = np.array([micros(instant)])
            await self._write("c101.speed", float(self._compressor.speed(at)[0]), instant)
            await self._write("c101.oil_temp", float(self._compressor.oil_temp(at)[0]), instant)
            before, state = state, str(self._compressor.state(at)[0])
            if state != before:
                await self._write("c101.state", state, instant)
            instant += _SECOND

    async def _count(self, now: datetime) -> None:
        start, count = _latest(now, _SECOND), 0
        while True:
            instant = start + timedelta(seconds=count / self._rate)
            await _until(instant)
            count += 1
            await self._write("counter", count, instant)

    async def _write(self, name: str, value: float | str | list[float], at: datetime) -> None:
        variant = ua.Variant(value, _NODES[name][0])
        stamped = ua.DataValue(variant, SourceTimestamp=at, ServerTimestamp=at)
        await self._server.write_attribute_value(_node(name), stamped)
        self._sent[name] += 1

    def _sent_so_far(self) -> ua.DataValue:
        now = utc_now()
        return ua.DataValue(ua.Variant(json.dumps(self._sent)), SourceTimestamp=now, ServerTimestamp=now)


def _node(name: str) -> ua.NodeId:
    return ua.NodeId(name, 2)


def _latest(now: datetime, every: timedelta) -> datetime:
    """Return the latest instant on the grid since the epoch; servers started at different times use the same grid."""
    return now - (now - EPOCH) % every


async def _until(instant: datetime) -> None:
    await asyncio.sleep(max(0.0, (instant - utc_now()).total_seconds()))
