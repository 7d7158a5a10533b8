"""The archive over the history that an OPC UA server keeps; `bridge.drivers.opcua.driver` is its manual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Final, cast

from asyncua import ua

from bridge.drivers.opcua.addresses import parse
from bridge.drivers.opcua.channels import channel_of
from bridge.drivers.opcua.client import (
    FAILURES,
    ITEMS_PER_CALL,
    Opened,
    disconnect,
    keep_channel,
    not_connected,
    opened,
)
from bridge.drivers.opcua.columns import Columns
from bridge.drivers.opcua.driver import Options, check_addresses
from bridge.drivers.opcua.history import paging_of, read_history
from bridge.drivers.opcua.history_reading import Paging, Reading
from bridge.drivers.opcua.nodes import resolved
from bridge.drivers.opcua.publishing import Send
from bridge.drivers.opcua.values import RowMaker
from bridge.drivers.protocols import Extent, Page
from bridge.drivers.slicing import starts_every
from historian.errors import NotConnected, SourceError
from historian.plant.connections import ConnectionConfig
from historian.times import from_micros, micros

EARLIEST: Final = datetime(1980, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Times outside are those of clocks that nobody has set."""
_HINTS: Final = {
    "BadUserAccessDenied": "; give the user the right to read history",
    "BadHistoryOperationUnsupported": "; switch its history on in the server",
    "BadNodeIdUnknown": "; check its address",
}


class OpcuaArchive:
    """An `Archive` over one OPC UA session."""

    def __init__(self, connection: ConnectionConfig) -> None:
        """Check the addresses. Raises `ConfigError` for those that are neither node ids nor paths."""
        check_addresses(connection)
        self._name = connection.name
        self._options, self._root = cast(Options, connection.options), connection.root
        self._tags = connection.tags
        self._addresses = [parse(tag.address) for tag in connection.tags]
        self._channels = [channel_of(tag, self._options) for tag in connection.tags]
        self._nodes: dict[int, ua.NodeId] = {}
        self._unknown: dict[int, str] = {}
        """Number of a tag -> why it has no node."""
        self._opened: Opened | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._send: Send | None = None
        self._paging = Paging(1, 1)
        self._missing: dict[int, str] = {}

    async def open(self) -> None:
        """See `Archive.open`."""
        self._opened = found = await opened(self._options, self._options.endpoint, self._root)
        try:
            if found.client.uaclient.protocol is None:
                raise OSError("the server closed the connection")
            self._send = found.client.uaclient.protocol.send_request
            places = await resolved(found.session, self._addresses, size=ITEMS_PER_CALL)
            self._paging = await paging_of(found.session, self._options.history_page)
        except FAILURES as error:
            raise not_connected(self._options.endpoint, error) from None
        self._nodes = {number: place for number, place in enumerate(places) if not isinstance(place, str)}
        self._unknown = {number: place for number, place in enumerate(places) if isinstance(place, str)}
        self._renewing = asyncio.create_task(keep_channel(found.client))

    async def extents(self) -> Mapping[str, Extent]:
        """See `Archive.extents`: two requests, of the oldest and of the newest value of each node."""
        everything = list(self._nodes)
        oldest, failures = await self._ends(everything, newest=False)
        newest, more = await self._ends(list(oldest), newest=True)
        empty = [number for number in everything if number not in oldest and number not in failures]
        self._missing = {**self._unknown, **failures, **more, **dict.fromkeys(empty, "the server has no values of it")}
        instant = timedelta(microseconds=1)
        return {
            self._tags[number].name: (from_micros(oldest[number]), from_micros(newest[number]) + instant)
            for number in newest
        }

    async def problems(self) -> Sequence[str]:
        """See `ReportsProblems.problems`: the nodes without history."""
        return [
            f"archive {self._name}: {self._problem(number, reason)}" for number, reason in sorted(self._missing.items())
        ]

    async def slice_starts(self, start: datetime, end: datetime) -> Sequence[datetime]:
        """See `ProposesSlices.slice_starts`: some servers collect a whole range before they return its first page."""
        return starts_every(self._options.history_slice, start, end)

    async def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`; a page has one response's values of several nodes.

        An array belongs to the range that its timestamp is in.

        Raises:
            SourceError: the history of a node could not be read completely; everything readable was yielded before.
        """
        wanted, span = set(tags), (micros(start), micros(end))
        readings = [
            Reading(number, self._nodes[number], span, self._paging)
            for number, tag in enumerate(self._tags)
            if tag.name in wanted and number in self._nodes and number not in self._missing
        ]
        maker = RowMaker(self._channels, from_history=True)
        async with aclosing(self._pages(readings)) as pages:
            async for columns in pages:
                rows = await asyncio.to_thread(maker.rows, columns, columns.time)
                yield Page(rows, f"HistoryRead from {self._options.endpoint}")
        if failures := [self._problem(each.number, each.failure) for each in readings if each.failure]:
            listed = "\n".join(failures)
            raise SourceError(f"archive {self._name}: what could be read was read, but not\n{listed}")

    async def close(self) -> None:
        """See `Archive.close`."""
        found, self._opened, self._send = self._opened, None, None
        if self._renewing is not None:
            self._renewing.cancel()
        if found is not None:
            await disconnect(found.client)

    async def _ends(self, numbers: Sequence[int], *, newest: bool) -> tuple[dict[int, int], dict[int, str]]:
        """Return the time of the oldest or newest value of nodes, and why that of others could not be read."""
        span = (micros(EARLIEST), micros(LATEST))
        readings = [
            Reading(number, self._nodes[number], span, self._paging, newest_first=newest, only_one=True)
            for number in numbers
        ]
        found: dict[int, int] = {}
        async with aclosing(self._pages(readings)) as pages:
            async for columns in pages:
                found |= dict(zip(columns.handle.tolist(), columns.time.tolist(), strict=True))
        return found, {each.number: each.failure for each in readings if each.failure}

    async def _pages(self, readings: Sequence[Reading]) -> AsyncGenerator[Columns]:
        """Yield what `read_history` does, without empty pages."""
        if self._send is None:
            raise NotConnected("the archive is not open")
        async with aclosing(read_history(self._send, readings, self._paging)) as pages:
            async for columns in pages:
                if len(columns.handle):
                    yield columns
        for each in readings:
            if each.untimed and not each.failure:
                each.failure = f"{each.untimed:,} values have no timestamp"

    def _problem(self, number: int, reason: str) -> str:
        tag = self._tags[number]
        return f"{' '.join(tag.listed)}: {tag.name} ({tag.address}): {reason}{_HINTS.get(reason, '')}"
