"""A real OPC UA server, in a process of its own, whose values are a gapless sequence: what is missing can be seen.

`counter` counts up every 10 ms; `burst` is an array of the next 256 numbers every 250 ms, sent when complete and
stamped with its first element's time, so that bursts follow each other without a gap at 1,024 Hz. It runs until it is
killed.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from asyncua import Server, ua

BURST = 256
TICKS_A_BURST = 25
BURST_TIME = timedelta(milliseconds=250)


async def serve(port: int) -> None:
    """Counts for ever; prints READY once clients can connect."""
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace("urn:counting")
    counter, burst = ua.NodeId("counter", index), ua.NodeId("burst", index)
    await server.nodes.objects.add_variable(counter, "counter", 0.0, ua.VariantType.Double)
    await server.nodes.objects.add_variable(burst, "burst", [0.0], ua.VariantType.Double)
    start, tick = datetime.now(UTC), 0
    async with server:
        print("READY", flush=True)
        while True:
            at = start + timedelta(milliseconds=10 * tick)
            await write(server, counter, float(tick), at)
            if tick % TICKS_A_BURST == 0:
                first = tick // TICKS_A_BURST * BURST
                await write(server, burst, [float(first + step) for step in range(BURST)], at - BURST_TIME)
            tick += 1
            due = start + timedelta(milliseconds=10 * tick)
            await asyncio.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))


async def write(server: Server, node: ua.NodeId, content: float | list[float], at: datetime) -> None:
    """Sets a value with its source time."""
    value = ua.DataValue(ua.Variant(content, ua.VariantType.Double), ua.StatusCode(0), at)
    await server.write_attribute_value(node, value)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
