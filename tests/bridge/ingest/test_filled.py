"""What an outage that was filled from a history leaves covered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from bridge.ingest.continuity import CLOCKS
from bridge.ingest.filled import FIRST, NEWEST, filled

T0 = datetime(2026, 3, 1, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)


def at(second: float) -> datetime:
    """A time."""
    return T0 + timedelta(seconds=second)


@pytest.mark.parametrize(
    ("newest", "first", "lag", "end"),
    [
        (103, 101, 0, at(103) + INSTANT),  # the history has gone on after the session began at 100
        (90, 90, 0, at(100)),  # nothing has changed since
        (90, 95, 0, at(90) + INSTANT),  # the history lags behind: 95 came after its end
        (90, None, 0, at(90) + INSTANT),  # the session has reported nothing
        (90, 90, 60, at(90) + INSTANT),  # what time it was for the device when the session began is not known
        (90, 90, None, at(90) + INSTANT),
        (None, -500, 0, at(100)),  # nothing has changed for a long time
        (None, 50, 0, None),  # something has, but it is not in the history
    ],
)
def test_no_more_is_covered_than_is_known(
    newest: float | None, first: float | None, lag: float | None, end: datetime | None
) -> None:
    """From the start of the outage to the newest value in the history, or to the session if nothing changed."""
    covered = filled(
        ["a"],
        start=T0,
        began=at(100),
        newest=pl.DataFrame([("a", at(newest))] if newest is not None else [], schema=NEWEST, orient="row"),
        first=pl.DataFrame([("a", at(first))] if first is not None else [], schema=FIRST, orient="row"),
        clocks=pl.DataFrame([("a", T0, None if lag is None else timedelta(seconds=lag))], schema=CLOCKS, orient="row"),
    )
    assert covered.rows() == ([] if end is None else [("a", T0, end)])


def test_a_tag_whose_history_was_not_read_is_not_covered() -> None:
    """Whatever else is known of it."""
    newest = pl.DataFrame([("a", at(1)), ("b", at(1))], schema=NEWEST, orient="row")
    empty = {"first": FIRST.to_frame(), "clocks": CLOCKS.to_frame()}
    assert filled(["b"], start=T0, began=at(9), newest=newest, **empty)["tag"].to_list() == ["b"]
