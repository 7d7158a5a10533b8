"""What is requested of a server for each tag, and what is made of its answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from asyncua import ua

from bridge.drivers.opcua.driver import Options
from bridge.drivers.opcua.items import ARRAYS, CHANGES, Items, item_request, queue_size
from bridge.drivers.opcua.values import Channel
from historian.quality import BAD_NODE_ID_UNKNOWN

PROCESS, WAVE = Channel("t"), Channel("v", 25_600.0)


def options(**given: Any) -> Options:
    """Options of a source."""
    return Options(endpoint="opc.tcp://plc:4840", **given)


@pytest.mark.parametrize(
    ("given", "channel", "expected"),
    [
        ({}, PROCESS, CHANGES),
        ({}, WAVE, ARRAYS),
        ({"sampling_interval": "100ms"}, PROCESS, 600),
        ({"sampling_interval": "1s"}, PROCESS, 60),
        ({"sampling_interval": "7s"}, PROCESS, 9),
        ({"sampling_interval": "1ms"}, PROCESS, CHANGES),
        ({"queue_size": 5}, PROCESS, 5),
        ({"queue_size": 5}, WAVE, 5),
    ],
)
def test_a_queue_holds_a_minute(given: dict[str, Any], channel: Channel, expected: int) -> None:
    """That is as long as a server keeps a subscription that nobody asks for; what is configured goes first."""
    assert queue_size(options(**given), channel) == expected


def test_every_change_is_requested_unless_an_interval_is_configured() -> None:
    """With 100 ms, half of the values of a tag that changes at 20 Hz are never seen."""
    request = item_request(3, ua.NodeId("t", 2), PROCESS, options())
    assert (request.RequestedParameters.SamplingInterval, request.RequestedParameters.ClientHandle) == (0, 3)
    slower = item_request(3, ua.NodeId("t", 2), PROCESS, options(sampling_interval=timedelta(seconds=1)))
    assert slower.RequestedParameters.SamplingInterval == 1000


def result(sampling: float, queue: int, status: int = 0) -> ua.MonitoredItemCreateResult:
    """What a server answers."""
    return ua.MonitoredItemCreateResult(ua.StatusCode(status), 1, sampling, queue)


def test_what_the_server_grants_decides() -> None:
    """Whether a tag is complete, and whether its queue overflows between two publishes."""
    channels = [*map(Channel, "abcd"), Channel("e", deadband=0.5)]
    results = [result(0, 10), result(100, 2), result(100, 3), result(0, 0, BAD_NODE_ID_UNKNOWN), result(0, 10)]
    items = Items(channels, [ua.NodeId(1, 2)] * 5, results, publishing_ms=250)
    assert items.unsampled() == ["a"]  # a deadband hides changes
    assert items.too_short() == ["b"]
    assert (items.refused(), items.reasons()) == ([3], {"BadNodeIdUnknown": ["d"]})
    expected = {"publishing_ms": 250, "sampling_ms": 0, "slowest_sampling_ms": 100, "queue": 2}
    assert items.revised() == expected


def test_a_server_that_grants_nothing_has_no_range() -> None:
    """All items may be refused."""
    items = Items([PROCESS], [ua.NodeId(1, 2)], [result(0, 0, BAD_NODE_ID_UNKNOWN)], publishing_ms=250)
    assert items.revised()["queue"] == 0
