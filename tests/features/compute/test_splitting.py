"""Where a time range is split, by its sample density, and how large partitions may be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings

from features.compute.splitting import Entries, budget, most_jobs, split_points
from features.windows.tiling import EndRange
from historian.stores.protocols import LEDGER
from historian.times import micros

SECOND = timedelta(seconds=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
HOP = 1_000_000


def ledger(*rows: tuple[float, float, int]) -> pl.DataFrame:
    """Ledger rows of (first, last, rows) in seconds after START."""
    cells = [(START, "live", "x", START + a * SECOND, START + b * SECOND, count) for a, b, count in rows]
    return pl.DataFrame(cells, LEDGER, orient="row")


def at(seconds: float) -> int:
    """Microseconds since the epoch."""
    return micros(START + seconds * SECOND)


def test_a_density_counts_what_was_written_evenly() -> None:
    """Overlapping writes add up; between writes there is nothing."""
    density = Entries(ledger((0, 100, 1000), (50, 100, 1000), (1000, 1000, 7))).density(["x"])
    found = [density.between(at(a), at(b)) for a, b in ((0, 50), (50, 100), (100, 999), (999, 1001), (-5, 2000))]
    assert found == pytest.approx([500, 1500, 0, 7, 2007], abs=1)


def test_a_range_is_split_where_the_samples_are() -> None:
    """Partitions have about the same number of samples; a range that is small enough is left whole."""
    density = Entries(ledger((0, 1000, 100_000), (9000, 10_000, 100_000))).density(["x"])
    whole = EndRange(at(0), at(10_000), at(10_000))
    found = split_points(whole, density, samples=50_000, rows=10**9, hop=HOP, lookback=1_001_000)
    assert [(point - at(0)) / 1e6 for point in found] == pytest.approx([500, 1000, 9500], abs=1)
    assert split_points(whole, density, samples=200_000, rows=10**9, hop=HOP, lookback=1_001_000) == []
    by_rows = split_points(whole, density, samples=10**9, rows=2500, hop=HOP, lookback=1_001_000)
    assert len(by_rows) == 3


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 500), st.integers(1, 10**6)), min_size=1, max_size=6),
    st.integers(1000, 10**6),
)
@settings(max_examples=50)
def test_split_points_are_inside_and_far_enough_apart(writes: list[tuple[int, int, int]], samples: int) -> None:
    """They are at least eight lookbacks apart, as otherwise too much would be read twice."""
    density = Entries(ledger(*((first, first + length, rows) for first, length, rows in writes))).density(["x"])
    whole = EndRange(at(0), at(6000), at(6000))
    found = split_points(whole, density, samples=samples, rows=10**9, hop=HOP, lookback=2_000_000)
    edges = [at(0), *found, at(6000)]
    assert all(later - earlier >= 16_000_000 for earlier, later in pairwise(edges))


def test_memory_is_shared_by_what_is_computed_at_once() -> None:
    """Twice the processes means half the samples per partition, with a minimum that is worth starting one."""
    idle = 192 * 2**20
    two, four = budget(2**30 + idle, 2), budget(2**30 + 3 * idle, 4)
    assert two.samples == 2 * four.samples
    assert budget(1, 64).samples == 50_000


def test_the_number_of_processes_is_bounded_by_memory() -> None:
    """There is one per core if memory allows, and always at least one."""
    assert [most_jobs(memory * 2**30, 8) for memory in (0, 2, 64)] == [1, 4, 8]
