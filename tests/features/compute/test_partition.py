"""Cutting a span changes nothing but the size of the pieces."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings

from features.compute.partition import cuts, load_of
from features.compute.plan import budget, most_jobs
from features.windows.tiling import Span
from historian.plant.plant import View
from historian.stores.protocols import LEDGER
from historian.times import micros

SECOND = timedelta(seconds=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
VIEW = View("pump_vibration", "pump", ("de_h",), "vibration", SECOND, SECOND, "epoch", None)


def ledger(*rows: tuple[float, float, int]) -> pl.DataFrame:
    """Ledger rows of (first, last, rows) in seconds after START."""
    cells = [(START, "live", "x", START + a * SECOND, START + b * SECOND, count) for a, b, count in rows]
    return pl.DataFrame(cells, LEDGER, orient="row")


def at(seconds: float) -> int:
    """Microseconds since the epoch."""
    return micros(START + seconds * SECOND)


def test_a_load_counts_what_was_written_evenly() -> None:
    """Overlapping writes add up; between them there is nothing."""
    load = load_of(ledger((0, 100, 1000), (50, 100, 1000), (1000, 1000, 7)))
    found = [load.between(at(a), at(b)) for a, b in ((0, 50), (50, 100), (100, 999), (999, 1001), (-5, 2000))]
    assert found == pytest.approx([500, 1500, 0, 7, 2007], abs=1)


def test_a_span_is_cut_where_the_samples_are() -> None:
    """Into pieces of about equal load, whatever lies between; a span that is small enough is left whole."""
    load = load_of(ledger((0, 1000, 100_000), (9000, 10_000, 100_000)))
    span = Span(at(0), at(10_000), at(10_000))
    found = cuts(span, load, samples=50_000, rows=10**9, view=VIEW, longest_reach=1_001_000)
    assert [(cut - at(0)) / 1e6 for cut in found] == pytest.approx([500, 1000, 9500], abs=1)
    assert cuts(span, load, samples=200_000, rows=10**9, view=VIEW, longest_reach=1_001_000) == []
    by_rows = cuts(span, load, samples=10**9, rows=2500, view=VIEW, longest_reach=1_001_000)
    assert len(by_rows) == 3


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 500), st.integers(1, 10**6)), min_size=1, max_size=6),
    st.integers(1000, 10**6),
)
@settings(max_examples=50)
def test_cuts_are_inside_ascending_and_far_enough_apart(writes: list[tuple[int, int, int]], samples: int) -> None:
    """Eight reaches at least: otherwise more would be read twice than once."""
    load = load_of(ledger(*((first, first + length, rows) for first, length, rows in writes)))
    found = cuts(Span(at(0), at(6000), at(6000)), load, samples=samples, rows=10**9, view=VIEW, longest_reach=2_000_000)
    edges = [at(0), *found, at(6000)]
    assert all(later - earlier >= 16_000_000 for earlier, later in pairwise(edges))


def test_memory_is_shared_by_what_is_computed_at_once() -> None:
    """Twice the processes, half the samples a partition; never so few that starting would be all the work."""
    idle = 192 * 2**20
    two, four = budget(2**30 + idle, 2), budget(2**30 + 3 * idle, 4)
    assert two.samples == 2 * four.samples
    assert budget(1, 64).samples == 50_000


def test_no_more_processes_than_memory_is_for() -> None:
    """One a core, if each can have what makes it worth while; one in any case."""
    assert [most_jobs(memory * 2**30, 8) for memory in (0, 2, 64)] == [1, 4, 8]
