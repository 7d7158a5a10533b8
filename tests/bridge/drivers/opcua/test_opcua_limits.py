"""Items within what servers can bear: profiles of vendors, requests in parts, filters that a server does not know."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from asyncua import ua

from bridge.drivers.opcua.driver import Options
from bridge.drivers.opcua.items import Creation, item_request
from bridge.drivers.opcua.profiles import GENERIC, profile_of
from bridge.drivers.opcua.values import Channel

NODE = ua.NodeId("t", 2)
OPTIONS = Options(endpoint="opc.tcp://plc:4840")


@pytest.mark.parametrize(
    ("manufacturer", "product", "uri", "name", "items", "filters"),
    [
        ("Siemens AG", "SIMATIC.S7-1200.OPC-UA.Application", "", "Siemens S7-1200", 100, False),
        ("Siemens AG", "CPU 1215C", "https://www.siemens.com/s7-1200", "Siemens S7-1200", 100, False),
        ("Siemens AG", "SIMATIC.S7-1500.OPC-UA.Application:PLC_1", "", "Siemens S7-1500", 500, True),
        ("PTC", "KEPServerEX/UA", "", "Kepware", 1_000, True),
        ("Kepware", "ThingWorx Kepware Server", "", "Kepware", 1_000, True),
        ("Inductive Automation", "Ignition OPC UA Server", "", "Ignition", 100, True),
        ("Prosys OPC Ltd", "Prosys OPC UA Simulation Server", "", "Prosys", 800, True),
        (
            "NodeOPCUA : MIT Licence ( see http://node-opcua.github.io/)",
            "NodeOPCUA-Server",
            "",
            "node-opcua",
            1_000,
            True,
        ),
        ("FreeOpcUa", "FreeOpcUa Python Server", "", "generic", 1_000, True),
        ("None", "None", "None", "generic", 1_000, True),
    ],
)
def test_a_server_is_known_by_what_it_says_of_itself(
    manufacturer: str, product: str, uri: str, name: str, items: int, *, filters: bool
) -> None:
    """Its build information decides how much is put into one request."""
    found = profile_of(manufacturer, product, uri)
    assert (found.name, found.items_per_call, found.has_filters) == (name, items, filters)


@dataclass
class Server:
    """A session with a server that takes some items in a request, knows some nodes, and may know no filters."""

    most: int = 1_000
    room: int = 1_000
    filters: bool = True
    requests: list[int] = field(default_factory=list)
    unfiltered: list[int] = field(default_factory=list)

    async def create_monitored_items(
        self, parameters: ua.CreateMonitoredItemsParameters
    ) -> list[ua.MonitoredItemCreateResult]:
        """See `UaSession.create_monitored_items`."""
        wanted = parameters.ItemsToCreate
        if len(wanted) > self.most:
            raise ua.uaerrors.BadTooManyOperations
        self.requests.append(len(wanted))
        return [ua.MonitoredItemCreateResult(ua.StatusCode(self._status(each))) for each in wanted]

    def _status(self, item: ua.MonitoredItemCreateRequest) -> int:
        filtered = isinstance(item.RequestedParameters.Filter, ua.DataChangeFilter)
        if filtered and not self.filters:
            return int(ua.StatusCodes.BadMonitoredItemFilterUnsupported)
        if not filtered:
            self.unfiltered.append(item.RequestedParameters.ClientHandle)
        self.room -= 1
        return 0 if self.room >= 0 else int(ua.StatusCodes.BadTooManyMonitoredItems)


def created(
    server: Any, channels: Sequence[Channel], *, size: int = 1_000, filtered: bool = True
) -> tuple[list[str], list[str]]:
    """Statuses of items that are created, and tags without a filter."""
    creation = Creation(server, 1, OPTIONS, size, filtered)
    results, without = asyncio.run(creation.create(range(len(channels)), [NODE] * len(channels), channels))
    return [each.StatusCode.name for each in results], without


def test_a_request_that_is_too_large_is_divided() -> None:
    """Whatever limits the server says it has, or does not say."""
    server = Server(most=30)
    assert created(server, [Channel("t")] * 250, size=100) == (["Good"] * 250, [])
    assert server.requests == [25] * 10


def test_items_beyond_a_servers_room_are_refused_and_stop_no_others() -> None:
    """Those before them stream."""
    statuses, _ = created(Server(room=3), [Channel("t")] * 5, size=2)
    assert statuses == ["Good"] * 3 + ["BadTooManyMonitoredItems"] * 2


def test_a_server_without_filters_reports_every_change() -> None:
    """The tags are named, because more arrives than was configured; a waveform needs its filter only to be complete."""
    channels = [Channel("a"), Channel("b", deadband=0.5), Channel("v", 1000.0), Channel("c")]
    server = Server(filters=False)
    assert created(server, channels) == (["Good"] * 4, ["b", "v"])
    assert sorted(server.unfiltered) == [0, 1, 2, 3]
    known = Server(filters=False)  # by its profile, so that nothing is requested twice
    assert created(known, channels, filtered=False) == (["Good"] * 4, ["b"])
    assert known.requests == [4]


def test_a_deadband_is_the_servers_work() -> None:
    """Absolute, or in percent of the node's range."""
    absolute = item_request(0, NODE, Channel("t", deadband=0.5), OPTIONS).RequestedParameters.Filter
    percent = item_request(0, NODE, Channel("t", deadband=2, is_percent=True), OPTIONS).RequestedParameters.Filter
    assert (absolute.DeadbandType, absolute.DeadbandValue) == (ua.DeadbandType.Absolute, 0.5)
    assert (percent.DeadbandType, percent.DeadbandValue) == (ua.DeadbandType.Percent, 2)
    assert not isinstance(item_request(0, NODE, Channel("t"), OPTIONS).RequestedParameters.Filter, ua.DataChangeFilter)


def test_only_a_part_of_an_array_is_requested() -> None:
    """As OPC UA writes it."""
    request = item_request(0, NODE, Channel("t", index_range="2:5"), OPTIONS)
    assert request.ItemToMonitor.IndexRange == "2:5"


def test_the_generic_profile_has_no_limits_of_its_own() -> None:
    """The server's own count."""
    assert (GENERIC.fastest_publishing_ms, GENERIC.has_filters) == (0, True)
