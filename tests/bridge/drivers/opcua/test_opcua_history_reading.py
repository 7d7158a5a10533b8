"""The HistoryRead loop against servers of every awkwardness, over the wire's encoding but without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.drivers.opcua.columns import Columns
from bridge.drivers.opcua.history import read_history
from bridge.drivers.opcua.history_reading import Paging, Reading
from historian.times import micros
from tests.bridge.drivers.opcua.awkward_history import AwkwardHistory, Value

EXAMPLES = 4
"""Of each awkwardness; raise it when the loop is changed."""
T0 = datetime(2026, 3, 1, tzinfo=UTC)


def values_at(*seconds: float) -> list[Value]:
    """A value at each of these seconds; its number is its place."""
    return [(T0 + timedelta(seconds=second), float(place), 0) for place, second in enumerate(seconds)]


def read(
    history: AwkwardHistory, *, start: float = 0, end: float = 1_000, most: int = 4, nodes: int = 2, **how: bool
) -> tuple[dict[str, list[Value]], list[Reading]]:
    """Reads all nodes; returns their values in the order in which they came."""
    paging = Paging(nodes, most)
    span = (micros(T0 + timedelta(seconds=start)), micros(T0 + timedelta(seconds=end)))
    names = list(history.values)
    readings = [Reading(n, ua.NodeId.from_string(name), span, paging, **how) for n, name in enumerate(names)]
    found: dict[str, list[Value]] = {name: [] for name in names}

    async def collect() -> None:
        async for columns in read_history(history.send, readings, paging):
            for place, number in enumerate(columns.handle.tolist()):
                content: Any = float(columns.number[place]) if columns.is_number[place] else columns.text.get(place)
                at = T0 + timedelta(microseconds=int(columns.time[place]) - micros(T0))
                found[names[number]].append((at, content, int(columns.status[place])))

    asyncio.run(collect())
    return found, readings


def failures(readings: Sequence[Reading]) -> list[str]:
    """Why each node could not be read."""
    return [each.failure for each in readings]


AWKWARD: dict[str, dict[str, Any]] = {
    "as it should be": {},
    "a limit of its own, with points": {"limit": 3},
    "a limit of its own, without points": {"limit": 3, "gives_points": False},
    "one value at a time, without points": {"limit": 1, "gives_points": False},
    "the requested number, without a point": {"gives_points": False},
    "points for its own limit alone": {"limit": 3, "cuts_at_request": True},
    "empty pages between": {"limit": 2, "empty_every": 2},
    "points that are lost": {"loses_every": 3},
    "every point is lost": {"loses_every": 1},
    "one point, the oldest is evicted": {"points": 1},
    "one point, others are refused": {"points": 1, "refuses_points": True},
    "the same point each time": {"same_point": True},
    "two nodes a request": {"nodes": 2},
    "an error for more than one node": {"fault": ua.StatusCodes.BadInternalError},
    "the server's timestamps": {"times": "server"},
    "the server's timestamps only, others refused": {"times": "refusing"},
}


@pytest.mark.parametrize("how", AWKWARD.values(), ids=AWKWARD.keys())
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_every_value_of_the_range_is_read_once(how: dict[str, Any], data: st.DataObject) -> None:
    """However a server pages, and whatever values have the same time; in both directions."""
    crowded = not how.get("limit")  # a limit below the number of values of one time loses some, in any client
    times = st.lists(st.integers(-2, 14), max_size=15, unique=not crowded)
    values = {f"ns=1;s={name}": values_at(*sorted(data.draw(times, label=name))) for name in "abc"}
    newest_first = data.draw(st.booleans(), label="newest first")
    found, readings = read(AwkwardHistory(values, **how), end=12, newest_first=newest_first)
    end = T0 + timedelta(seconds=12)
    assert failures(readings) == [""] * 3
    for name, given_values in values.items():
        inside = [each for each in given_values if T0 <= each[0] < end]
        assert found[name] == (inside[::-1] if newest_first else inside)


def test_values_of_one_time_may_be_on_both_sides_of_a_page() -> None:
    """None is lost and none is doubled, whether or not a point says where to go on."""
    values = {"ns=1;s=a": values_at(0, 1, 2, 2, 2, 2, 3)}
    for gives_points in (True, False):
        found, _ = read(AwkwardHistory(values, gives_points=gives_points), most=4)
        assert found == {"ns=1;s=a": values["ns=1;s=a"]}


def test_more_values_of_one_time_than_a_page_holds_are_read() -> None:
    """More of them are requested until the next time is among them."""
    values = {"ns=1;s=a": values_at(0, *[1] * 30, 2)}
    found, readings = read(AwkwardHistory(values, gives_points=False), most=4)
    assert (found["ns=1;s=a"], failures(readings)) == (values["ns=1;s=a"], [""])


def test_values_that_a_server_cannot_return_are_a_failure() -> None:
    """Five values of one time and a limit of three: two of them are out of anybody's reach, and this is said."""
    values = {"ns=1;s=a": values_at(0, 1, 1, 1, 1, 1, 2)}
    found, readings = read(AwkwardHistory(values, limit=3, gives_points=False), most=10)
    assert [each[0] for each in found["ns=1;s=a"]] == [T0 + timedelta(seconds=second) for second in (0, 1, 1, 1, 2)]
    assert failures(readings) == [
        "the server returns no more than 3 values of one time; some of 2026-03-01T00:00:01Z are missing"
    ]


def test_a_server_that_repeats_a_page_is_read_by_time() -> None:
    """asyncua's client stops there without a word."""
    values = {"ns=1;s=a": values_at(*range(9))}
    found, readings = read(AwkwardHistory(values, repeats_page=True, same_point=True))
    assert (sorted(set(found["ns=1;s=a"])), failures(readings)) == (values["ns=1;s=a"], [""])


def test_times_out_of_order_neither_stop_nor_repeat_reading_for_ever() -> None:
    """Each value arrives; some may arrive twice, which the store does not mind."""
    values = {"ns=1;s=a": values_at(0, 1, 5, 2, 3, 4, 6, 7, 8)}
    for gives_points in (True, False):
        found, _ = read(AwkwardHistory(values, gives_points=gives_points))
        assert set(found["ns=1;s=a"]) == set(values["ns=1;s=a"])


def test_a_server_that_never_gets_on_fails_with_the_reason() -> None:
    """Empty pages without end do not keep a backfill for ever."""
    history = AwkwardHistory({"ns=1;s=a": values_at(0, 1)}, empty_every=1)
    found, readings = read(history)
    assert found == {"ns=1;s=a": []}
    assert "empty pages, again and again" in readings[0].failure


def test_a_node_that_fails_costs_no_other_one() -> None:
    """Its reason is the status code's name."""
    values = {f"ns=1;s={name}": values_at(0, 1) for name in "abc"}
    history = AwkwardHistory(values, errors={"ns=1;s=b": ua.StatusCodes.BadUserAccessDenied})
    found, readings = read(history)
    assert [len(each) for each in found.values()] == [2, 0, 2]
    assert failures(readings) == ["", "BadUserAccessDenied", ""]


def test_no_data_is_no_failure() -> None:
    """Some servers call an empty range an error."""
    history = AwkwardHistory({"ns=1;s=a": []}, errors={"ns=1;s=a": ua.StatusCodes.BadNoData})
    assert failures(read(history)[1]) == [""]


def test_nodes_are_read_together_and_to_their_end() -> None:
    """Three nodes a request, as many as are allowed; a server holds no more than three points at a time."""
    values = {f"ns=1;s={name}": values_at(*range(8)) for name in "abcdef"}
    history = AwkwardHistory(values, limit=4, points=3)
    read(history, most=10, nodes=3)
    assert history.requests == [3, 3, 3, 3]


def test_only_a_page_that_may_have_been_cut_is_confirmed() -> None:
    """A page shorter than another one was not cut at the server's limit, and needs no second request."""
    values = {"ns=1;s=a": values_at(*range(3)), "ns=1;s=b": values_at(1, 2), "ns=1;s=c": values_at(1)}
    history = AwkwardHistory(values)
    read(history, most=10, nodes=1)
    assert history.requests == [1, 1, 1, 1]


def test_continuation_points_are_released_when_reading_ends_early() -> None:
    """A server has few of them."""
    values = {"ns=1;s=a": values_at(*range(9)), "ns=1;s=b": values_at(*range(9))}
    history = AwkwardHistory(values, points=1, refuses_points=True)
    found, readings = read(history, nodes=1, only_one=True, newest_first=True)
    assert failures(readings) == ["", ""]
    assert found == {name: [values[-1]] for name, values in history.values.items()}
    assert (history.released, history.held) == (2, {})


def test_values_without_any_time_are_counted() -> None:
    """They cannot be samples; the server's times are requested once before."""
    reading = Reading(0, ua.NodeId.from_string("ns=1;s=a"), (0, 1), Paging(1, 10))
    taken = [len(reading.take(b"", Columns.empty(2)).time) for _ in range(2)]
    assert (taken, reading.untimed) == ([0, 0], 2)
    assert reading.wanted.timestamps is ua.TimestampsToReturn.Server
