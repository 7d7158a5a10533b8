"""A relay on loopback that can be shut: to its clients, the server behind it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

from tests.servers import free_port


class Gate:
    """Forwards connections from its port to that of a server while it is open."""

    def __init__(self, behind: int) -> None:
        self.port = free_port()
        self._behind = behind
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._server: asyncio.Server | None = None
        self._writers = set[asyncio.StreamWriter]()

    def open(self) -> None:
        """Accept connections."""
        if not self._thread.is_alive():
            self._thread.start()
        self._run(self._listen())

    def shut(self) -> None:
        """Abort all connections, and refuse new ones."""
        self._run(self._abort())

    def end(self) -> None:
        """Shut it for good."""
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _abort(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.02)  # for the tasks of these connections to end

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond, onward = await asyncio.open_connection("127.0.0.1", self._behind)
        ends = {writer, onward}
        self._writers |= ends
        with suppress(OSError):
            await asyncio.gather(_forward(reader, onward), _forward(beyond, writer))
        self._writers -= ends


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while block := await reader.read(1 << 16):
            writer.write(block)
            await writer.drain()
    writer.close()


@contextmanager
def gate_to(port: int) -> Iterator[Gate]:
    """An open gate to a server on loopback, while the block runs."""
    gate = Gate(port)
    gate.open()
    try:
        yield gate
    finally:
        gate.end()
