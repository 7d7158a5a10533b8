"""The server of `plc`, with a history of its nodes as asyncua keeps it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from asyncua import ua
from asyncua.server.history import HistoryManager

from tests.bridge.drivers.opcua.awkward_history import AwkwardHistory
from tests.bridge.drivers.opcua.plc import NODES, Plc


class HistorianPlc(Plc):
    """A `Plc` that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self._history = _History(self._server.iserver)
        self._server.iserver.history_manager = self._history

    def remember(self, point: str, *values: tuple[datetime, Any, int]) -> None:
        """Adds values (source timestamp, value, status code) to the history of a node, which then has one."""
        self._do(self._remember(self._nodes[point], NODES[point][1], values))

    def say_at(self, point: str, content: Any, at: datetime) -> None:
        """Sets the current value of a node with its source time."""
        value = ua.DataValue(ua.Variant(content, NODES[point][1]), ua.StatusCode(0), at)
        self._do(self._server.write_attribute_value(self._nodes[point], value))

    def fail(self, point: str, code: int) -> None:
        """Lets each HistoryRead of a node fail with a status code; 0 for no failure."""
        self._history.failing[self._nodes[point]] = code

    async def _remember(
        self, node: ua.NodeId, kind: ua.VariantType, values: tuple[tuple[datetime, Any, int], ...]
    ) -> None:
        storage, readable = self._history.storage, self._server.get_node(node)
        if node not in self._history.failing:
            self._history.failing[node] = 0
            await storage.new_historized_node(node, None, 0)
            for attribute in (ua.AttributeIds.AccessLevel, ua.AttributeIds.UserAccessLevel):
                await readable.set_attr_bit(attribute, ua.AccessLevel.HistoryRead)
        for at, content, status in values:
            variant = None if content is None else ua.Variant(content, kind)
            await storage.save_node_value(node, ua.DataValue(variant, ua.StatusCode(status), at))


class _History(HistoryManager):  # type: ignore[misc]  # asyncua is not typed
    """asyncua's history in memory, in which nodes can fail."""

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.failing: dict[ua.NodeId, int] = {}

    async def _read_history(self, details: Any, rv: ua.HistoryReadValueId) -> ua.HistoryReadResult:
        if code := self.failing.get(rv.NodeId, 0):
            return ua.HistoryReadResult(StatusCode=ua.StatusCode(code))
        return await super()._read_history(details, rv)


class AwkwardPlc(Plc):
    """A `Plc` with an awkward history."""

    def __init__(self, history: AwkwardHistory) -> None:
        super().__init__()
        self._server.iserver.history_manager = _AwkwardManager(self._server.iserver, history)


class _AwkwardManager(HistoryManager):  # type: ignore[misc]  # asyncua is not typed
    def __init__(self, server: Any, history: AwkwardHistory) -> None:
        super().__init__(server)
        self._awkward = history

    async def read_history(self, params: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        return self._awkward.answer(params)
