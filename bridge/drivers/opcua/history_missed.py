"""The values that a live source has missed, from the history of its server, over the session that it has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Final

from asyncua import ua

from bridge.drivers.opcua.client import ITEMS_PER_CALL, attributes
from bridge.drivers.opcua.history import paging_of, read_history
from bridge.drivers.opcua.history_reading import Reading
from bridge.drivers.opcua.link import Link
from bridge.drivers.opcua.values import Channel, RowMaker
from bridge.drivers.protocols import Page
from historian.logs import get_logger
from historian.times import micros

_HISTORY_READ: Final = 1 << ua.AccessLevel.HistoryRead.value
"""Bit of AccessLevel: the node has a history that may be read (OPC UA Part 3, 8.57)."""
_NAMED: Final = 10
"""Number of nodes that a message names."""

log = get_logger(__name__)


async def read_missed(
    link: Link,
    channels: Sequence[Channel],
    span: tuple[datetime, datetime],
    take: Callable[[Page], Awaitable[None]],
    *,
    page: int,
) -> Collection[str]:
    """Read the history of the nodes that have one; return the tags of those that were read completely.

    Args:
        link: the session, which knows the node of each channel.
        channels: how to decode the values of each node.
        span: start and end of the range.
        take: called with each page.
        page: most values of a node in a response.

    Raises:
        NotConnected: the connection is lost.
    """
    session = link.opened.session
    nodes = {number: place for number, place in enumerate(link.items.places) if not isinstance(place, str)}
    levels = await attributes(session, list(nodes.values()), ua.AttributeIds.AccessLevel, size=ITEMS_PER_CALL)
    paging = await paging_of(session, page)
    readings = [
        Reading(number, nodes[number], (micros(span[0]), micros(span[1])), paging)
        for number, level in zip(nodes, levels, strict=True)
        if isinstance(level, int) and level & _HISTORY_READ
    ]
    maker = RowMaker(channels, from_history=True)
    maker.name_states(link.texts)
    async with aclosing(read_history(link.send(), readings, paging)) as pages:
        async for columns in pages:
            if len(columns.handle):
                rows = await asyncio.to_thread(maker.rows, columns, columns.time)
                await take(Page(rows, "HistoryRead"))
    if failures := {channels[each.number].tag: each.failure for each in readings if each.failure}:
        log.warning("history could not be read", number=len(failures), tags=dict(list(failures.items())[:_NAMED]))
    return [channels[each.number].tag for each in readings if not each.failure and not each.untimed]
