"""HistoryRead of raw values: requests pages of several nodes together until each is read, whatever the server does.

asyncua's own loop decodes to a Python object per value, keeps all pages in memory, and stops without a word where a
server returns a continuation point twice. This one sends HistoryRead through asyncua's connection and nothing else.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Final

from asyncua import ua
from asyncua.client.ua_session import UaSession

from bridge.drivers.opcua.client import attributes, per_call
from bridge.drivers.opcua.columns import Columns, joined
from bridge.drivers.opcua.history_messages import Range, Result, request_of, results_of
from bridge.drivers.opcua.history_reading import Paging, Reading
from bridge.drivers.opcua.publishing import Send
from historian.errors import NotConnected
from historian.quality import BAD

NODES: Final = 20
"""Most nodes in a request: a response holds a page of each."""
TIMEOUT_S: Final = 60.0
"""Longest time to wait for a page: servers read them from disk."""
RELEASE_S: Final = 2.0
_SMALL: Final = 65_536
"""Bytes of values up to which decoding takes no longer than handing it to a thread."""

_CODES: Final = ua.StatusCodes
_LOST_POINT: Final = frozenset({_CODES.BadContinuationPointInvalid, _CODES.BadNoContinuationPoints})
_NO_TIMES: Final = frozenset({_CODES.BadTimestampNotSupported, _CODES.BadInvalidTimestampArgument})
_NOTHING: Final = frozenset({_CODES.BadNoData, _CODES.BadBoundNotFound})
_TOO_LARGE: Final = frozenset(
    {
        _CODES.BadTooManyOperations,
        _CODES.BadResponseTooLarge,
        _CODES.BadRequestTooLarge,
        _CODES.BadEncodingLimitsExceeded,
        _CODES.BadTcpMessageTooLarge,
    }
)
_GONE: Final = frozenset(
    {
        _CODES.BadSessionIdInvalid,
        _CODES.BadSessionClosed,
        _CODES.BadSessionNotActivated,
        _CODES.BadSecureChannelClosed,
        _CODES.BadSecureChannelIdInvalid,
        _CODES.BadConnectionClosed,
        _CODES.BadCommunicationError,
        _CODES.BadShutdown,
        _CODES.BadServerHalted,
        _CODES.BadTimeout,
    }
)
"""Errors of a whole request after which only a new session helps."""


async def paging_of(session: UaSession, page: int) -> Paging:
    """Return the server's limits for HistoryRead, and ours where it has none or larger ones.

    Args:
        session: the session.
        page: most values of a node in a response.
    """
    limit = ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData
    nodes = await per_call(session, limit)
    values = [ua.NodeId(ua.ObjectIds.HistoryServerCapabilities_MaxReturnDataValues)]
    [most] = await attributes(session, values, ua.AttributeIds.Value, size=1)
    return Paging(min(nodes, NODES), min(most, page) if isinstance(most, int) and most > 0 else page)


async def read_history(send: Send, readings: Sequence[Reading], paging: Paging) -> AsyncGenerator[Columns]:
    """Read until every reading is done; yield the new values of each response, with the readings' numbers as handles.

    Args:
        send: sends a request.
        readings: what to read; each says afterwards whether it has failed.
        paging: what is known of the server; it is learned from.

    Raises:
        NotConnected: the server does not answer, or the session is gone.
    """
    waiting = list(readings)
    try:
        while waiting:
            batch, waiting = _next(waiting, paging.nodes)
            yield await _page(send, batch, paging)
            await _release(send, [each for each in batch if each.done])
            # A node is read to its end before the next one begins: a server keeps few continuation points.
            waiting = [each for each in batch if not each.done] + waiting
    finally:
        await _release(send, readings)


def _next(waiting: Sequence[Reading], most: int) -> tuple[list[Reading], list[Reading]]:
    """Divide readings into those of the next request, which all want the same range, and the others."""
    wanted, batch, others = waiting[0].wanted, list[Reading](), list[Reading]()
    for each in waiting:
        (batch if len(batch) < most and each.wanted == wanted else others).append(each)
    return batch, others


async def _page(send: Send, batch: Sequence[Reading], paging: Paging) -> Columns:
    """Request the next page of some readings; return their new values."""
    request = request_of([(each.node, each.point) for each in batch], batch[0].wanted)
    try:
        results = results_of(await send(request, timeout=TIMEOUT_S))
        if len(results) != len(batch):
            raise ValueError(f"{len(results)} results for {len(batch)} nodes")
    except ua.UaStatusCodeError as error:
        _refused(error, batch, paging)
        return Columns.empty(0)
    except (OSError, TimeoutError) as error:
        raise NotConnected(f"the server stopped answering while history was read: {error or 'no answer'}") from None
    except (struct.error, IndexError, ValueError, ua.UaError) as error:
        raise NotConnected(f"a response to HistoryRead cannot be decoded ({error})") from None
    in_thread = sum(result.end - result.start for result in results) > _SMALL
    pages = await asyncio.to_thread(_decoded, results) if in_thread else _decoded(results)
    return joined([_taken(each, *page, paging) for each, page in zip(batch, pages, strict=True)])


def _decoded(results: Sequence[Result]) -> list[tuple[Result, Columns | str]]:
    """Return each result with its values, or why they cannot be decoded."""
    found: list[tuple[Result, Columns | str]] = []
    for result in results:
        try:
            found.append((result, result.columns()))
        except Exception as error:  # noqa: BLE001 - whatever asyncua raises for bytes that it cannot decode
            found.append((result, f"its values cannot be decoded ({type(error).__name__}: {error})"))
    return found


def _taken(reading: Reading, result: Result, columns: Columns | str, paging: Paging) -> Columns:
    """Let a reading process its result; return its new values."""
    if result.status >= BAD:
        _failed(reading, result.status, paging)
    elif isinstance(columns, str):
        reading.fail(columns)
    else:
        fresh = reading.take(result.point, columns)
        fresh.handle[:] = reading.number
        return fresh
    return Columns.empty(0)


def _failed(reading: Reading, status: int, paging: Paging) -> None:
    """Process a Bad status of one node."""
    name = ua.StatusCode(status).name
    if status in _NOTHING:
        reading.take(b"", Columns.empty(0))
    elif status in _LOST_POINT:
        if status == _CODES.BadNoContinuationPoints:
            paging.nodes = max(1, paging.nodes // 2)
        reading.restart(f"the server lost its continuation point again and again ({name})")
    elif (status in _TOO_LARGE and _smaller(reading, paging)) or (status in _NO_TIMES and reading.use_server_times()):
        return
    else:
        reading.fail(name)


def _smaller(reading: Reading, paging: Paging) -> bool:
    """Make the next request smaller: fewer nodes, then fewer values; return False if it is as small as it can be."""
    if paging.nodes > 1:
        paging.nodes //= 2
        return True
    return reading.narrow()


def _refused(error: ua.UaStatusCodeError, batch: Sequence[Reading], paging: Paging) -> None:
    """Process an error of the whole request.

    Raises:
        NotConnected: only a new session helps.
    """
    status, name = int(error.code), ua.StatusCode(error.code).name
    if status in _GONE:
        raise NotConnected(f"the server ended the session while history was read: {name}")
    if status == _CODES.BadServiceUnsupported:
        for each in batch:
            each.fail(f"the server has no history ({name})")
    elif len(batch) > 1:
        paging.nodes = len(batch) // 2  # too many, or one of them is at fault
    else:
        _failed(batch[0], status, paging)


async def _release(send: Send, readings: Sequence[Reading]) -> None:
    """Let the server forget the continuation points of readings that will not go on."""
    held = [(each.node, each.point) for each in readings if each.point]
    for each in readings:
        each.point = b""
    if held:
        whatever = Range(0, 0, 1)
        with suppress(OSError, TimeoutError, ua.UaError):  # the points end with the session anyway
            await send(request_of(held, whatever, release=True), timeout=RELEASE_S)
