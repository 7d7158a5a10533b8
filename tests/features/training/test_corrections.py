"""Values that a later correction has changed, against going through all rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from features.feast.offline.point_in_time import ROW
from features.training.audit import audit_view
from features.training.corrections import corrected
from features.training.pinned import PinnedTable, TableVersion

T0 = datetime(2026, 3, 1, tzinfo=UTC)
INSTANT = pl.Datetime("us", "UTC")
SCHEMA = pl.Schema(
    {"asset": pl.String(), "event_timestamp": INSTANT, "created_timestamp": INSTANT, "value": pl.Int64()}
)
Row = tuple[str, int, int, int | None]
"""Asset, event and created timestamp in seconds after T0, value."""


def at(seconds: int) -> datetime:
    """An instant in seconds after T0."""
    return T0 + timedelta(seconds=seconds)


def table(rows: list[Row], ttl: timedelta | None = None) -> PinnedTable:
    """A feature table with these rows."""
    data = [(asset, at(event), at(created), value) for asset, event, created, value in rows]
    frame = pl.DataFrame(data, schema=SCHEMA, orient="row").with_row_index(ROW).lazy()
    return PinnedTable("v", "", TableVersion(1, None), frame, "", ttl, timedelta(seconds=1))


def count(rows: list[Row], labels: list[tuple[str, int]], ttl: timedelta | None = None) -> int:
    """The number of corrected values of these labels."""
    schema = {"asset": pl.String(), "event_timestamp": INSTANT}
    frame = pl.DataFrame([(asset, at(second)) for asset, second in labels], schema=schema, orient="row")
    used = [newest(rows, *label, ttl) for label in labels]
    values = pl.DataFrame({"v__value": [row[3] if row else None for row in used]}, schema={"v__value": pl.Int64()})
    found, columns = table(rows, ttl), {"v__value": "value"}
    audit = audit_view(frame, values, found, columns, created_by_label_time=False)
    assert not audit.wrong
    return corrected(frame, values, found, audit, columns)["v__value"]


def newest(rows: list[Row], asset: str, second: int, ttl: timedelta | None = None) -> Row | None:
    """The row that serves a label, unless it is too old."""
    seen = max((row for row in rows if row[0] == asset and row[1] <= second), key=lambda row: row[1:3], default=None)
    return None if seen and ttl and timedelta(seconds=second - seen[1]) > ttl else seen


def by_hand(rows: list[Row], labels: list[tuple[str, int]]) -> int:
    """The number of labels whose window had another value at their time, or when it was computed first."""
    changed = 0
    for asset, second in labels:
        used = newest(rows, asset, second)
        if used:
            versions = sorted((row for row in rows if row[:2] == used[:2]), key=lambda row: row[2])
            known = [row for row in versions if row[2] <= second]
            changed += used[2] > second and (known[-1] if known else versions[0])[3] != used[3]
    return changed


ROWS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 4), st.integers(0, 9), st.sampled_from([None, 1, 2])),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row[:3],
)


@settings(max_examples=60)
@given(rows=ROWS, labels=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), min_size=1, max_size=8))
def test_every_count_is_what_going_through_the_rows_gives(rows: list[Row], labels: list[tuple[str, int]]) -> None:
    """Rows have up to ten versions of a window, created before and after the label's time."""
    assert count(rows, labels) == by_hand(rows, labels)


def test_a_row_that_came_late_is_no_correction() -> None:
    """A backfilled year was computed yesterday, and nothing in it was written with hindsight."""
    assert count([("a", 0, 100, 1), ("a", 1, 100, 2)], [("a", 0), ("a", 5)]) == 0


def test_a_row_that_was_replaced_after_its_label_is_a_correction() -> None:
    """Not if the value is the same, if it was replaced before the label's time, or if it is too old to be used."""
    assert count([("a", 0, 1, 1), ("a", 0, 100, 2)], [("a", 5)]) == 1
    assert count([("a", 0, 50, 1), ("a", 0, 100, 2)], [("a", 5)]) == 1
    assert count([("a", 0, 1, 1), ("a", 0, 100, 1)], [("a", 5)]) == 0
    assert count([("a", 0, 1, 1), ("a", 0, 4, 2)], [("a", 5)]) == 0
    assert count([("a", 0, 1, 1), ("a", 0, 100, 2)], [("a", 5)], timedelta(seconds=2)) == 0
    assert count([("a", 0, 1, 1), ("a", 0, 2, 2), ("a", 0, 100, 2)], [("a", 5)]) == 0
    assert count([("a", 0, 1, 2), ("a", 0, 2, 1), ("a", 0, 100, 2)], [("a", 5)]) == 1
