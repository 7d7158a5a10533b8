"""Coverage as it is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from polars.testing import assert_frame_equal

from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from historian.intervals import INTERVALS

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def at(micros: int) -> datetime:
    """An instant."""
    return T0 + timedelta(microseconds=micros)


def frame(*pieces: tuple[str, int, int]) -> pl.DataFrame:
    """Intervals of (tag, first, end)."""
    return pl.DataFrame([(tag, at(start), at(end)) for tag, start, end in pieces], schema=INTERVALS, orient="row")


def test_it_joins_what_touches_and_keeps_the_rest(edge: Edge) -> None:
    """Intervals may be added in any order."""
    coverage = Coverage(edge)
    for piece in (("a", 0, 10), ("a", 20, 30), ("b", 0, 5), ("a", 90, 99), ("a", 10, 20)):
        coverage.add(frame(piece))
    assert_frame_equal(coverage.of(["a", "b"], at(0), at(100)), frame(("a", 0, 30), ("a", 90, 99), ("b", 0, 5)))
    assert_frame_equal(coverage.of(["a"], at(40), at(100)), frame(("a", 90, 99)))


def test_adding_the_same_intervals_again_changes_nothing(edge: Edge) -> None:
    """A write that is repeated after a crash does no harm."""
    coverage = Coverage(edge)
    covered = frame(("a", 0, 10), ("b", 5, 6), ("b", 8, 9))
    coverage.add(covered)
    coverage.add(covered)
    coverage.add(frame())
    assert_frame_equal(coverage.of(["a", "b"], at(0), at(100)), covered)
