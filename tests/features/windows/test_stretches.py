"""Windows over stretches are those over a row a sample, whatever the stretches are."""

from __future__ import annotations

from datetime import timedelta
from math import ceil

import hypothesis.strategies as st
import numpy as np
import polars as pl
from hypothesis import given, settings

from features.compute.rows.missing import reason_texts
from features.windows.tiling import EndRange, Tiling, Windows, burst_windows, epoch_windows
from historian.quality import BAD
from historian.waveforms.choosing import LONGEST
from tests.features.stretches import packed, read
from tests.features.windows import row_a_sample
from tests.features.windows.signals import EVER, START, Signal, stored_signals

ALWAYS = EndRange(0, EVER, EVER)
WINDOWS = ((epoch_windows, row_a_sample.epoch_windows), (burst_windows, row_a_sample.burst_windows))


def contents(windows: Windows) -> list[tuple[object, ...]]:
    """Everything that is known of each window."""
    reasons = reason_texts(windows.faults, len(windows.end))
    columns = (windows.end.tolist(), windows.first.tolist(), windows.found.tolist(), list(reasons))
    return list(zip(*columns, strict=True))


@given(stored_signals(), st.sampled_from([16, 24]), st.sampled_from([1, 2]), st.integers(0, 300_000))
@settings(max_examples=120)
def test_windows_are_those_over_a_row_a_sample(
    stored: tuple[Signal, float], samples: int, hops: int, known: int
) -> None:
    """Runs with gaps, drift, other rates and samples that cannot be used; stretches cut anywhere, in any order."""
    signal, rate = stored
    length = round(samples * 1e6 / rate)
    tiling = Tiling(length, length // hops, rate)
    for wanted in (ALWAYS, EndRange(START + known // 2, START + known, START + known - 1000)):
        for ours, oracle in WINDOWS:
            found = ours(signal.stretches, tiling, wanted)
            expected = oracle(signal.times, signal.usable, tiling, wanted)
            assert contents(found) == contents(expected)
            assert (found.resume, found.partial_windows) == (expected.resume, expected.partial_windows)


@given(stored_signals(), st.lists(st.integers(-1000, 200_000), max_size=9))
@settings(max_examples=40)
def test_a_time_and_the_number_of_a_sample_are_inverse(stored: tuple[Signal, float], instants: list[int]) -> None:
    """They are compared with the array of all timestamps."""
    signal, _ = stored
    stretches, times = signal.stretches, signal.times
    assert stretches.times(np.arange(len(times))).tolist() == times.tolist()
    at = START + np.array(instants, np.int64)
    assert stretches.numbers(at).tolist() == np.searchsorted(times, at).tolist()
    assert stretches.numbers(times).tolist() == list(range(len(times)))


def test_half_a_period_is_exact() -> None:
    """More right than by timestamps, where a clock has drifted by half a period, 10.2 us at 49 kHz.

    `pack` begins a stretch there that joins the one before, ten whole microseconds after where that one ends. By the
    rounded times of the two samples the pause is 31 us, more than one and a half periods, and would be a gap.
    """
    rate = 49_000.0
    period = 1e6 / rate
    drifting = packed("x", START + np.rint(np.arange(7) * (period + 3)), np.ones(7), rate)
    assert drifting["count"].to_list() == [4, 3]
    stretches = read(drifting)
    assert stretches.runs(period)[0].tolist() == [0]
    assert np.diff(stretches.times(np.arange(7))).max() == 31 > 1.5 * period


def test_a_sample_that_is_not_finite_is_not_usable() -> None:
    """NaN inside a Good stretch, and a stretch that is Bad, are what no window may hold."""
    values = np.ones(60)
    values[20] = np.nan
    batch = pl.concat(
        [
            packed("x", START + np.arange(60) * 1000, values, 1000.0),
            packed("x", START + np.arange(60, 90) * 1000, np.ones(30), 1000.0, quality=BAD),
        ]
    )
    windows = epoch_windows(read(batch), Tiling(10_000, 10_000, 1000.0), ALWAYS)
    assert windows.faults["bad_quality"].tolist() == [False, False, True, False, False, False, True, True, True]


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.sampled_from([25_600.0, 12_000.0, 25_600 / 3]))
@settings(max_examples=50)
def test_where_reading_begins_does_not_matter(phase: int, late: int, rate: float) -> None:
    """A cut rounds the timestamp of what is left of a stretch; the windows that are wanted begin after that one."""
    length = round(24e6 / rate)
    tiling, count = Tiling(length, length, rate), 2 * LONGEST
    period = 1e6 / rate
    signal = Signal(packed("x", np.rint(START + phase / 7 + np.arange(count) * period), np.zeros(count), rate))
    after = START + ceil((LONGEST + 1) * period) + late * round(period) // 100
    wanted = EndRange(after, START + round(count * period), EVER)
    whole = epoch_windows(signal.stretches, tiling, wanted)
    begin = after - timedelta(microseconds=ceil((LONGEST + 1) * period)) // timedelta(microseconds=1)
    part = signal.between(begin, EVER)
    found = epoch_windows(part.stretches, tiling, wanted)
    dropped = len(signal.times) - len(part.times)
    assert (found.first + dropped).tolist() == whole.first.tolist()
    assert [(end, *rest) for end, _, *rest in contents(found)] == [(end, *rest) for end, _, *rest in contents(whole)]
