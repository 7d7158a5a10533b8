"""Times of values: the clock that a tag names, and what is used where it is wrong; repeats of unchanged values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from bridge.drivers.opcua.clocks import AHEAD_US, BEHIND_US, FROZEN
from bridge.drivers.opcua.columns import columns_of_values
from bridge.drivers.opcua.driver import Timestamp
from bridge.drivers.opcua.heartbeats import Heartbeats
from bridge.drivers.opcua.values import Channel, RowMaker
from historian.quality import BAD_SENSOR_FAILURE
from historian.samples import SCHEMA
from historian.times import micros

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)


def value(
    content: Any, *, source: datetime | None = NOW, server: datetime | None = NOW + SECOND, status: int = 0
) -> ua.DataValue:
    """A value with its times."""
    return ua.DataValue(ua.Variant(content), ua.StatusCode(status), source, server)


def times(maker: RowMaker, values: list[ua.DataValue], *, received: datetime = NOW + 2 * SECOND) -> list[datetime]:
    """The times of values of the first tag that arrive together."""
    rows = maker.rows(columns_of_values([0] * len(values), values), np.full(len(values), micros(received)))
    assert rows.samples.height == len(values)
    return rows.samples["timestamp"].to_list()


@pytest.mark.parametrize(
    ("timestamp", "expected"), [("source", NOW), ("server", NOW + SECOND), ("received", NOW + 2 * SECOND)]
)
def test_a_tag_names_the_clock_that_stamps_it(timestamp: Timestamp, expected: datetime) -> None:
    """Whose it is, is known best by the engineer."""
    assert times(RowMaker([Channel("t", timestamp=timestamp)]), [value(1.0)]) == [expected]


@pytest.mark.parametrize(
    ("source", "server", "expected"),
    [
        (None, NOW + SECOND, NOW + SECOND),
        (None, None, NOW + 2 * SECOND),
        (datetime(1601, 1, 1, tzinfo=UTC), NOW + SECOND, NOW + SECOND),
        (datetime(1970, 1, 1, tzinfo=UTC), NOW + SECOND, NOW + SECOND),
        (datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 1, 1, tzinfo=UTC), NOW + 2 * SECOND),
        (datetime(9999, 12, 31, tzinfo=UTC), None, NOW + 2 * SECOND),
        (NOW + timedelta(hours=2), NOW + SECOND, NOW + timedelta(hours=2)),
        (NOW + 2 * SECOND + AHEAD_US * MICROSECOND, NOW, NOW + 2 * SECOND + AHEAD_US * MICROSECOND),
        (NOW + 3 * SECOND + AHEAD_US * MICROSECOND, NOW + SECOND, NOW + SECOND),
        (NOW + 2 * SECOND - BEHIND_US * MICROSECOND, NOW, NOW + 2 * SECOND - BEHIND_US * MICROSECOND),
    ],
)
def test_an_absurd_time_is_replaced_and_its_value_kept(
    source: datetime | None, server: datetime | None, expected: datetime
) -> None:
    """A clock that is two hours ahead is wrong, but in order; one of the year 2000 or 9999 is not."""
    maker = RowMaker([Channel("t")])
    assert times(maker, [value(1.0, source=source, server=server)]) == [expected]
    given = source is not None and source.year > 1601
    assert maker.clocks.absurd().tolist() == ([0] if given and expected != source else [])


def test_the_values_of_a_clock_that_stands_still_do_not_overwrite_one_another() -> None:
    """The server's time is used, or a microsecond more than the value before; within a read and across reads."""
    maker, frozen = RowMaker([Channel("t"), Channel("u")]), NOW - 60 * SECOND
    first = times(maker, [value(n, source=frozen, server=NOW + n * SECOND) for n in (0.0, 1.0, 1.0, 2.0)])
    assert first == [frozen, NOW + SECOND, frozen, NOW + 2 * SECOND]  # an exact repeat stays one
    assert maker.clocks.frozen().tolist() == []
    later = times(maker, [value(n, source=frozen, server=None) for n in (3.0, 4.0)], received=NOW)
    assert later == [NOW + 2 * SECOND + MICROSECOND, NOW + 2 * SECOND + 2 * MICROSECOND]
    assert maker.clocks.frozen().tolist() == [0]
    assert times(maker, [value(5.0, source=NOW)]) == [NOW]
    assert maker.clocks.frozen().tolist() == []


def test_a_status_that_changes_does_not_overwrite_the_value_before_it() -> None:
    """Servers keep the source's time then; two such changes are no fault of a clock."""
    maker = RowMaker([Channel("t")])
    assert times(maker, [value(1.0), value(1.0, status=BAD_SENSOR_FAILURE)]) == [NOW, NOW + SECOND]
    assert FROZEN > 1
    assert maker.clocks.frozen().tolist() == []


def test_changes_that_arrive_together_have_times_of_their_own() -> None:
    """If the time of arrival stamps them; other tags are not affected, and texts count as well."""
    maker = RowMaker([Channel("t", timestamp="received"), Channel("u")])
    at = NOW + 2 * SECOND
    found = times(maker, [value("a"), value("b"), value("b"), value("c")])
    assert found == [at, at + MICROSECOND, at, at + 2 * MICROSECOND]
    assert maker.clocks.frozen().tolist() == []


def beats(every_s: float = 10, tags: str = "ab") -> Heartbeats:
    """Repeats of some tags, and a margin of half a second."""
    found = Heartbeats(list(tags), [int(every_s * 1e6)] * len(tags))
    found.margin_us = 500_000
    return found


def follow(heartbeats: Heartbeats, *rows: tuple[int, datetime, float | None, str | None, int], at: datetime) -> None:
    """Samples of (number of the tag, time, value, text, quality) arrive."""
    frame = pl.DataFrame([("ab"[row[0]], *row[1:]) for row in rows], schema=SCHEMA, orient="row")
    heartbeats.follow(np.array([row[0] for row in rows]), frame, np.full(len(rows), micros(at)))


def test_an_unchanged_value_is_repeated_while_the_server_answers() -> None:
    """On the clock of its tag, and not before the interval has passed; a number, a text, with its quality."""
    heartbeats = beats()
    follow(heartbeats, (0, NOW - SECOND, 1.0, None, 0), (1, NOW - SECOND, None, "on", 0), at=NOW)
    follow(heartbeats, (0, NOW, 2.0, None, 0x408F0000), at=NOW + 3 * SECOND)  # its clock is 3 s behind
    assert heartbeats.due(micros(NOW + 9 * SECOND)).is_empty()
    half = timedelta(milliseconds=500)
    repeat = NOW + 10 * SECOND - half
    assert heartbeats.due(micros(NOW + 10 * SECOND)).rows() == [("b", repeat, None, "on", 0)]
    assert heartbeats.due(micros(NOW + 13 * SECOND)).rows() == [("a", repeat, 2.0, None, 0x408F0000)]
    assert heartbeats.due(micros(NOW + 13 * SECOND)).is_empty()


def test_a_bad_value_is_not_repeated_nor_one_that_is_unknown() -> None:
    """Nor any, if the interval is zero."""
    heartbeats = beats()
    follow(heartbeats, (0, NOW, None, None, BAD_SENSOR_FAILURE), at=NOW)
    assert heartbeats.due(micros(NOW + 60 * SECOND)).is_empty()
    never = beats(0)
    follow(never, (0, NOW, 1.0, None, 0), at=NOW)
    assert (never.is_active, never.due(micros(NOW + 60 * SECOND)).height) == (False, 0)


def test_a_repeat_is_never_older_than_the_value() -> None:
    """The device's clock may be ahead; what is known of the server's clock counts until the tag's own is known."""
    heartbeats = beats()
    heartbeats.clock_lag_us = 3_600_000_000
    follow(heartbeats, (0, NOW, 1.0, None, 0), at=NOW)
    assert heartbeats.due(micros(NOW + 60 * SECOND)).is_empty()
    heartbeats.clock_lag_us = 2_000_000
    [(_, stamp, *_)] = heartbeats.due(micros(NOW + 60 * SECOND)).rows()
    assert stamp == NOW + 57.5 * SECOND


changes_of_tags = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 2)), max_size=12)


@given(st.tuples(changes_of_tags, changes_of_tags))
def test_times_are_those_of_a_loop_over_the_values(batches: Sequence[list[tuple[int, int, int]]]) -> None:
    """A value keeps its time, unless it differs from the one before and its time does not; across two reads."""
    maker, at = RowMaker([Channel("a"), Channel("b")]), micros(NOW)
    last: dict[int, tuple[int, int]] = {}
    used = dict.fromkeys((0, 1), 0)
    for batch in filter(None, batches):
        expected = []
        for tag, step, content in batch:
            time = at + step
            if tag in last and last[tag][0] == time and last[tag][1] != content:
                used[tag] = max(time + 1, used[tag] + 1, at + 2)
                expected.append(used[tag])
            else:
                expected.append(time)
            last[tag] = time, content
        values = [value(float(content), source=NOW + step * MICROSECOND, server=None) for _, step, content in batch]
        columns = columns_of_values([tag for tag, *_ in batch], values)
        found = maker.rows(columns, np.full(len(batch), at + 2)).samples["timestamp"]
        assert found.to_physical().to_list() == expected
