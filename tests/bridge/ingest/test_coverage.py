"""Interval arithmetic against sets of microseconds, and coverage at rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bridge.edge.database import Edge
from bridge.ingest.coverage import STRETCHES, Coverage, gaps, reached, stretches, union
from historian.samples import SCHEMA, SampleBatch, empty_batch, sample_batch

T0 = datetime(2026, 3, 1, tzinfo=UTC)
TAGS = ("a", "b")
Piece = tuple[str, int, int]


def at(micros: int) -> datetime:
    """An instant."""
    return T0 + timedelta(microseconds=micros)


def frame(*pieces: Piece) -> pl.DataFrame:
    """Stretches of (tag, first, end)."""
    return pl.DataFrame([(tag, at(start), at(end)) for tag, start, end in pieces], schema=STRETCHES, orient="row")


def instants(covered: pl.DataFrame) -> set[tuple[str, datetime]]:
    """Every microsecond that the stretches hold."""
    return {
        (tag, start + timedelta(microseconds=step))
        for tag, start, end in covered.iter_rows()
        for step in range((end - start) // timedelta(microseconds=1))
    }


def batch(tag: str, *micros: int, overflow_at: int = -1) -> SampleBatch:
    """Samples of one tag."""
    rows = [(tag, at(one), 1.0, None, 0x480 if one == overflow_at else 0) for one in micros]
    return sample_batch(pl.DataFrame(rows, schema=SCHEMA, orient="row"))


pieces = st.lists(
    st.tuples(st.sampled_from(TAGS), st.integers(0, 30), st.integers(0, 30)).map(lambda p: (p[0], *sorted(p[1:]))),
    max_size=8,
)


@given(pieces)
def test_union_holds_the_same_instants_in_the_fewest_stretches(given_pieces: list[Piece]) -> None:
    """Nothing is gained or lost, and no two stretches of a tag overlap or touch."""
    joined = union(frame(*given_pieces))
    assert instants(joined) == instants(frame(*given_pieces))
    apart = joined.select((pl.col("start") > pl.col("end").shift().over("tag")).all()).item()
    assert apart is not False
    assert_frame_equal(joined, joined.sort("tag", "start"))


@given(pieces, st.integers(0, 30), st.integers(1, 15))
def test_gaps_are_the_complement(given_pieces: list[Piece], start: int, length: int) -> None:
    """Within the range every instant is either covered or in a gap, never both."""
    end = start + length
    found = gaps(frame(*given_pieces), TAGS, at(start), at(end))
    whole = instants(stretches(TAGS, at(start), at(end)))
    assert instants(found) == whole - instants(frame(*given_pieces))
    assert_frame_equal(found, union(found))


def test_a_batch_proves_the_time_from_its_first_to_its_last_sample() -> None:
    """The last sample's own microsecond included."""
    assert_frame_equal(reached(batch("a", 5, 9), frame()), frame(("a", 5, 10)))


def test_in_one_session_a_batch_proves_the_time_since_the_one_before() -> None:
    """So a tag that changes once an hour is covered all the same."""
    assert_frame_equal(reached(batch("a", 50), frame(("a", 5, 10), ("b", 0, 1))), frame(("a", 10, 51)))


def test_a_batch_of_late_samples_proves_no_less_than_was_proven() -> None:
    """The reach of a session never shrinks."""
    assert_frame_equal(reached(batch("a", 3), frame(("a", 5, 10))), frame(("a", 3, 10)))


def test_nothing_before_a_loss_is_proven() -> None:
    """The Overflow bit of a sample tells that the source's queue dropped some before it."""
    assert_frame_equal(reached(batch("a", 5, 7, 9, overflow_at=7), frame(("a", 0, 3))), frame(("a", 7, 10)))


def test_an_empty_batch_proves_nothing() -> None:
    """No samples, no stretch."""
    assert_frame_equal(reached(empty_batch(), frame(("a", 5, 10))), frame())


def test_coverage_at_rest_joins_what_touches_and_keeps_the_rest(edge: Edge) -> None:
    """Whatever the order in which stretches are added."""
    coverage = Coverage(edge)
    for piece in (("a", 0, 10), ("a", 20, 30), ("b", 0, 5), ("a", 90, 99), ("a", 10, 20)):
        coverage.widen(frame(piece))
    assert_frame_equal(coverage.of(TAGS, at(0), at(100)), frame(("a", 0, 30), ("a", 90, 99), ("b", 0, 5)))
    assert_frame_equal(coverage.of(["a"], at(40), at(100)), frame(("a", 90, 99)))


def test_adding_the_same_stretches_again_changes_nothing(edge: Edge) -> None:
    """A write that is repeated after a crash is harmless here too."""
    coverage = Coverage(edge)
    proven = frame(("a", 0, 10), ("b", 5, 6), ("b", 8, 9))
    coverage.widen(proven)
    coverage.widen(proven)
    coverage.widen(frame())
    assert_frame_equal(coverage.of(TAGS, at(0), at(100)), proven)
