"""Partitions: whatever range they are cut into, each stretch is cut exactly once and no window depends on the cuts."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from math import ceil

import hypothesis.strategies as st
import numpy as np
import polars as pl
from hypothesis import Phase, given, settings

from features.compute.partition import Partition, compute_partitions
from features.define.view_plan import AssetPlan
from features.windows.tiling import EndRange
from historian.plant.plant import View
from historian.stores.memory import MemoryStore
from historian.times import from_micros
from tests.features.compute.rows.signals import START, plan_of, tag
from tests.features.stretches import packed

RATE = 25_600.0
WINDOW = 10_000
SECONDS = 1.0
END = START + round(SECONDS * 1e6)


def stored(begun: float, *, page_rows: int) -> MemoryStore:
    """A store with a second of noise; sample 0 is this many periods before START."""
    store, count = MemoryStore(page_rows=page_rows), round((SECONDS + 0.01) * RATE)
    times = START - round(begun * 1e6 / RATE) + np.arange(count) * 1e6 / RATE
    batch = packed("p1.de_h", np.rint(times), np.random.default_rng(0).normal(size=count), RATE)
    store.write_waveforms(batch, source="test", now=from_micros(END))
    return store


def plan() -> AssetPlan:
    """Windows of 10 ms, far shorter than a stretch can be."""
    ten, de_h = timedelta(microseconds=WINDOW), tag("de_h", sample_rate=RATE)
    return plan_of(View("v", "pump", ("de_h",), "vibration", ten, ten, "epoch", None, ("time",)), (de_h,))


def rows(store: MemoryStore, edges: list[int]) -> pl.DataFrame:
    """The rows of one partition after the other."""
    parts = [Partition(plan(), EndRange(a, b, b), {"p1.de_h": END}, 0) for a, b in pairwise(edges)]
    return pl.concat([compute_partitions(store, [part]).rows for part in parts])


@given(
    begun=st.integers(0, 255),
    cuts=st.lists(st.integers(START, END), max_size=4),
    page_rows=st.sampled_from([700, 5000, 10**6]),
)
@settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_partitions_give_the_rows_of_a_single_one(begun: int, cuts: list[int], page_rows: int) -> None:
    """A sample of every window lies within a rounding of its border, and every range and page cuts a stretch."""
    store = stored(begun + 0.0128, page_rows=page_rows)
    whole = rows(store, [START, END])
    assert whole["de_h_valid"].sum() >= 99
    assert rows(store, [START, *sorted(cuts), END]).equals(whole)


def test_reading_begins_a_whole_stretch_before_the_first_window_ends() -> None:
    """As long as the longest there can be, or as the window if that is longer."""
    (de_h,) = plan().tags
    assert de_h.read_lookback == timedelta(microseconds=ceil(16_385 * 1e6 / RATE))
    for after in (END - WINDOW, END - 1):  # windows end on the grid of the hop
        assert Partition(plan(), EndRange(after, END, END), {}, 0).start == from_micros(END) - de_h.read_lookback
    nine = timedelta(seconds=9)
    long = plan_of(View("v", "pump", ("de_h",), "vibration", nine, nine, "epoch", None), (tag("de_h"),))
    assert long.read_lookback == long.lookback
