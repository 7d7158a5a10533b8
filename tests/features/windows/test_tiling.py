"""Windows: each sample in window/hop of them, gaps and bad samples never inside a valid one, labelled by their end."""

from __future__ import annotations

from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from features.compute.rows.missing import reason_texts
from features.windows.stretches import Integers, Stretches
from features.windows.tiling import EndRange, Tiling, Windows, burst_windows, epoch_windows
from historian.quality import BAD
from historian.waveforms.batch import empty_waveforms
from tests.features.stretches import packed, read
from tests.features.windows.signals import Signal, broken_signals

START = 1_700_000_000_000_000
ALWAYS = EndRange(0, 2 * START, 2 * START)
FAST = Tiling(100_000, 100_000, 25_600.0)
SMALL = Tiling(16_000, 8_000, 1_000.0)


def steady(count: int, *, start: int = START, sample_rate: int = 25_600) -> Integers:
    """Times of a continuous signal, rounded down to microseconds as a driver does."""
    return start + np.arange(count) * 1_000_000 // sample_rate


def signal_of(times: Integers, rate: float = 25_600, *, bad: int | None = None) -> Stretches:
    """The samples of a tag as stretches, all Good but one."""
    quality = np.zeros(len(times), np.int64)
    quality[[] if bad is None else [bad]] = BAD
    return read(packed("x", times, np.ones(len(times)), rate, quality=quality))


def listed(windows: Windows) -> list[tuple[int, int, bool]]:
    """(end, found, valid) of each window."""
    return list(zip(windows.end.tolist(), windows.found.tolist(), windows.valid.tolist(), strict=True))


def reasons_of(windows: Windows) -> list[str | None]:
    """Why each window is not valid."""
    return list(reason_texts(windows.faults, len(windows.end)))


def codes(**faults: bool) -> str | None:
    """The names of those that hold."""
    return " ".join(name for name, holds in faults.items() if holds) or None


@given(
    rate=st.sampled_from([(1000, 16_000), (12_000, 250_000), (25_600, 100_000), (51_200, 10_000)]),
    hops=st.sampled_from([1, 2, 4]),
    phase=st.integers(0, 10_000_000),
)
@settings(max_examples=50)
def test_each_sample_is_in_window_over_hop_windows(rate: tuple[int, int], hops: int, phase: int) -> None:
    """Away from the ends of a continuous signal, whatever its phase, each sample lies in just as many windows."""
    sample_rate, length = rate
    tiling = Tiling(length, length // hops, float(sample_rate))
    times = steady(6 * tiling.samples, start=START + phase, sample_rate=sample_rate)
    signal = signal_of(times, sample_rate)
    for lay in (epoch_windows, burst_windows):
        windows = lay(signal, tiling, ALWAYS)
        inside = np.zeros(len(times), np.int64)
        for first in windows.first[windows.valid]:
            inside[first : first + tiling.samples] += 1
        assert set(inside[tiling.samples : -2 * tiling.samples].tolist()) == {hops}, lay


@given(broken_signals())
@settings(max_examples=50)
def test_each_sample_is_in_just_as_many_listed_windows(signal: Signal) -> None:
    """On the epoch's grid each sample is in length/hop windows, valid or not, with any gaps or Bad samples around."""
    windows = epoch_windows(signal.stretches, SMALL, ALWAYS)
    start, stop = (np.searchsorted(signal.times, edge) for edge in (windows.end - SMALL.length, windows.end))
    inside = np.zeros(len(signal.times), np.int64)
    for one, other in zip(start, stop, strict=True):
        inside[one:other] += 1
    assert set(inside.tolist()) == {2}


@given(broken_signals())
@settings(max_examples=100)
def test_epoch_windows_are_those_a_plain_search_finds(signal: Signal) -> None:
    """They are compared with an oracle that tries every end on the grid with every sample before it."""
    expected, reasons = [], []
    for end in range(START, int(signal.times[-1]) + SMALL.length + 1, SMALL.hop):
        inside = (signal.times >= end - SMALL.length) & (signal.times < end)
        if not inside.any():
            continue
        before = np.flatnonzero(signal.times < end)[-SMALL.samples :]
        chosen = signal.times[before]
        complete = (
            len(before) == 16
            and all(499 <= b - a <= 1501 for a, b in pairwise(chosen.tolist()))
            and end - SMALL.length - 1000 <= chosen[0] <= end - SMALL.length + 2500
            and chosen[-1] >= end - 1500
        )
        found = before if complete else np.flatnonzero(inside)
        here = signal.times[found].tolist()
        unbroken = (
            all(499 <= b - a <= 1501 for a, b in pairwise(here))
            and here[0] <= end - SMALL.length + 1000
            and here[-1] >= end - 1500
        )
        bad = not signal.usable[found].all()
        expected.append((end, len(found), complete and not bad))
        reasons.append(codes(gap=not complete and not unbroken, length=not complete and unbroken, bad_quality=bad))
    windows = epoch_windows(signal.stretches, SMALL, ALWAYS)
    assert listed(windows) == expected
    assert reasons_of(windows) == reasons


@given(broken_signals())
@settings(max_examples=100)
def test_burst_windows_are_those_a_plain_search_finds(signal: Signal) -> None:
    """They are compared with an oracle that goes through the runs."""
    times = signal.times.tolist()
    edges = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(times)) if not 499 <= b - a <= 1501)]
    expected, reasons, partial_windows = [], [], 0
    for start, stop in pairwise([*edges, len(times)]):
        firsts = []
        for first in range(start, stop, 8):
            end = times[first] + SMALL.length
            inside = [i for i in range(first, min(first + 16, stop)) if times[i] < end]
            if first > start and len(inside) < 16 and times[stop - 1] < end - 1500:
                continue
            firsts.append(first)
            complete = len(inside) == 16 and times[inside[-1]] >= end - 2500
            bad = not signal.usable[inside].all()
            expected.append((end, len(inside), complete and not bad))
            goes_on = inside[-1] + 1 == stop < len(times) and times[stop] < end
            reasons.append(codes(gap=not complete and goes_on, length=not complete and not goes_on, bad_quality=bad))
        partial_windows += stop - firsts[-1] > 16
    windows = burst_windows(signal.stretches, SMALL, ALWAYS)
    assert listed(windows) == expected
    assert reasons_of(windows) == reasons
    assert windows.partial_windows == partial_windows


@given(broken_signals(), st.lists(st.integers(0, 500_000), max_size=5))
@settings(max_examples=100)
def test_ranges_one_after_the_other_give_what_one_range_gives(signal: Signal, cuts: list[int]) -> None:
    """Samples before `resume` can be dropped; no window is lost, repeated or changed, and no partial window either."""
    edges = [0, *sorted(START + cut for cut in cuts), ALWAYS.until]
    for lay in (epoch_windows, burst_windows):
        whole = lay(signal.stretches, SMALL, ALWAYS)
        parts, partial_windows, resume = [], 0, 0
        for after, until in pairwise(edges):
            held = signal.between(resume, until + 1)
            windows = lay(held.stretches, SMALL, EndRange(after, until, until))
            parts += listed(windows)
            partial_windows += windows.partial_windows
            resume = windows.resume
        assert parts == listed(whole)
        assert partial_windows == whole.partial_windows


def test_a_gap_makes_just_the_windows_it_lies_in_invalid() -> None:
    """One lost sample: that window reports what it found and why, and its neighbours are untouched."""
    times = np.delete(steady(5 * 2560), 2 * 2560 + 100)
    windows = epoch_windows(signal_of(times), FAST, ALWAYS)
    ends = [START + (k + 1) * 100_000 for k in range(5)]
    assert listed(windows) == [(end, 2559 if k == 2 else 2560, k != 2) for k, end in enumerate(ends)]
    assert reasons_of(windows) == [None, None, "gap", None, None]


def test_a_sample_that_is_not_good_makes_its_windows_invalid() -> None:
    """The window is complete, and still not valid."""
    times = steady(3 * 2560)
    for lay in (epoch_windows, burst_windows):
        windows = lay(signal_of(times, bad=2560), FAST, ALWAYS)
        assert windows.valid.tolist() == [True, False, True]
        assert reasons_of(windows) == [None, "bad_quality", None]


def test_a_window_after_the_newest_sample_is_pending() -> None:
    """With 2.5 windows of samples there are two windows; the third is neither valid nor invalid yet."""
    times = steady(5 * 1280)
    ready = EndRange(0, 2 * START, int(times[-1]) + 40)
    assert listed(epoch_windows(signal_of(times), FAST, ready)) == [
        (START + 100_000, 2560, True),
        (START + 200_000, 2560, True),
    ]


def test_a_window_is_ready_with_its_last_sample() -> None:
    """The newest sample plus one period is the end: no later sample is needed."""
    times = steady(2560)
    wanted = EndRange(0, 2 * START, int(times[-1]) + 40)
    for lay in (epoch_windows, burst_windows):
        assert listed(lay(signal_of(times), FAST, wanted)) == [(START + 100_000, 2560, True)]


def test_a_drifting_clock_gives_complete_windows() -> None:
    """A device whose clock runs 35 ppm fast or slow fills each second with 25 600 samples all the same."""
    tiling = Tiling(1_000_000, 1_000_000, 25_600.0)
    for drift in (-35e-6, 35e-6):
        times = START + np.floor(np.arange(25_600 * 20) * (1e6 / 25_600) * (1 + drift)).astype(np.int64)
        whole_seconds = {(START + k * 1_000_000, 25_600, True) for k in range(1, 20)}
        assert whole_seconds <= set(listed(epoch_windows(signal_of(times), tiling, ALWAYS)))


def test_a_burst_of_a_drifting_clock_is_complete() -> None:
    """A second of a device whose clock runs 35 ppm fast or slow."""
    tiling = Tiling(1_000_000, 1_000_000, 25_600.0)
    for drift in (-35e-6, 35e-6):
        times = START + np.floor(np.arange(25_600) * (1e6 / 25_600) * (1 + drift)).astype(np.int64)
        assert listed(burst_windows(signal_of(times), tiling, ALWAYS)) == [(START + 1_000_000, 25_600, True)]


def test_a_device_of_another_rate_has_no_valid_window() -> None:
    """At 700 Hz for 1000 Hz its steps pass as continuous; but N samples take longer than the window, or less."""
    for rate in (700, 990, 1010, 1400):
        times = steady(rate, sample_rate=rate)
        for lay in (epoch_windows, burst_windows):
            windows = lay(signal_of(times, 1000), Tiling(500_000, 500_000, 1000.0), ALWAYS)
            assert windows.end[0] == START + 500_000
            assert not windows.valid.any()
            assert reasons_of(windows)[0] == "length"


@given(broken_signals(), st.integers(0, 300_000))
@settings(max_examples=100)
def test_no_window_depends_on_what_came_at_or_after_its_end(signal: Signal, cut: int) -> None:
    """Windows that end by an instant are the same whatever follows it."""
    wanted = EndRange(0, START + cut, 2 * START)
    past = signal.between(0, wanted.until)
    for lay in (epoch_windows, burst_windows):
        known = listed(lay(past.stretches, SMALL, wanted))
        assert listed(lay(signal.stretches, SMALL, wanted)) == known


def test_a_burst_is_tiled_from_its_start() -> None:
    """A tenth of a second every ten seconds: one window a burst, labelled by the burst's end, wherever it starts."""
    times = np.concatenate([steady(2560, start=START + 37 + k * 10_000_000) for k in range(3)])
    windows = burst_windows(signal_of(times), FAST, ALWAYS)
    assert listed(windows) == [(START + 37 + k * 10_000_000 + 100_000, 2560, True) for k in range(3)]
    assert windows.partial_windows == 0


def test_a_burst_shorter_than_a_window_is_reported() -> None:
    """It gets a row that is not valid, where its window would have ended; a longer burst's rest is only counted."""
    times = np.concatenate([steady(2000), steady(3000, start=START + 10_000_000)])
    windows = burst_windows(signal_of(times), FAST, ALWAYS)
    assert listed(windows) == [(START + 100_000, 2000, False), (START + 10_100_000, 2560, True)]
    assert reasons_of(windows) == ["length", None]
    assert windows.partial_windows == 1


def test_a_burst_that_is_broken_inside_has_a_gap() -> None:
    """Samples that follow within the window's length make it a gap instead of an end."""
    times = np.delete(steady(2560), np.arange(1000, 1100))
    windows = burst_windows(signal_of(times), FAST, ALWAYS)
    assert reasons_of(windows) == ["gap", "length"]


def test_no_samples_have_no_windows() -> None:
    """Empty input gives an empty result."""
    nothing = read(empty_waveforms())
    assert [array.tolist() for array in nothing.runs(1000.0)] == [[], []]
    for lay in (epoch_windows, burst_windows):
        assert listed(lay(nothing, SMALL, ALWAYS)) == []


def scattered(*deviations: float) -> Integers:
    """Bursts of 0.35 s at 25.6 kHz, two seconds apart, with jitter in periods RMS, clipped at three deviations."""
    random, bursts = np.random.default_rng(3), []
    for k, deviation in enumerate(deviations):
        noise = deviation * np.clip(random.standard_normal(8960), -3, 3)
        times = np.maximum.accumulate(np.rint((np.arange(8960) + noise) * 1e6 / 25_600).astype(np.int64))
        bursts.append(START + 2_000_000 * k + np.unique(times))
    return np.concatenate(bursts)


def test_a_jittering_clock_breaks_no_burst() -> None:
    """At a tenth of a period of jitter the windows are a steady clock's; beyond a limit there is one, not valid."""
    windows = burst_windows(signal_of(scattered(0, 0.1, 0.2, 0.3, 0.45)), FAST, ALWAYS)
    assert windows.valid.tolist() == [True] * 6 + [False] * 3
    assert reasons_of(windows) == [None] * 6 + ["timing"] * 3
    assert set(windows.found[:6]) == {2560}
    assert windows.partial_windows == 2


def test_windows_of_the_epoch_with_scattered_timestamps_say_so() -> None:
    """Each of them is listed once, with that reason alone; the windows of the other bursts are untouched."""
    windows = epoch_windows(signal_of(scattered(0.1, 0.3, 0.0)), FAST, ALWAYS)
    assert [code for code in reasons_of(windows) if code != "gap"] == [None] * 3 + ["timing"] * 4 + [None] * 3


@pytest.mark.parametrize("rate", [6_400.0, 64_000.0])
def test_a_device_of_quite_another_rate_is_one_burst(rate: float) -> None:
    """It has one window that is not valid, not one a sample."""
    times = START + np.rint(np.arange(2000) * 1e6 / rate).astype(np.int64)
    windows = burst_windows(signal_of(times), FAST, ALWAYS)
    assert (reasons_of(windows), windows.partial_windows) == (["timing"], 0)
