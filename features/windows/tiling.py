"""Places windows over the stretches of one tag: gaps divide them into continuous runs, which are then tiled.

A window is labelled by its end, the first instant at which its features can be known. Windows that have some but not
all of their samples are listed as not valid; they are never padded and never silently dropped. All times are
microseconds since the epoch. Which samples a window has follows from the start and the rate of stretches; a window may
begin and end inside them.

`align = "epoch"`: ends lie on the hop's grid since 1970, and a window is the N samples just before its end. The
device's clock may drift against ours by one sample: the first sample may be up to one period early or 2.5 late, and
the last must lie within 1.5 periods of the end. A device whose rate is not the configured one has no valid window.

`align = "burst"`: windows start where a run starts, then every hop, and end N/fs after their first sample. Here too the
clock may drift by one sample: the N-th sample must lie before the end, and within 2.5 periods of it.
A run shorter than one window is one window that is not valid. The remainder of a longer run has no window, because it
would be the newest window of every burst and hide the valid one before it; it is counted as a partial window.
A run whose timestamps do not fit the configured rate has one window, which is not valid.

A window that is not valid has a reason: `timing` if the timestamps of its samples do not fit the configured rate;
otherwise `gap` if samples are missing between its first and its last, at its beginning or at its end, and `length` if
there is no gap, and yet not N samples over the whole window; `bad_quality` if a sample is not finite or its stretch is
not Good.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from math import ceil
from typing import NamedTuple

import numpy as np

from features.define.reasons import Flags
from features.windows.stretches import Booleans, Integers, Stretches


class EndRange(NamedTuple):
    """A range of windows by their ends: after < end <= until, in microseconds since the epoch."""

    after: int
    until: int
    ready: int
    """An incomplete window that ends later than this may still be filled: it is pending and not listed."""

    @property
    def without_pending(self) -> EndRange:
        """The range without pending windows."""
        return self._replace(until=min(self.until, self.ready))


@dataclass(frozen=True)
class Tiling:
    """Length and hop of windows over a signal of fixed sample rate."""

    length: int
    """Length of a window in microseconds; a whole number of samples."""
    hop: int
    """Time between the starts of windows, in microseconds."""
    sample_rate: float
    """Sample rate in Hz, from the tag's configuration."""

    @property
    def period(self) -> float:
        """Time between samples in microseconds."""
        return 1e6 / self.sample_rate

    @property
    def samples(self) -> int:
        """Number of samples in a window, N."""
        return round(self.length / self.period)

    @property
    def hop_samples(self) -> int:
        """Hop of burst windows in whole samples."""
        return max(1, round(self.hop / self.period))


@dataclass(frozen=True)
class Windows:
    """Windows over the samples of one tag, in the order of their ends."""

    end: Integers
    """[windows] end of each window, its event timestamp, in microseconds since the epoch; ascending."""
    first: Integers
    """[windows] index of the first sample in each window."""
    found: Integers
    """[windows] number of samples in each window."""
    faults: Flags
    """Reason -> [windows] whether it prevents the computation of features."""
    resume: int
    """Time of the first sample that windows after this range may need, in microseconds since the epoch."""
    partial_windows: int = 0
    """Number of runs that end in too few samples for another window."""

    @cached_property
    def valid(self) -> Booleans:
        """[windows] whether the features of each window can be computed."""
        valid: Booleans = ~np.logical_or.reduce(list(self.faults.values()))
        return valid

    def only(self, chosen: Booleans) -> Windows:
        """Return the chosen [windows]."""
        faults = {code: holds[chosen] for code, holds in self.faults.items()}
        return replace(self, end=self.end[chosen], first=self.first[chosen], found=self.found[chosen], faults=faults)


def microseconds(duration: timedelta) -> int:
    """Return a duration in whole microseconds."""
    return duration // timedelta(microseconds=1)


def touched_ends(first: Integers, last: Integers, *, hop: int, lookback: int, wanted: EndRange) -> Integers:
    """Return the ends, on the grid of the hop, of the wanted windows that use samples of any run.

    Args:
        first: [runs] times of the first samples, ascending.
        last: [runs] times of the last samples, ascending.
        hop: time between ends, in microseconds.
        lookback: how far before its end a window uses samples, in microseconds.
        wanted: range of window ends.
    """
    low = np.maximum(first, wanted.after) // hop + 1
    high = np.minimum(last + lookback, wanted.until) // hop
    low[1:] = np.maximum(low[1:], high[:-1] + 1)
    count = np.maximum(high - low + 1, 0)
    return (np.repeat(low, count) + counters(count)) * hop


def epoch_windows(signal: Stretches, tiling: Tiling, wanted: EndRange) -> Windows:
    """Return the windows on the grid of the hop that contain any of the samples.

    Args:
        signal: the tag's stretches; all samples from `Windows.resume` of the range before.
        tiling: length, hop and sample rate.
        wanted: range of window ends.
    """
    starts, stops = signal.runs(tiling.period)
    wanted, times = wanted.without_pending, signal.times
    end = touched_ends(times(starts), times(stops - 1), hop=tiling.hop, lookback=tiling.length, wanted=wanted)
    stop, inside = signal.numbers(end), signal.numbers(end - tiling.length)
    first = np.maximum(stop - tiling.samples, 0)
    begin = times(first)
    ends_in_time = (stop > 0) & (times(stop - 1) >= end - 1.5 * tiling.period)
    complete = (
        (stop - first == tiling.samples)
        & _same_run(starts, first, stop)
        & (begin >= end - tiling.length - tiling.period)
        & (begin <= end - tiling.length + 2.5 * tiling.period)
        & ends_in_time
    )
    first = np.where(complete, first, inside)
    begun = times(first) <= end - tiling.length + tiling.period
    unbroken = ends_in_time & begun & (stop > first) & _same_run(starts, first, stop)
    return Windows(
        end=end,
        first=first,
        found=stop - first,
        faults=_faults(complete, ~unbroken, signal, first, stop),
        resume=wanted.until - tiling.length - ceil(tiling.period),
    )


def burst_windows(signal: Stretches, tiling: Tiling, wanted: EndRange) -> Windows:
    """Return the windows that start with the runs of the samples.

    Args:
        signal: the tag's stretches; all from `Windows.resume` of the range before, or from the start of a run.
        tiling: length, hop and sample rate.
        wanted: range of window ends.
    """
    (starts, stops), times = signal.runs(tiling.period), signal.times
    # Only samples before the end of a window decide whether it exists and what is in it.
    untimed = signal.touches(signal.untimed, starts, stops)
    places = np.where(untimed, 1, (stops - starts - 1) // tiling.hop_samples + 1)
    first = np.repeat(starts, places) + counters(places) * tiling.hop_samples
    run_stop = np.repeat(stops, places)
    end = times(first) + tiling.length
    stop = np.minimum(np.minimum(first + tiling.samples, run_stop), signal.numbers(end))
    enough = stop - first == tiling.samples
    ends_in_time = times(run_stop - 1) >= end - 1.5 * tiling.period
    exists = enough | ends_in_time | np.isin(first, starts)
    first, stop, run_stop, end, enough = (each[exists] for each in (first, stop, run_stop, end, enough))
    full = enough & (times(stop - 1) >= end - 2.5 * tiling.period)
    chosen = (end > wanted.after) & (end <= wanted.until) & (full | (end <= wanted.ready))
    emitted = int(np.searchsorted(end, wanted.until, side="right"))
    goes_on = (stop < len(signal)) & (times(stop) < end)  # in another run
    faults = _faults(full, (stop == run_stop) & goes_on, signal, first, stop)
    return Windows(
        end=end[chosen],
        first=first[chosen],
        found=(stop - first)[chosen],
        faults={code: holds[chosen] for code, holds in faults.items()},
        resume=int(times(first[[max(emitted - 1, 0)]])[0]) if len(first) else wanted.until,
        partial_windows=_partial_windows(signal, first, run_stop, tiling, wanted),
    )


def _partial_windows(signal: Stretches, first: Integers, run_stop: Integers, tiling: Tiling, wanted: EndRange) -> int:
    """Return the number of runs with samples after their last window whose next window would end in the range."""
    last = np.append(run_stop[1:] != run_stop[:-1], True)[: len(first)]
    last &= ~signal.touches(signal.untimed, first, first + 1)
    rest = (first + tiling.hop_samples)[last & (first + tiling.samples < run_stop)]
    end = signal.times(rest) + tiling.length
    return int(np.sum((end > wanted.after) & (end <= wanted.without_pending.until)))


def counters(count: Integers) -> Integers:
    """Return the numbers 0, 1, … below each count in turn: [2, 3] gives [0, 1, 0, 1, 2]."""
    return np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)


def _faults(complete: Booleans, gap: Booleans, signal: Stretches, first: Integers, stop: Integers) -> Flags:
    """Return the reasons of windows with the samples first..stop - 1."""
    untimed = signal.touches(signal.untimed, first, stop)
    lacking = ~complete & ~untimed
    bad = ~signal.all_usable(first, stop)
    return {"gap": lacking & gap, "length": lacking & ~gap, "timing": untimed, "bad_quality": bad}


def _same_run(starts: Integers, first: Integers, stop: Integers) -> Booleans:
    """Return whether the samples first..stop - 1 belong to one run."""
    return np.equal(np.searchsorted(starts, first, side="right"), np.searchsorted(starts, stop - 1, side="right"))
