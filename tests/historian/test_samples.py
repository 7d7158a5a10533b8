"""`sample_batch`, `normalise` and `newest_wins`: what a batch is, and how raw rows become one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from historian.errors import InvalidInput
from historian.quality import BAD_NO_DATA, BAD_TIMEOUT, GOOD, UNCERTAIN, quality_name
from historian.samples import SCHEMA, newest_wins, normalise, sample_batch

T0 = datetime(2026, 1, 1, tzinfo=UTC)
Row = tuple[str, int, float | None, str | None, int]


def raw(*rows: Row) -> pl.DataFrame:
    """Rows whose second item is a number of microseconds after T0."""
    return pl.DataFrame(
        [(tag, T0 + timedelta(microseconds=at), *rest) for tag, at, *rest in rows], schema=SCHEMA, orient="row"
    )


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (raw(("a", 1, 0, None, 0), ("a", 0, 0, None, 0)), "not sorted"),
        (raw(("a", 0, 0, None, 0), ("a", 0, 1, None, 0)), "not sorted by .* or repeat"),
        (raw(("b", 0, 0, None, 0), ("a", 1, 0, None, 0)), "not sorted"),
        (raw(("a", 0, float("nan"), None, 0)), "not finite"),
        (raw(("a", 0, float("inf"), None, 0)), "not finite"),
        (raw(("a", 0, 0, None, 0)).with_columns(tag=pl.lit(None, pl.String)), "a null tag"),
        (raw(("a", 0, 0, None, 0)).with_columns(quality=pl.lit(0, pl.Int64)), "needs the columns"),
        (raw(("a", 0, 0, None, 0)).drop("text"), "needs the columns"),
        (raw().with_columns(timestamp=pl.col("timestamp").dt.replace_time_zone(None)), "needs the columns"),
    ],
)
def test_what_is_not_a_batch_is_refused_with_the_reason(frame: pl.DataFrame, complaint: str) -> None:
    """Each defect has its own message."""
    with pytest.raises(InvalidInput, match=complaint):
        sample_batch(frame)


def test_exact_repeats_are_dropped_and_contradictions_are_set_aside() -> None:
    """The first row stays; a later one with other content is a conflict, not an overwrite."""
    rows = raw(
        ("b", 5, 1, None, 0), ("a", 9, 2, None, 0), ("b", 5, 1, None, 0), ("b", 5, 7, None, 0), ("a", 1, 0, None, 0)
    )
    normalised = normalise(rows)
    assert_frame_equal(normalised.batch, raw(("a", 1, 0, None, 0), ("a", 9, 2, None, 0), ("b", 5, 1, None, 0)))
    assert_frame_equal(normalised.conflicts, raw(("b", 5, 7, None, 0)))


def test_a_value_that_is_no_number_becomes_quality() -> None:
    """NaN and infinities become BadNoData, unless the source gave a worse quality."""
    normalised = normalise(
        raw(
            ("a", 0, float("nan"), None, GOOD),
            ("a", 1, float("-inf"), None, UNCERTAIN),
            ("a", 2, float("nan"), None, BAD_TIMEOUT),
            ("a", 3, 1.5, None, GOOD),
        )
    )
    expected = raw(
        ("a", 0, None, None, BAD_NO_DATA),
        ("a", 1, None, None, BAD_NO_DATA),
        ("a", 2, None, None, BAD_TIMEOUT),
        ("a", 3, 1.5, None, GOOD),
    )
    assert_frame_equal(normalised.batch, expected)
    assert normalised.conflicts.is_empty()


VALUES = st.one_of(st.none(), st.sampled_from([0.0, 1.0, float("nan"), float("inf")]))
ROWS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 5),
        VALUES,
        st.sampled_from([None, "x"]),
        st.sampled_from([0, BAD_TIMEOUT]),
    )
)


@given(ROWS)
def test_normalising_drops_only_exact_repeats(rows: list[Row]) -> None:
    """Batch and conflicts together are the distinct rows; the batch has one row a key: the first given."""
    normalised = normalise(raw(*rows))
    together = pl.concat([normalised.batch, normalised.conflicts])
    assert together.height == together.unique().height
    keys = {row[:2] for row in rows}
    assert normalised.batch.height == len(keys)
    first_text: dict[tuple[str, datetime], str | None] = {}
    for row in rows:
        first_text.setdefault((row[0], T0 + timedelta(microseconds=row[1])), row[3])
    kept = zip(normalised.batch["tag"], normalised.batch["timestamp"], normalised.batch["text"], strict=True)
    assert {(tag, at): text for tag, at, text in kept} == first_text


@given(ROWS)
def test_normalising_twice_changes_nothing(rows: list[Row]) -> None:
    """A normalised batch stays the same."""
    batch = normalise(raw(*rows)).batch
    again = normalise(batch)
    assert_frame_equal(again.batch, batch)
    assert again.conflicts.is_empty()


def test_the_newest_write_wins_by_order_or_by_column() -> None:
    """Without a column the later row wins; with one, the later stamp wins in any order of rows."""
    rows = raw(("a", 1, 1, None, 0), ("a", 0, 5, None, 0), ("a", 1, 2, None, 0))
    assert newest_wins(rows)["value"].to_list() == [5, 2]
    assert newest_wins(rows.with_columns(at=pl.Series([9, 0, 3])), written="at")["value"].to_list() == [5, 1]


def test_quality_codes_have_names() -> None:
    """Known codes by their OPC UA name, others by severity and number."""
    names = [quality_name(code) for code in (GOOD, BAD_TIMEOUT, 0x80AB0000, 0x40900000, 0x00000400)]
    assert names == ["Good", "BadTimeout", "Bad (0x80AB0000)", "Uncertain (0x40900000)", "Good (0x00000400)"]
