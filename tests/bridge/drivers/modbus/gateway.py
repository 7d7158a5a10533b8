"""A Modbus gateway with awkward devices on its line: it speaks the protocol by itself, byte by byte.

Registers hold their own address. One connection is served one request at a time, like a serial line.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field

SILENT = None
"""What a device that does not respond returns."""
Answer = int | None
"""An exception code, 0 for the registers, or `SILENT`."""
Device = Callable[[int, int], Answer]
"""From the first address and the number of registers to what the device does."""


def good(_first: int, _count: int) -> Answer:
    """Always responds."""
    return 0


def silent(_first: int, _count: int) -> Answer:
    """Never responds."""
    return SILENT


def failing_at(address: int, code: int) -> Device:
    """Return a device that reports an exception for every request with this address."""
    return lambda first, count: code if first <= address < first + count else 0


def dropping_above(largest: int) -> Device:
    """Return a device that leaves larger requests unanswered."""
    return lambda _first, count: SILENT if count > largest else 0


@dataclass
class Gateway:
    """What the gateway has seen, and its devices, which a test may exchange."""

    devices: dict[int, Device]
    port: int = 0
    idle_s: float = 3600.0
    """After so long without a request a connection is closed."""
    connections: int = 0
    requests: Counter[int] = field(default_factory=Counter)
    """Device -> number of requests."""
    largest: int = 0
    """Largest number of registers in a request that was answered."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, TimeoutError, ConnectionError), closing(writer):
            while True:
                async with asyncio.timeout(self.idle_s):
                    request = await reader.readexactly(12)
                if (response := self._response(*struct.unpack(">HHHBBHH", request))) is not None:
                    writer.write(response)

    def _response(self, number: int, _zero: int, _size: int, device: int, function: int, *span: int) -> bytes | None:
        self.requests[device] += 1
        first, count = span
        code = self.devices[device](first, count)
        if code is SILENT:
            return None
        if code:
            return struct.pack(">HHHBBB", number, 0, 3, device, function | 0x80, code)
        self.largest = max(self.largest, count)
        words = struct.pack(f">{count}H", *range(first, first + count))
        return struct.pack(">HHHBBB", number, 0, 3 + len(words), device, function, len(words)) + words


@asynccontextmanager
async def running_gateway(devices: dict[int, Device], *, idle_s: float = 3600.0) -> AsyncIterator[Gateway]:
    """Run a gateway on a free port."""
    gateway = Gateway(devices, idle_s=idle_s)
    async with await asyncio.start_server(gateway.serve, "127.0.0.1", 0) as server:
        gateway.port = server.sockets[0].getsockname()[1]
        yield gateway
