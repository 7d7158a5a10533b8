"""Alarms fire and clear as a loop over rows says, never look ahead, and warn of failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from features.analysis.alarms import FIRINGS, false_alarms, firings, leads
from historian.plant.alarms import Alarm

T0 = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
COLUMN = "de_h_rms_ac"
Row = tuple[str, int, float | None]
"""Asset, minute, value."""


def table(rows: list[Row]) -> pl.DataFrame:
    """Feature rows."""
    data = {
        "asset": [asset for asset, _, _ in rows],
        "event_timestamp": [T0 + minute * MINUTE for _, minute, _ in rows],
        COLUMN: [value for _, _, value in rows],
    }
    types = {"asset": pl.String(), "event_timestamp": FIRINGS["happened_at"], COLUMN: pl.Float64()}
    return pl.DataFrame(data, schema=types)


def rule(**keys: object) -> Alarm:
    """An alarm on the column."""
    return Alarm.model_validate({"feature": f"vibration:{COLUMN}", **keys})


def minutes(fired: pl.DataFrame) -> list[tuple[str, int, int | None]]:
    """(asset, minute at which it fired, minute at which it cleared)."""
    rows = fired.select("asset", "happened_at", "end").rows()
    return [(asset, (at - T0) // MINUTE, None if end is None else (end - T0) // MINUTE) for asset, at, end in rows]


def by_a_loop(rows: list[Row], alarm: Alarm) -> list[tuple[str, int, int | None]]:
    """The same, one row after the other, as a controller would do it."""
    found: list[tuple[str, int, int | None]] = []
    for asset in sorted({asset for asset, _, _ in rows}):
        mine = sorted((minute, value) for name, minute, value in rows if name == asset and value is not None)
        held, since, fired_at = False, None, None
        for minute, value in mine:
            level = _level(mine, minute, value, alarm)
            limit = alarm.rise or (alarm.above if alarm.above is not None else -(alarm.below or 0.0))
            now = held if level is None else level > limit or (held and level > limit - alarm.hysteresis)
            if now != held or since is None:
                held, since = now, minute
            lasted = (minute - since) * MINUTE
            if held and fired_at is None and lasted >= alarm.after:
                fired_at = minute
            elif not held and fired_at is not None and lasted >= alarm.clear_after:
                found.append((asset, fired_at, minute))
                fired_at = None
        if fired_at is not None:
            found.append((asset, fired_at, None))
    return found


def _level(mine: list[tuple[int, float]], minute: int, value: float, alarm: Alarm) -> float | None:
    if alarm.over is None:
        return value if alarm.below is None else -value
    old = [before for at, before in mine if (minute - at) * MINUTE >= alarm.over]
    return value - old[-1] if old else None


RULES = [
    {"above": 5.0},
    {"above": 5.0, "hysteresis": 2.0},
    {"below": 3.0, "hysteresis": 1.0, "after": "2m"},
    {"above": 4.0, "hysteresis": 1.0, "after": "3m", "clear_after": "4m"},
    {"rise": 2.0, "over": "3m", "clear_after": "2m"},
]
ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 60), st.none() | st.integers(0, 8).map(float)),
    max_size=60,
    unique_by=lambda row: row[:2],
)


@given(ROWS, st.sampled_from(RULES))
@settings(max_examples=150)
def test_fires_and_clears_as_a_controller_does(rows: list[Row], keys: dict[str, object]) -> None:
    """Whatever the order of the rows, with gaps in time and rows without a value."""
    alarm = rule(**keys)
    fired = firings(table(rows), "shock", alarm)
    assert fired.schema == FIRINGS
    assert minutes(fired) == by_a_loop(rows, alarm)


@given(ROWS, st.sampled_from(RULES), st.integers(0, 60))
@settings(max_examples=80)
def test_a_replay_says_what_the_alarm_has_said(rows: list[Row], keys: dict[str, object], now: int) -> None:
    """What was known at a time is the beginning of what is known later: firings up to then are the same."""
    alarm = rule(**keys)
    then = minutes(firings(table([row for row in rows if row[1] <= now]), "shock", alarm))
    later = [row for row in minutes(firings(table(rows), "shock", alarm)) if row[1] <= now]
    assert then == [(asset, at, end if end is not None and end <= now else None) for asset, at, end in later]


def fired(*spans: tuple[int, int | None]) -> pl.DataFrame:
    """Firings of asset a, in hours."""
    hour = timedelta(hours=1)
    rows = [
        ("a", "shock", T0 + at * hour, T0 + at * hour, None if end is None else T0 + end * hour, 1.0)
        for at, end in spans
    ]
    return pl.DataFrame(rows, schema=FIRINGS, orient="row")


def failed(*hours: int) -> pl.DataFrame:
    """Failures of asset a."""
    rows = [("a", T0 + timedelta(hours=hour)) for hour in hours]
    return pl.DataFrame(rows, schema={"asset": pl.String(), "happened_at": FIRINGS["happened_at"]}, orient="row")


def test_a_warning_is_the_first_firing_after_the_failure_before() -> None:
    """An alarm that is still active warns from the interval's begin; one that is too old does not."""
    found = leads(fired((1, 2), (3, 4), (12, None)), failed(10, 20, 100), within=timedelta(hours=24))
    assert found["hours"].to_list() == [9.0, 8.0, 24.0]
    assert leads(fired((1, 2)), failed(50), within=timedelta(hours=24))["hours"].to_list() == [None]
    assert leads(fired(), failed(50), within=timedelta(hours=24))["fired_at"].to_list() == [None]


def test_a_firing_that_no_failure_follows_is_a_false_alarm() -> None:
    """Within the time from when it fired, or while it is active."""
    found = fired((1, 2), (40, 41), (60, 200))
    assert false_alarms(found, failed(10, 150), within=timedelta(hours=24)) == 1
    assert false_alarms(found, failed(), within=timedelta(hours=24)) == 3


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "one of above, below and rise"),
        ({"above": 1.0, "below": 0.0}, "one of above, below and rise"),
        ({"rise": 1.0}, "rise needs over"),
        ({"above": 1.0, "over": "1h"}, "rise needs over"),
        ({"above": 1.0, "feature": "rms"}, "should match pattern"),
        ({"above": 1.0, "hysteresis": -1}, "greater than or equal to 0"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(keys: dict[str, object], words: str) -> None:
    """It says which keys belong together."""
    with pytest.raises(ValidationError, match=words):
        rule(**keys)
