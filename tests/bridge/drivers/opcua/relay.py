"""A relay in front of an OPC UA server, which sees what is requested of it."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary


class Relay:
    """A TCP relay in front of a server that counts the requested services and can stop forwarding."""

    def __init__(self) -> None:
        self.services: Counter[int] = Counter()
        self.acknowledged: list[int] = []
        """Sequence numbers in the publish requests."""
        self.silent = False
        self._writers: list[asyncio.StreamWriter] = []

    def cut(self) -> None:
        """Breaks every connection."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    @asynccontextmanager
    async def between(self, port: int, server_port: int) -> AsyncIterator[None]:
        """Relays while the block runs."""
        tasks: list[asyncio.Task[None]] = []
        writers: list[asyncio.StreamWriter] = []

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", server_port)
            tasks.append(asyncio.create_task(self._pass_requests(reader, server_writer)))
            tasks.append(asyncio.create_task(self._pass_responses(server_reader, writer)))
            writers.extend((writer, server_writer))
            self._writers.extend((writer, server_writer))

        async with await asyncio.start_server(accept, "127.0.0.1", port):
            yield
        for task in tasks:
            task.cancel()
        for writer in writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _pass_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """OPC UA Part 6: type, chunk, size; in a message behind 24 bytes the node id of the service's type."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                header = await reader.readexactly(8)
                kind, size = struct.unpack("<4sI", header)
                body = await reader.readexactly(size - 8)
                if kind[:3] == b"MSG":
                    encoding, _, service = struct.unpack_from("<BBH", body, 16)
                    assert encoding == 1
                    self.services[service] += 1
                    if service == ua.ObjectIds.PublishRequest_Encoding_DefaultBinary:
                        request = struct_from_binary(ua.PublishRequest, Buffer(body, 16))
                        given = request.Parameters.SubscriptionAcknowledgements
                        self.acknowledged += [each.SequenceNumber for each in given]
                await self._pass_on(header + body, writer)

    async def _pass_responses(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65_536):
                await self._pass_on(piece, writer)

    async def _pass_on(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        if not self.silent:
            writer.write(piece)
            await writer.drain()


def service(request: type) -> int:
    """The number under which a request goes over the wire."""
    return int(getattr(ua.ObjectIds, f"{request.__name__}_Encoding_DefaultBinary"))


ALLOWED: Final = {
    service(request)
    for request in (
        ua.GetEndpointsRequest,
        ua.CreateSessionRequest,
        ua.ActivateSessionRequest,
        ua.CloseSessionRequest,
        ua.ReadRequest,
        ua.CreateSubscriptionRequest,
        ua.CreateMonitoredItemsRequest,
        ua.PublishRequest,
        ua.RepublishRequest,
        ua.TranslateBrowsePathsToNodeIdsRequest,
    )
}
"""Services that streaming needs, none of which changes anything in a server but our own session."""

READING: Final = ALLOWED | {service(ua.BrowseRequest), service(ua.BrowseNextRequest)}
"""Those, and the services that browsing needs."""
