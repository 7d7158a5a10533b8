"""History of a server as awkward as servers are: what it answers to HistoryRead, with or without a socket before it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, struct_to_binary

Value = tuple[datetime, float | str | None, int]
"""Source timestamp, value and status code."""


@dataclass
class AwkwardHistory:
    """Values of nodes, in the order of their times, and how the server divides its answers."""

    values: Mapping[str, Sequence[Value]]
    """Node id -> its values."""
    limit: int = 0
    """Most values of a node in a response, whatever is requested; 0 for no limit."""
    gives_points: bool = True
    """Whether a continuation point follows what `limit` has cut."""
    cuts_at_request: bool = False
    """Whether none follows what the requested number has cut, as with asyncua's server."""
    points: int = 1_000
    """Most continuation points at a time; a further one replaces the oldest, or is refused."""
    refuses_points: bool = False
    empty_every: int = 0
    """Each so many pages with a point are empty."""
    loses_every: int = 0
    """Each so many continuation points are forgotten."""
    same_point: bool = False
    """Whether a node always has the same continuation point."""
    repeats_page: bool = False
    """Whether a continuation point returns the page that it was returned with."""
    times: str = "source"
    """Which timestamps it has: source, server, or server and an error for requests of others (refusing)."""
    nodes: int = 1_000
    """Most nodes in a request."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Node id -> status code."""
    fault: int = 0
    """Status code of each response to more than one node."""
    requests: list[int] = field(default_factory=list)
    """Number of nodes in each request that was answered."""
    released: int = 0
    held: dict[bytes, tuple[str, int]] = field(default_factory=dict)
    """Continuation point -> node and number of values returned before it."""
    _count: Any = field(default_factory=lambda: itertools.count(1))
    _pages: int = 0

    async def send(self, request: ua.HistoryReadRequest, timeout: float | None = None) -> Buffer:
        """Answers a request, encoded and decoded as on its way over a wire."""
        assert timeout
        buffer = Buffer(bytes(struct_to_binary(request)))
        nodeid_from_binary(buffer)
        struct_from_binary(ua.RequestHeader, buffer)
        response = ua.HistoryReadResponse(Results=self.answer(struct_from_binary(ua.HistoryReadParameters, buffer)))
        return Buffer(bytes(struct_to_binary(response)))

    def answer(self, given: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        """Returns the results, or raises the error of the whole request."""
        if given.ReleaseContinuationPoints:
            self.released += sum(self.held.pop(each.ContinuationPoint, None) is not None for each in given.NodesToRead)
            return [ua.HistoryReadResult() for _ in given.NodesToRead]
        if len(given.NodesToRead) > self.nodes:
            raise ua.uaerrors.BadTooManyOperations
        if self.fault and len(given.NodesToRead) > 1:
            raise ua.UaStatusCodeError(self.fault)
        self.requests.append(len(given.NodesToRead))
        return [self._result(each, given) for each in given.NodesToRead]

    def _result(self, given: ua.HistoryReadValueId, parameters: ua.HistoryReadParameters) -> ua.HistoryReadResult:
        node, details = given.NodeId.to_string(), parameters.HistoryReadDetails
        if node not in self.values:
            return _failed(ua.StatusCodes.BadNodeIdUnknown)
        if node in self.errors:
            return _failed(self.errors[node])
        if self.times == "refusing" and parameters.TimestampsToReturn is not ua.TimestampsToReturn.Server:
            return _failed(ua.StatusCodes.BadTimestampNotSupported)
        first = 0
        if given.ContinuationPoint:
            if given.ContinuationPoint not in self.held:
                return _failed(ua.StatusCodes.BadContinuationPointInvalid)
            first = self.held.pop(given.ContinuationPoint)[1]
        found = _within(self.values[node], details)
        most = min([each for each in (details.NumValuesPerNode, self.limit) if each] or [len(found)])
        self._pages += 1
        if self.empty_every and self._pages % self.empty_every == 0:
            most = 0
        page = found[first : first + most]
        after = first if self.repeats_page else first + most
        result = ua.HistoryReadResult(HistoryData=ua.HistoryData([self._value(each) for each in page]))
        at_request = self.cuts_at_request and most == details.NumValuesPerNode
        is_pointed = first + most < len(found) and self.gives_points and not at_request
        if is_pointed and not self._keep(node, after, result):
            return _failed(ua.StatusCodes.BadNoContinuationPoints)
        return result

    def _keep(self, node: str, after: int, result: ua.HistoryReadResult) -> bool:
        number = next(self._count)
        point = node.encode() if self.same_point else number.to_bytes(4, "big")
        result.ContinuationPoint = point
        if self.loses_every and number % self.loses_every == 0:
            return True
        if len(self.held) >= self.points:
            if self.refuses_points:
                return False
            self.held.pop(next(iter(self.held)))
        self.held[point] = (node, after)
        return True

    def _value(self, value: Value) -> ua.DataValue:
        at, content, status = value
        variant = None if content is None else ua.Variant(content)
        stamps = (at, None) if self.times == "source" else (None, at)
        return ua.DataValue(variant, ua.StatusCode(status), *stamps)


def _within(values: Sequence[Value], details: ua.ReadRawModifiedDetails) -> list[Value]:
    """Values of a range, in the direction of reading; both ends are included, as most servers have it."""
    start, end = (None if each.year == 1601 else each for each in (details.StartTime, details.EndTime))
    assert not details.ReturnBounds
    assert (start is not None) + (end is not None) + (details.NumValuesPerNode > 0) >= 2
    if start is None or (end is not None and end < start):
        found = [each for each in reversed(values) if (end is None or start is None or end <= each[0])]
        return [each for each in found if each[0] <= (start or end or each[0])]
    return [each for each in values if start <= each[0] and (end is None or each[0] <= end)]


def _failed(code: int) -> ua.HistoryReadResult:
    return ua.HistoryReadResult(StatusCode=ua.StatusCode(code))
