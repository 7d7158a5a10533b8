"""Durations and instants as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from historian.errors import InvalidInput
from historian.times import format_duration, from_micros, micros, parse_duration, parse_instant

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("100ms", timedelta(milliseconds=100)),
        ("1.5 s", timedelta(seconds=1.5)),
        ("10m", timedelta(minutes=10)),
        ("2h", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
        ("1w", timedelta(weeks=1)),
        ("5us", timedelta(microseconds=5)),
    ],
)
def test_durations_are_read(text: str, span: timedelta) -> None:
    """A duration is a number and a unit."""
    assert parse_duration(text) == span


@pytest.mark.parametrize("text", ["", "10", "m", "-1s", "1y", "1s 2m", "0s", "0.1us", "999999999999w"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """The error has the wrong word."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(1, 10**15))
def test_a_duration_survives_being_written(micro: int) -> None:
    """format_duration is the inverse of parse_duration for any whole number of microseconds a float holds."""
    span = timedelta(microseconds=micro)
    assert parse_duration(format_duration(span)) == span


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001 - the zone is the next argument
def test_microseconds_are_exact(instant: datetime) -> None:
    """Conversion to the epoch and back has no float rounding."""
    assert from_micros(micros(instant)) == instant


def test_instants_are_read() -> None:
    """ISO 8601 with a zone, `now`, `now-2h`; the answer is UTC."""
    texts = ["2026-03-01T10:00:00Z", "2026-03-01T11:00:00+01:00", "now-2h", " now "]
    instants = [parse_instant(text, now=NOW) for text in texts]
    assert instants == [NOW - timedelta(hours=2)] * 3 + [NOW]
    assert {instant.tzinfo for instant in instants} == {UTC}


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("2026-03-01T10:00:00", "no zone; write"),
        ("yesterday", "not a time"),
        ("now-x", "not a time"),
        ("now-9999999d", "not a time"),
        ("0001-01-01T00:00:00+14:00", "not a time"),
    ],
)
def test_a_time_without_a_zone_is_refused(text: str, advice: str) -> None:
    """The error says how to write it."""
    with pytest.raises(InvalidInput, match=advice):
        parse_instant(text, now=NOW)
