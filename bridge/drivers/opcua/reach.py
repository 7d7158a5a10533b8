"""Whether anybody listens at a server's address."""

from __future__ import annotations

import asyncio
from typing import Final

from bridge.drivers.opcua.security import host_and_port

EVERY_S: Final = 0.25
"""Seconds between two attempts: a connection that is refused costs a packet each way."""
ATTEMPT_S: Final = 2.0


async def wait_for_port(url: str) -> None:
    """Return once a TCP connection to an endpoint can be opened; cancel to stop earlier."""
    host, port = host_and_port(url)
    while True:
        try:
            async with asyncio.timeout(ATTEMPT_S):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError):
            await asyncio.sleep(EVERY_S)
            continue
        writer.close()
        return
