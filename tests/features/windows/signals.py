"""Signals with gaps, drift, jitter and samples that cannot be used, cut and mixed as they come from a store."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import hypothesis.strategies as st
import numpy as np
import polars as pl

from features.windows.stretches import Booleans, Integers, Stretches
from historian.quality import BAD, UNCERTAIN, is_good
from historian.times import from_micros
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.cutting import cut
from historian.waveforms.packing import pack, unpack
from tests.features.stretches import packed, raw, read

START: Final = 1_700_000_000_000_000
EVER: Final = 2 * START
RATES: Final = (1_000.0, 12_000.0, 25_600.0, 51_200.0, 25_600 / 3)


@dataclass(frozen=True)
class Signal:
    """Stretches of one tag, and the same as a row a sample."""

    batch: WaveformBatch

    @cached_property
    def stretches(self) -> Stretches:
        """As windows are made of them."""
        return read(self.batch)

    @cached_property
    def times(self) -> Integers:
        """[samples] microseconds since the epoch."""
        return unpack(self.batch)["timestamp"].to_physical().to_numpy()

    @cached_property
    def usable(self) -> Booleans:
        """[samples] whether each is Good and finite."""
        rows = unpack(self.batch)
        return rows.select(is_good(pl.col("quality")) & pl.col("value").is_finite()).to_series().to_numpy()

    def between(self, start: int, end: int) -> Signal:
        """The samples with start <= time < end, the stretches cut there."""
        return Signal(cut(self.batch, from_micros(start), from_micros(end)))


@st.composite
def broken_signals(draw: st.DrawFn) -> Signal:
    """At 1 kHz: pieces of up to 60 samples, one to 200 ms apart, of a device that may be slower or faster than that."""
    period = draw(st.sampled_from([1000, 1000, 700, 990, 1010, 1400]))
    pieces = draw(st.lists(st.tuples(st.integers(1, 200_000), st.integers(1, 60)), min_size=1, max_size=6))
    steps = [step for gap, count in pieces for step in (gap, *[period] * (count - 1))]
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    jitter = random.integers(0, 100, len(steps)) * draw(st.booleans()) * (period == 1000)
    times = np.unique(START + draw(st.integers(0, 20_000)) + np.cumsum(steps) + jitter)
    return _packed(draw, times, 1000.0, random)


@st.composite
def stored_signals(draw: st.DrawFn) -> tuple[Signal, float]:
    """Of any rate, which is returned in Hz, cut anywhere: runs that join to within half a period, or do not."""
    rate = draw(st.sampled_from(RATES))
    period = 1e6 / rate
    # Errors near half a period are in a test of their own: there rounded timestamps and exact times differ.
    joint = st.sampled_from([0.0, 0.0, 0.2, -0.4, 0.45, -0.45, 0.7, 3.0, 40.0, 900.0])
    drift = 1 + draw(st.sampled_from([0.0, 0.0, 35e-6, -35e-6, 1e-3, 0.3, 1.5]))
    # A single sample does not show the period of its stretch, by which the next one may still follow in time.
    counts = st.integers(2 if drift == 1.3 else 1, 120)
    runs = draw(st.lists(st.tuples(joint, counts), min_size=1, max_size=6))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    parts, begin = [], START + draw(st.integers(0, 100_000)) + draw(st.sampled_from([0.0, 0.25, 0.5]))
    for error, count in runs:
        begin += round(error * period)
        values = random.normal(size=count)
        values[random.random(count) < draw(st.sampled_from([0.0, 0.0, 0.02]))] = np.nan
        times = np.rint(begin + np.arange(count) * period)
        parts.append(
            packed("x", times, values.tolist(), rate, quality=draw(st.sampled_from([0, 0, 0, UNCERTAIN, BAD])))
        )
        begin += count * period
    rows = pl.concat(parts).with_columns(sample_rate=pl.lit(rate / drift))
    whole = _without_overlap(rows, rate)
    edges = sorted({0, EVER, *draw(st.lists(st.integers(START, int(begin) + 1), max_size=4))})
    pieces = [cut(whole, from_micros(a), from_micros(b)) for a, b in pairwise(edges)]
    order = draw(st.permutations(range(len(pieces))))
    return Signal(WaveformBatch(pl.concat([pieces[i] for i in order]).sort("timestamp"))), rate


def _packed(draw: st.DrawFn, times: Integers, rate: float, random: np.random.Generator) -> Signal:
    lost = random.random(len(times)) < draw(st.sampled_from([0, 0.03]))
    bad = random.random(len(times)) < draw(st.sampled_from([0, 0.03]))
    values = np.where(lost, np.nan, 1.0)
    return Signal(pack(raw("x", times, values, quality=np.where(bad, BAD, 0)), {"x": rate}).batch)


def _without_overlap(rows: pl.DataFrame, rate: float) -> WaveformBatch:
    """Without stretches that a slower rate than that of the device has made so long that they overlap the next one."""
    kept = rows.sort("timestamp")
    end = pl.col("timestamp").to_physical() + pl.col("count") * 1e6 / pl.col("sample_rate")
    begin = pl.col("timestamp").to_physical() + 0.5e6 / rate
    return WaveformBatch(kept.filter((end.shift().cum_max() <= begin).fill_null(value=True)))
