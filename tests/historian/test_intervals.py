"""Interval arithmetic against sets of microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from historian.intervals import INTERVALS, gaps, intervals, overlap, union

T0 = datetime(2026, 3, 1, tzinfo=UTC)
TAGS = ("a", "b")
Piece = tuple[str, int, int]


def at(micros: int) -> datetime:
    """An instant."""
    return T0 + timedelta(microseconds=micros)


def frame(*pieces: Piece) -> pl.DataFrame:
    """Intervals of (tag, first, end)."""
    return pl.DataFrame([(tag, at(start), at(end)) for tag, start, end in pieces], schema=INTERVALS, orient="row")


def instants(covered: pl.DataFrame) -> set[tuple[str, datetime]]:
    """Every microsecond that the intervals hold."""
    return {
        (tag, start + timedelta(microseconds=step))
        for tag, start, end in covered.iter_rows()
        for step in range((end - start) // timedelta(microseconds=1))
    }


pieces = st.lists(
    st.tuples(st.sampled_from(TAGS), st.integers(0, 30), st.integers(0, 30)).map(lambda p: (p[0], *sorted(p[1:]))),
    max_size=8,
)


@given(pieces)
def test_union_holds_the_same_instants_in_the_fewest_intervals(given_pieces: list[Piece]) -> None:
    """Nothing is gained or lost, and no two intervals of a tag overlap or touch."""
    joined = union(frame(*given_pieces))
    assert instants(joined) == instants(frame(*given_pieces))
    apart = joined.select((pl.col("start") > pl.col("end").shift().over("tag")).all()).item()
    assert apart is not False
    assert_frame_equal(joined, joined.sort("tag", "start"))


@given(pieces, st.integers(0, 5))
def test_union_within_a_distance_fills_just_the_gaps_up_to_it(given_pieces: list[Piece], within: int) -> None:
    """Longer gaps stay."""
    joined = union(frame(*given_pieces), within=timedelta(microseconds=within))
    holes = [
        (tag, (later - end) // timedelta(microseconds=1))
        for (tag, _, end), (other, later, _) in zip(joined.rows(), joined.rows()[1:], strict=False)
        if tag == other
    ]
    assert all(length > within for _, length in holes)
    assert instants(frame(*given_pieces)) <= instants(joined)


def test_union_takes_other_columns() -> None:
    """Key and ends may have any names."""
    named = frame(("a", 0, 2), ("a", 2, 4)).rename({"tag": "asset", "start": "after", "end": "until"})
    assert union(named, by="asset", start="after", end="until").rows() == [("a", at(0), at(4))]


@given(pieces, st.integers(0, 30), st.integers(1, 15))
def test_gaps_are_the_complement(given_pieces: list[Piece], start: int, length: int) -> None:
    """Within the range every instant is either covered or in a gap, never both."""
    end = start + length
    found = gaps(frame(*given_pieces), TAGS, at(start), at(end))
    whole = instants(intervals(TAGS, at(start), at(end)))
    assert instants(found) == whole - instants(frame(*given_pieces))
    assert_frame_equal(found, union(found))


@example([("a", 3, 8)], [("a", 5, 5)])
@given(pieces, pieces)
def test_overlap_is_a_common_instant(some: list[Piece], others: list[Piece]) -> None:
    """Only intervals of the same tag overlap."""
    assert overlap(frame(*some), frame(*others)) == bool(instants(frame(*some)) & instants(frame(*others)))
