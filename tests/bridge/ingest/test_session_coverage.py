"""A live session covers only what was read, whatever the timestamps say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.drivers.raw_rows import RawRows
from bridge.ingest.session_coverage import TOLERANCE, Marks, SessionCoverage
from historian.intervals import INTERVALS
from historian.samples import SCHEMA
from historian.waveforms.encoding import HEADS, encode

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
OVERFLOW = 0x480
Covered = list[tuple[str, Any, Any]]


def at(second: float) -> datetime:
    """An instant in seconds after the start of the session."""
    return T0 + timedelta(seconds=second)


def rows(*given: tuple[str, float] | tuple[str, float, int]) -> pl.DataFrame:
    """Raw rows of (tag, second, quality)."""
    filled = [(row[0], at(row[1]), 1.0, None, row[2] if len(row) == 3 else 0) for row in given]
    return pl.DataFrame(filled, schema=SCHEMA, orient="row")


def arrays(*given: tuple[float, int] | tuple[float, int, int]) -> RawRows:
    """Stretches of tag a at 1 kHz: (second, samples, quality)."""
    found = []
    for second, count, *quality in given:
        row = {"tag": ["a"], "timestamp": [at(second)], "sample_rate": [1000.0], "count": [count]}
        heads = pl.DataFrame({**row, "quality": quality or [0]}, schema=HEADS)
        found.append(encode(heads, np.arange(count)))
    return RawRows(waveforms=pl.concat(found))


def covered(*steps: tuple[float, pl.DataFrame | RawRows], tags: tuple[str, ...] = ("a", "b")) -> Covered:
    """The coverage (tag, from, to) in seconds of a session that reads each frame at its second."""
    session = SessionCoverage(tags, began=T0)
    found = [
        session.extend(read if isinstance(read, RawRows) else RawRows(read), now=at(second)) for second, read in steps
    ]
    seconds = [(tag, start - T0, end - T0) for tag, start, end in pl.concat(found).rows()]
    return [(tag, start.total_seconds(), end.total_seconds() - 1e-6) for tag, start, end in seconds]


def test_every_change_covers_the_time_since_the_one_before() -> None:
    """Coverage runs from the session's start to the last sample, even for a tag that changes once an hour."""
    assert covered((1, rows(("a", 1))), (3600, rows(("a", 3600), ("b", 3599)))) == [
        ("a", 0, pytest.approx(1)),
        ("a", 1, pytest.approx(3600)),
        ("b", 0, pytest.approx(3599)),
    ]


def test_a_polled_source_covers_nothing() -> None:
    """Changes between two polls are unknown."""
    assert covered((1, rows(("a", 1))), (2, rows(("a", 2))), tags=()) == []


def test_other_tags_than_those_reported_in_full_cover_nothing() -> None:
    """Coverage is decided per tag."""
    assert covered((1, rows(("a", 1), ("b", 1))), tags=("b",)) == [("b", 0, pytest.approx(1))]


@pytest.mark.parametrize("before", [-60.0, -86_400.0 * 365 * 26, -86_400.0 * 365 * 56])
def test_a_first_report_of_an_old_value_covers_nothing_before_the_session(before: float) -> None:
    """An unchanged node has its old timestamp; the next change is covered from the session's start."""
    assert covered((0.5, rows(("a", before))), (30, rows(("a", 30)))) == [("a", 0, pytest.approx(30))]


@pytest.mark.parametrize("wrong", [-86_400.0 * 365 * 26, -3600.0, -1.0])
def test_a_clock_that_jumps_covers_nothing_across_the_jump(wrong: float) -> None:
    """While the clock was wrong, changes had timestamps in the past: coverage starts at the second good sample."""
    steps = [(10, rows(("a", 10))), (20, rows(("a", wrong))), (30, rows(("a", 30))), (40, rows(("a", 40)))]
    assert covered(*steps) == [("a", 0, pytest.approx(10)), ("a", 30, pytest.approx(40))]


def test_a_jump_within_one_reading_is_seen_too() -> None:
    """Rows are checked in the order in which they arrived, whatever their timestamps."""
    steps = [(100, rows(("a", 90), ("a", -1e9), ("a", 99))), (110, rows(("a", 110)))]
    assert covered(*steps) == [("a", 0, pytest.approx(90)), ("a", 99, pytest.approx(110))]


def test_a_clock_set_forward_covers_nothing_across_the_step() -> None:
    """The skipped hour may be full of samples in an archive."""
    behind = [(60, rows(("a", 30))), (70, rows(("a", 40))), (80, rows(("a", 80))), (90, rows(("a", 90)))]
    assert covered(*behind) == [
        ("a", 0, pytest.approx(30)),
        ("a", 30, pytest.approx(40)),
        ("a", 80, pytest.approx(90)),
    ]


def test_a_device_whose_clock_is_ahead_covers_nothing_of_the_future() -> None:
    """Only the tolerance for queues and networks is allowed."""
    assert covered((10, rows(("a", 600))), (20, rows(("a", 610)))) == []


def test_a_device_whose_clock_is_behind_covers_on_its_own_clock() -> None:
    """Coverage starts once its timestamps are past the session's start."""
    steps = [(second, rows(("a", second - 15))) for second in (10, 20, 30)]
    assert covered(*steps) == [("a", 0, pytest.approx(5)), ("a", 5, pytest.approx(15))]


def test_nothing_before_a_loss_is_covered() -> None:
    """The Overflow bit says that the server's queue dropped samples before this one."""
    steps = [(5, rows(("a", 5))), (9, rows(("a", 7, OVERFLOW), ("a", 9)))]
    assert covered(*steps) == [("a", 0, pytest.approx(5)), ("a", 7, pytest.approx(9))]


def test_an_empty_reading_covers_nothing() -> None:
    """The session's coverage continues unchanged."""
    assert covered((5, rows()), (9, rows(("a", 9)))) == [("a", 0, pytest.approx(9))]


def test_a_stretch_covers_from_its_first_to_its_last_sample() -> None:
    """It also covers the time since the sample before it, like any other report of a change."""
    assert covered((1, arrays((0.5, 500))), (2, arrays((1, 500), (1.5, 400)))) == [
        ("a", 0, pytest.approx(0.999)),
        ("a", pytest.approx(0.999), pytest.approx(1.899)),
    ]


def test_a_long_stretch_covers_all_its_time() -> None:
    """What it holds needs no second report within the tolerance."""
    assert covered((5010, arrays((10, 5_000_000)))) == [("a", 0, pytest.approx(5009.999))]


def test_a_stretch_from_before_the_session_covers_from_its_beginning() -> None:
    """Its earlier samples may belong to another session."""
    assert covered((1, arrays((-1, 1500)))) == [("a", 0, pytest.approx(0.499))]


def test_a_stretch_after_a_loss_covers_itself_and_nothing_before_it() -> None:
    """Within an array nothing can have been lost."""
    assert covered((2, arrays((1, 100))), (4, arrays((3, 100, OVERFLOW)))) == [
        ("a", 0, pytest.approx(1.099)),
        ("a", 3, pytest.approx(3.099)),
    ]


def test_a_stretch_that_ends_in_the_future_covers_nothing() -> None:
    """Its clock is wrong."""
    assert covered((1, arrays((1, 10_000)))) == [("a", 0, pytest.approx(1))]


stamps = st.lists(
    st.tuples(st.floats(0, 20), st.floats(-1e4, 1e4) | st.none()).map(lambda pair: (round(pair[0], 3), pair[1])),
    max_size=12,
)


@settings(max_examples=40)
@given(stamps)
def test_no_interval_holds_an_instant_of_a_change_that_was_stamped_otherwise(
    steps: list[tuple[float, float | None]],
) -> None:
    """Each step waits, then reads one sample, stamped rightly (None) or wrongly by so much.

    A true instant of a wrongly stamped sample is in no covered interval, beyond what the tolerance allows.
    """
    session, second, found, hidden = SessionCoverage(("a",), began=T0), 0.0, [], []
    for number, (wait, wrong) in enumerate(steps):
        second += wait + 0.001
        if wrong is not None and abs(wrong) > TOLERANCE.total_seconds() and number:
            hidden.append(at(second))
        frame = rows(("a", second + (wrong or 0.0)))
        found += session.extend(RawRows(frame), now=at(second)).rows()
    slack = TOLERANCE
    assert not [
        (instant, start, end) for instant in hidden for _, start, end in found if start + slack < instant < end - slack
    ]


def interval(tag: str, start: float, end: float) -> pl.DataFrame:
    """One interval, in seconds after the start."""
    return pl.DataFrame([(tag, at(start), at(end))], schema=INTERVALS, orient="row")


def test_a_mark_joins_what_was_covered_since_the_last_one() -> None:
    """It relies on the first batch after that one, because a crash may have damaged any of them."""
    marks = Marks(T0)
    assert not marks.is_due(at(3600))
    marks.add(interval("a", 0, 1))
    marks.rely_on(None)
    marks.rely_on(7)
    marks.add(interval("a", 1, 2))
    marks.rely_on(8)
    assert not marks.is_due(at(9.9))
    assert marks.is_due(at(10))
    covered, since = marks.take(at(10))
    assert (covered.rows(), since) == (interval("a", 0, 2).rows(), 7)
    assert marks.is_empty
    marks.add(interval("a", 2, 3))
    assert not marks.is_due(at(19))
    assert marks.is_due(at(9)), "a clock that was set back must not put marks off"
