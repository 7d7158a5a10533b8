"""The runs of rows that hold a sample each: rows that follow one another at a fixed rate.

Three kinds of devices are told apart by their timestamps. Those of a steady clock lie within half a period of
start + k / rate; a run ends at a gap, and where the clock has drifted by half a period: then the next run begins half
a period away, so that the two still join. Those of an unsteady clock, and of another rate, are in
`historian.waveforms.jitter`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from historian.waveforms.jitter import fitted, unsteady
from historian.waveforms.timing import Booleans, Floats, Integers

_SMALL: Final = 64
"""Samples looked at first after a run has ended."""
_LARGE: Final = 2**14
"""Samples looked at a time in a long run; intermediate results stay in the CPU caches."""
_STEPS: Final = np.arange(_LARGE, dtype=np.float64)


class Runs(NamedTuple):
    """The runs of one tag."""

    first: Integers
    """[runs] index of the first row."""
    start: Integers
    """[runs] microseconds since the epoch."""
    period: Floats
    """[runs] microseconds between samples."""
    fits: Booleans
    """[runs] whether every timestamp lies within half a period of start + k · period, at the configured rate."""
    dropped: Integers
    """Indices of rows that are too close to the one before; they belong to no run."""


class _Found(NamedTuple):
    """Runs of a steady clock, while they are searched."""

    first: list[int]
    start: list[int]
    dropped: list[int]


def runs_of_rows(times: Integers, period: float) -> Runs:
    """Return the runs of one tag.

    Args:
        times: [rows] microseconds since the epoch, ascending.
        period: microseconds between samples, from the tag's configuration.
    """
    apart = unsteady(times, period)
    edges = [0, *(edge for span in apart for edge in span), len(times)]
    parts = []
    for first, stop in pairwise(edges):
        if first == stop:
            continue
        fit = fitted(times[first:stop], period) if (first, stop) in apart else None
        if fit is not None:
            parts.append(Runs(fit.first, fit.start, fit.period, np.full(len(fit.first), fit.fits), fit.first[:0]))
        else:
            parts.append(_steady(times[first:stop], period))
        parts[-1] = parts[-1]._replace(first=parts[-1].first + first, dropped=parts[-1].dropped + first)
    return parts[0] if len(parts) == 1 else Runs(*map(np.concatenate, zip(*parts, strict=True)))


def _steady(times: Integers, period: float) -> Runs:
    """Return the runs of a steady clock; each pass of the loop looks at many samples or ends a run."""
    half, steps = period / 2, _STEPS * period
    shift = int(half)
    runs = _Found([0], [int(times[0])], [])
    position, size = 0, _SMALL
    while position < len(times):
        first, start = runs.first[-1], runs.start[-1]
        block, passed = times[position : position + size], (position - first) * period
        late = (block - start) - steps[: len(block)]  # lacks `passed`, which the limits have instead
        if late.max() <= passed + half and late.min() >= passed - half:
            position, size = position + len(block), min(8 * size, _LARGE)
            continue
        at = int((np.abs(late - passed) > half).argmax())
        expected, error = passed + float(steps[at]), float(late[at]) - passed
        position, size = position + at, _SMALL
        apart = position > first and times[position] - times[position - 1] >= 1.5 * period
        if error > period or (error > half and apart):  # a gap
            _begin(runs, position, int(times[position]))
        elif error < -2 * shift:
            runs.dropped.append(position)
            if position == first:  # the run has no rows yet, and keeps its start
                runs.first[-1] += 1
            else:
                _begin(runs, position + 1, start + round(expected))
            position += 1
        else:
            _begin(runs, position, start + round(expected) + (shift if error > 0 else -shift))
    if runs.first[-1] == len(times):
        runs.first.pop(), runs.start.pop()
    firsts, starts, dropped = (np.array(each, np.int64) for each in runs)
    return Runs(firsts, starts, np.full(len(firsts), period), np.ones(len(firsts), np.bool_), dropped)


def _begin(runs: _Found, first: int, start: int) -> None:
    """Begin a run, in place of one that has no rows yet."""
    if runs.first[-1] == first:
        runs.first.pop(), runs.start.pop()
    runs.first.append(first)
    runs.start.append(start)
