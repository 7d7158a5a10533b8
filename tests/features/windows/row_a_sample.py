"""Windows over samples with a timestamp each: the oracle of `features.windows.tiling`, which has stretches instead.

The rules are those of that module; here they are applied to an array of all timestamps.
"""

from __future__ import annotations

from math import ceil, floor

import numpy as np

from features.define.reasons import Flags
from features.windows.stretches import Booleans, Integers
from features.windows.tiling import EndRange, Tiling, Windows, counters, touched_ends
from historian.waveforms.timing import ROUNDING


def runs(times: Integers, period: float) -> tuple[Integers, Integers]:
    """Start and stop indices of the continuous runs; |dt - period| > period/2 + 1 is a gap.

    The microsecond is for the rounding of timestamps.
    """
    least, most = ceil(0.5 * period - ROUNDING), floor(1.5 * period + ROUNDING)
    steps = np.diff(times)
    gaps = 1 + np.flatnonzero((steps < least) | (steps > most))
    edges = np.concatenate([[0], gaps, [len(times)]]) if len(times) else np.zeros(1, np.int64)
    return edges[:-1], edges[1:]


def epoch_windows(times: Integers, usable: Booleans, tiling: Tiling, wanted: EndRange) -> Windows:
    """Return the windows on the grid of the hop that contain any of the samples.

    Args:
        times: [samples] times, ascending; all samples from `Windows.resume` of the range before.
        usable: [samples] whether the sample is Good and has a value.
        tiling: length, hop and sample rate.
        wanted: range of window ends.
    """
    starts, stops = runs(times, tiling.period)
    wanted = wanted.without_pending
    end = touched_ends(times[starts], times[stops - 1], hop=tiling.hop, lookback=tiling.length, wanted=wanted)
    stop = np.searchsorted(times, end)
    inside = np.searchsorted(times, end - tiling.length)
    first = np.maximum(stop - tiling.samples, 0)
    ends_in_time = (stop > 0) & (times[stop - 1] >= end - 1.5 * tiling.period)
    complete = (
        (stop - first == tiling.samples)
        & _same_run(starts, first, stop)
        & (times[first] >= end - tiling.length - tiling.period)
        & (times[first] <= end - tiling.length + 2.5 * tiling.period)
        & ends_in_time
    )
    first = np.where(complete, first, inside)
    begun = times[np.minimum(first, len(times) - 1)] <= end - tiling.length + tiling.period
    unbroken = ends_in_time & begun & (stop > first) & _same_run(starts, first, stop)
    return Windows(
        end=end,
        first=first,
        found=stop - first,
        faults=_faults(complete, ~unbroken, ~_all_usable(usable, first, stop)),
        resume=wanted.until - tiling.length - ceil(tiling.period),
    )


def burst_windows(times: Integers, usable: Booleans, tiling: Tiling, wanted: EndRange) -> Windows:
    """Return the windows that start with the runs of the samples.

    Args:
        times: [samples] times, ascending; all from `Windows.resume` of the range before, or from the start of a run.
        usable: [samples] whether the sample is Good and has a value.
        tiling: length, hop and sample rate.
        wanted: range of window ends.
    """
    starts, stops = runs(times, tiling.period)
    # Only samples before the end of a window decide whether it exists and what is in it.
    places = (stops - starts - 1) // tiling.hop_samples + 1
    first = np.repeat(starts, places) + counters(places) * tiling.hop_samples
    run_stop = np.repeat(stops, places)
    end = times[first] + tiling.length
    stop = np.minimum(np.minimum(first + tiling.samples, run_stop), np.searchsorted(times, end))
    enough = stop - first == tiling.samples
    ends_in_time = times[run_stop - 1] >= end - 1.5 * tiling.period
    exists = enough | ends_in_time | np.isin(first, starts)
    first, stop, run_stop, end, enough = (each[exists] for each in (first, stop, run_stop, end, enough))
    full = enough & (times[stop - 1] >= end - 2.5 * tiling.period)
    chosen = (end > wanted.after) & (end <= wanted.until) & (full | (end <= wanted.ready))
    emitted = int(np.searchsorted(end, wanted.until, side="right"))
    goes_on = (stop < len(times)) & (times[np.minimum(stop, len(times) - 1)] < end)  # in another run
    faults = _faults(full, (stop == run_stop) & goes_on, ~_all_usable(usable, first, stop))
    return Windows(
        end=end[chosen],
        first=first[chosen],
        found=(stop - first)[chosen],
        faults={code: holds[chosen] for code, holds in faults.items()},
        resume=int(times[first[max(emitted - 1, 0)]]) if len(first) else wanted.until,
        partial_windows=_partial_windows(times, first, run_stop, tiling, wanted),
    )


def _partial_windows(times: Integers, first: Integers, run_stop: Integers, tiling: Tiling, wanted: EndRange) -> int:
    """Return the number of runs with samples after their last window whose next window would end in the range."""
    last = np.append(run_stop[1:] != run_stop[:-1], True)[: len(first)]
    rest = (first + tiling.hop_samples)[last & (first + tiling.samples < run_stop)]
    end = times[np.minimum(rest, len(times) - 1)] + tiling.length
    return int(np.sum((end > wanted.after) & (end <= wanted.without_pending.until)))


def _faults(complete: Booleans, gap: Booleans, bad: Booleans) -> Flags:
    return {"gap": ~complete & gap, "length": ~complete & ~gap, "bad_quality": bad}


def _same_run(starts: Integers, first: Integers, stop: Integers) -> Booleans:
    """Return whether the samples first..stop - 1 belong to one run."""
    return np.equal(np.searchsorted(starts, first, side="right"), np.searchsorted(starts, stop - 1, side="right"))


def _all_usable(usable: Booleans, first: Integers, stop: Integers) -> Booleans:
    """Return whether all of usable[first:stop] is true, for each pair."""
    if usable.all():
        return np.ones(len(first), dtype=np.bool_)
    unusable = np.flatnonzero(~usable)
    return np.equal(np.searchsorted(unusable, stop), np.searchsorted(unusable, first))
