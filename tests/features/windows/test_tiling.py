"""Windows: each sample in window/hop of them, gaps and bad samples never inside a valid one, labelled by their end."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from features.compute.rows.missing import reason_texts
from features.windows.tiling import Booleans, EndRange, Integers, Tiling, Windows, burst_windows, epoch_windows, runs

START = 1_700_000_000_000_000
ALWAYS = EndRange(0, 2 * START, 2 * START)
FAST = Tiling(100_000, 100_000, 25_600.0)
SMALL = Tiling(16_000, 8_000, 1_000.0)


def steady(count: int, *, start: int = START, sample_rate: int = 25_600) -> Integers:
    """Times of a continuous signal, rounded down to microseconds as a driver does."""
    return start + np.arange(count) * 1_000_000 // sample_rate


def good(times: Integers) -> Booleans:
    """All samples usable."""
    return np.ones(len(times), np.bool_)


def listed(windows: Windows) -> list[tuple[int, int, bool]]:
    """(end, found, valid) of each window."""
    return list(zip(windows.end.tolist(), windows.found.tolist(), windows.valid.tolist(), strict=True))


def reasons_of(windows: Windows) -> list[str | None]:
    """Why each window is not valid."""
    return list(reason_texts(windows.faults, len(windows.end)))


def codes(**faults: bool) -> str | None:
    """The names of those that hold."""
    return " ".join(name for name, holds in faults.items() if holds) or None


class Signal(NamedTuple):
    """A signal at 1 kHz in pieces, with jitter and with samples that are not Good."""

    times: Integers
    usable: Booleans


@st.composite
def broken_signals(draw: st.DrawFn) -> Signal:
    """Pieces of up to 60 samples, one to 200 ms apart, of a device that may be slower or faster than it should be."""
    period = draw(st.sampled_from([1000, 1000, 700, 990, 1010, 1400]))
    pieces = draw(st.lists(st.tuples(st.integers(1, 200_000), st.integers(1, 60)), min_size=1, max_size=6))
    steps = [step for gap, count in pieces for step in (gap, *[period] * (count - 1))]
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    jitter = random.integers(0, 400, len(steps)) * draw(st.booleans()) * (period == 1000)
    times = np.unique(START + draw(st.integers(0, 20_000)) + np.cumsum(steps) + jitter)
    usable = random.random(len(times)) >= draw(st.sampled_from([0, 0.03]))
    return Signal(times, usable)


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
    for lay in (epoch_windows, burst_windows):
        windows = lay(times, good(times), tiling, ALWAYS)
        inside = np.zeros(len(times), np.int64)
        for first in windows.first[windows.valid]:
            inside[first : first + tiling.samples] += 1
        assert set(inside[tiling.samples : -2 * tiling.samples].tolist()) == {hops}, lay


@given(broken_signals())
@settings(max_examples=50)
def test_each_sample_is_in_just_as_many_listed_windows(signal: Signal) -> None:
    """On the epoch's grid each sample is in length/hop windows, valid or not, with any gaps or Bad samples around."""
    windows = epoch_windows(signal.times, signal.usable, SMALL, ALWAYS)
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
            and all(500 <= b - a <= 1500 for a, b in pairwise(chosen.tolist()))
            and end - SMALL.length - 1000 <= chosen[0] <= end - SMALL.length + 2500
            and chosen[-1] >= end - 1500
        )
        found = before if complete else np.flatnonzero(inside)
        here = signal.times[found].tolist()
        unbroken = (
            all(500 <= b - a <= 1500 for a, b in pairwise(here))
            and here[0] <= end - SMALL.length + 1000
            and here[-1] >= end - 1500
        )
        bad = not signal.usable[found].all()
        expected.append((end, len(found), complete and not bad))
        reasons.append(codes(gap=not complete and not unbroken, length=not complete and unbroken, bad_quality=bad))
    windows = epoch_windows(signal.times, signal.usable, SMALL, ALWAYS)
    assert listed(windows) == expected
    assert reasons_of(windows) == reasons


@given(broken_signals())
@settings(max_examples=100)
def test_burst_windows_are_those_a_plain_search_finds(signal: Signal) -> None:
    """They are compared with an oracle that goes through the runs."""
    times = signal.times.tolist()
    edges = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(times)) if not 500 <= b - a <= 1500)]
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
    windows = burst_windows(signal.times, signal.usable, SMALL, ALWAYS)
    assert listed(windows) == expected
    assert reasons_of(windows) == reasons
    assert windows.partial_windows == partial_windows


@given(broken_signals(), st.lists(st.integers(0, 500_000), max_size=5))
@settings(max_examples=100)
def test_ranges_one_after_the_other_give_what_one_range_gives(signal: Signal, cuts: list[int]) -> None:
    """Samples before `resume` can be dropped; no window is lost, repeated or changed, and no partial window either."""
    edges = [0, *sorted(START + cut for cut in cuts), ALWAYS.until]
    for lay in (epoch_windows, burst_windows):
        whole = lay(signal.times, signal.usable, SMALL, ALWAYS)
        parts, partial_windows, resume = [], 0, 0
        for after, until in pairwise(edges):
            held = (signal.times >= resume) & (signal.times <= until)
            windows = lay(signal.times[held], signal.usable[held], SMALL, EndRange(after, until, until))
            parts += listed(windows)
            partial_windows += windows.partial_windows
            resume = windows.resume
        assert parts == listed(whole)
        assert partial_windows == whole.partial_windows


def test_a_gap_makes_just_the_windows_it_lies_in_invalid() -> None:
    """One lost sample: that window reports what it found and why, and its neighbours are untouched."""
    times = np.delete(steady(5 * 2560), 2 * 2560 + 100)
    windows = epoch_windows(times, good(times), FAST, ALWAYS)
    ends = [START + (k + 1) * 100_000 for k in range(5)]
    assert listed(windows) == [(end, 2559 if k == 2 else 2560, k != 2) for k, end in enumerate(ends)]
    assert reasons_of(windows) == [None, None, "gap", None, None]


def test_a_sample_that_is_not_good_makes_its_windows_invalid() -> None:
    """The window is complete, and still not valid."""
    times = steady(3 * 2560)
    usable = good(times)
    usable[2560] = False
    for lay in (epoch_windows, burst_windows):
        windows = lay(times, usable, FAST, ALWAYS)
        assert windows.valid.tolist() == [True, False, True]
        assert reasons_of(windows) == [None, "bad_quality", None]


def test_a_window_after_the_newest_sample_is_pending() -> None:
    """With 2.5 windows of samples there are two windows; the third is neither valid nor invalid yet."""
    times = steady(5 * 1280)
    ready = EndRange(0, 2 * START, int(times[-1]) + 40)
    assert listed(epoch_windows(times, good(times), FAST, ready)) == [
        (START + 100_000, 2560, True),
        (START + 200_000, 2560, True),
    ]


def test_a_window_is_ready_with_its_last_sample() -> None:
    """The newest sample plus one period is the end: no later sample is needed."""
    times = steady(2560)
    wanted = EndRange(0, 2 * START, int(times[-1]) + 40)
    for lay in (epoch_windows, burst_windows):
        assert listed(lay(times, good(times), FAST, wanted)) == [(START + 100_000, 2560, True)]


def test_a_drifting_clock_gives_complete_windows() -> None:
    """A device whose clock runs 35 ppm fast or slow fills each second with 25 600 samples all the same."""
    tiling = Tiling(1_000_000, 1_000_000, 25_600.0)
    for drift in (-35e-6, 35e-6):
        times = START + np.floor(np.arange(25_600 * 20) * (1e6 / 25_600) * (1 + drift)).astype(np.int64)
        whole_seconds = {(START + k * 1_000_000, 25_600, True) for k in range(1, 20)}
        assert whole_seconds <= set(listed(epoch_windows(times, good(times), tiling, ALWAYS)))


def test_a_burst_of_a_drifting_clock_is_complete() -> None:
    """A second of a device whose clock runs 35 ppm fast or slow."""
    tiling = Tiling(1_000_000, 1_000_000, 25_600.0)
    for drift in (-35e-6, 35e-6):
        times = START + np.floor(np.arange(25_600) * (1e6 / 25_600) * (1 + drift)).astype(np.int64)
        assert listed(burst_windows(times, good(times), tiling, ALWAYS)) == [(START + 1_000_000, 25_600, True)]


def test_a_device_of_another_rate_has_no_valid_window() -> None:
    """At 700 Hz for 1000 Hz its steps pass as continuous; but N samples take longer than the window, or less."""
    for rate in (700, 990, 1010, 1400):
        times = steady(rate, sample_rate=rate)
        for lay in (epoch_windows, burst_windows):
            windows = lay(times, good(times), Tiling(500_000, 500_000, 1000.0), ALWAYS)
            assert windows.end[0] == START + 500_000
            assert not windows.valid.any()
            assert reasons_of(windows)[0] == "length"


@given(broken_signals(), st.integers(0, 300_000))
@settings(max_examples=100)
def test_no_window_depends_on_what_came_at_or_after_its_end(signal: Signal, cut: int) -> None:
    """Windows that end by an instant are the same whatever follows it."""
    wanted = EndRange(0, START + cut, 2 * START)
    past = signal.times < wanted.until
    for lay in (epoch_windows, burst_windows):
        known = listed(lay(signal.times[past], signal.usable[past], SMALL, wanted))
        assert listed(lay(signal.times, signal.usable, SMALL, wanted)) == known


def test_a_burst_is_tiled_from_its_start() -> None:
    """A tenth of a second every ten seconds: one window a burst, labelled by the burst's end, wherever it starts."""
    times = np.concatenate([steady(2560, start=START + 37 + k * 10_000_000) for k in range(3)])
    windows = burst_windows(times, good(times), FAST, ALWAYS)
    assert listed(windows) == [(START + 37 + k * 10_000_000 + 100_000, 2560, True) for k in range(3)]
    assert windows.partial_windows == 0


def test_a_burst_shorter_than_a_window_is_reported() -> None:
    """It gets a row that is not valid, where its window would have ended; a longer burst's rest is only counted."""
    times = np.concatenate([steady(2000), steady(3000, start=START + 10_000_000)])
    windows = burst_windows(times, good(times), FAST, ALWAYS)
    assert listed(windows) == [(START + 100_000, 2000, False), (START + 10_100_000, 2560, True)]
    assert reasons_of(windows) == ["length", None]
    assert windows.partial_windows == 1


def test_a_burst_that_is_broken_inside_has_a_gap() -> None:
    """Samples that follow within the window's length make it a gap instead of an end."""
    times = np.delete(steady(2560), np.arange(1000, 1100))
    windows = burst_windows(times, good(times), FAST, ALWAYS)
    assert reasons_of(windows) == ["gap", "length"]


def test_no_samples_have_no_windows() -> None:
    """Empty input gives an empty result."""
    nothing = np.zeros(0, np.int64)
    assert [array.tolist() for array in runs(nothing, 1000.0)] == [[], []]
    for lay in (epoch_windows, burst_windows):
        assert listed(lay(nothing, good(nothing), SMALL, ALWAYS)) == []


@pytest.mark.parametrize("place", [1, 65_535, 65_536, 65_537, 131_072, 199_999])
def test_a_gap_is_found_wherever_it_lies_in_a_long_signal(place: int) -> None:
    """Steps are checked block by block; one that is too short is a gap as well."""
    for shift in (30_000, -30):
        times = steady(200_000)
        times[place:] += shift
        starts, stops = runs(times, FAST.period)
        assert (starts.tolist(), stops.tolist()) == ([0, place], [place, 200_000])


@given(broken_signals())
def test_runs_are_cut_at_gaps(signal: Signal) -> None:
    """Inside a run no step differs from the period by more than half of it; between runs each does."""
    starts, stops = runs(signal.times, 1000.0)
    steps = np.abs(np.diff(signal.times) - 1000)
    inside = np.concatenate([np.arange(start, stop - 1) for start, stop in zip(starts, stops, strict=True)])
    assert np.all(steps[inside.astype(np.int64)] <= 500)
    assert np.all(steps[starts[1:] - 1] > 500)
