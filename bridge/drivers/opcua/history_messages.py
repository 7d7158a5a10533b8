"""HistoryRead of raw values as bytes: its request, and where the values of each node begin in the response. Pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary

from bridge.drivers.opcua.columns import Columns, data_values
from historian.times import from_micros

_VALUES: Final = tuple(
    ua.NodeId(number)
    for number in (
        ua.ObjectIds.HistoryData_Encoding_DefaultBinary,
        ua.ObjectIds.HistoryModifiedData_Encoding_DefaultBinary,
    )
)


class Range(NamedTuple):
    """What one request asks of all its nodes: the `ReadRawModifiedDetails` of OPC UA Part 11, 6.5.3."""

    start: int | None
    """Microseconds since the epoch; the first time in the direction of reading. None for the one that `end` ends."""
    end: int | None
    """The last one; before `start`, values are returned newest first."""
    most: int
    """Most values of a node in one response."""
    timestamps: ua.TimestampsToReturn = ua.TimestampsToReturn.Source


class Result(NamedTuple):
    """The result of one node."""

    status: int
    point: bytes
    """Continuation point; empty if there is none."""
    body: bytes
    start: int
    """Where the array of values begins; `end` if there is none."""
    end: int

    def columns(self) -> Columns:
        """Decode the values. Raises whatever asyncua raises if they cannot be decoded."""
        return data_values(self.body, self.start, self.end) if self.start < self.end else Columns.empty(0)


def request_of(
    nodes: Sequence[tuple[ua.NodeId, bytes]], wanted: Range, *, release: bool = False
) -> ua.HistoryReadRequest:
    """Return the request for raw values of nodes.

    Args:
        nodes: each node with its continuation point, which is empty for the first request.
        wanted: the range, and how many values; the same in each request that continues one.
        release: whether the server shall forget the continuation points instead.
    """
    details = ua.ReadRawModifiedDetails(
        IsReadModified=False,
        StartTime=_time(wanted.start),
        EndTime=_time(wanted.end),
        NumValuesPerNode=wanted.most,
        ReturnBounds=False,
    )
    values = [ua.HistoryReadValueId(NodeId=node, ContinuationPoint=point or None) for node, point in nodes]
    return ua.HistoryReadRequest(
        Parameters=ua.HistoryReadParameters(
            HistoryReadDetails=details,
            TimestampsToReturn=wanted.timestamps,
            ReleaseContinuationPoints=release,
            NodesToRead=values,
        )
    )


def results_of(response: Buffer) -> list[Result]:
    """Return the result of each node of a response, its values still encoded.

    Raises:
        ua.UaStatusCodeError: the server answered with an error.
        struct.error, IndexError, ValueError, ua.UaError: it is not a response to HistoryRead.
    """
    nodeid_from_binary(response)
    struct_from_binary(ua.ResponseHeader, response).ServiceResult.check()
    body = bytes(response.read(len(response)))
    (count,) = struct.unpack_from("<i", body)
    at, found = 4, list[Result]()
    for _ in range(count):
        result, at = _result(body, at)
        found.append(result)
    return found


def _result(body: bytes, at: int) -> tuple[Result, int]:
    """Return the result that begins at a byte, and where the next one does."""
    status, length = struct.unpack_from("<Ii", body, at)
    at += 8
    point = body[at : at + max(length, 0)]
    buffer = Buffer(body, at + len(point))
    kind = nodeid_from_binary(buffer)
    (encoding,) = buffer.read(1)
    start = end = buffer.cur_pos
    if encoding:
        (size,) = struct.unpack_from("<i", body, start)
        start, end = start + 4, start + 4 + max(size, 0)
        if encoding != 1 or end > len(body):
            raise ValueError(f"history of {size} bytes in encoding {encoding}; {len(body) - start} bytes are left")
        if kind not in _VALUES:
            start = end  # such as an empty one, next to an error
    return Result(status, point, body, start, end), end


def _time(at: int | None) -> ua.DateTime:
    return ua.get_win_epoch() if at is None else from_micros(at)
