"""Rows of a device whose timestamps scatter although its samples are regular, or come at another rate.

A data logger that stamps each row with the time of its computer has samples from a regular converter and timestamps
that jitter. From one timestamp to the next, jitter of a tenth of a period looks like gaps; over many rows it averages
out. So a group of rows, between pauses of four periods, is divided only where the *level* of its timestamps steps by
half a period or more, and a straight line is fitted to each part. Where every timestamp lies within 0.42 periods of its
line, and the rates of the lines are the configured one to a thousandth, the samples get the times of the lines. Where
not, samples may be lost or doubled among the jitter, and nobody can know where: the group is kept as a whole, at the
rate at which its rows came on average, and does not fit.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from historian.waveforms.timing import MAX_RATE, SECOND, Floats, Integers

_LEAST: Final = 32
"""Rows in a group of which the clock can be assessed."""
_SIDE: Final = 16
"""Rows on each side of a step that give its level; fewer rows on average between steps are no runs."""
_PAUSE: Final = 4.0
"""Periods from one row to the next that end a group: clipped at three deviations, a jitter of half a period RMS causes
less."""
_STEADY: Final = 0.05
"""Jitter up to this share of a period, RMS, is that of a steady clock."""
_BEND: Final = 1.65
"""Median |second difference| of timestamps with normal jitter, in deviations: 0.6745 · sqrt(6)."""
_ERROR: Final = 0.42
_DRIFT: Final = 0.16
"""Largest distance of a timestamp from its line, and drift of the line within a run, in periods: half a period in
all, since a run's middle lies on the line."""
_RATE: Final = 1e-3
"""Largest relative difference of a line's rate from the configured one; a quartz is off by a tenth of it at most."""
_SLOPE: Final = 64
"""Rows whose line has a slope of its own; of fewer, the rate is the configured one."""
_BLOCK: Final = 2**14
"""Rows of one line: a clock's drift changes with its temperature, but not that soon."""
_CHORD: Final = 2**12
"""Rows whose average rate is taken where nothing fits."""
_LOOKS: Final = 4096
"""Rows of a group that are looked at to assess its clock."""


class Fit(NamedTuple):
    """The runs of a group of rows."""

    first: Integers
    """[runs] index of the first row."""
    start: Integers
    """[runs] microseconds since the epoch."""
    period: Floats
    """[runs] microseconds between samples."""
    fits: bool
    """Whether every timestamp lies within half a period of its sample's time, at the configured rate."""


def unsteady(times: Integers, period: float) -> list[tuple[int, int]]:
    """Return first row and last row + 1 of the groups with jitter, or of another rate, in order.

    Args:
        times: [rows] microseconds since the epoch, ascending.
        period: microseconds between samples, from the tag's configuration.
    """
    if len(times) < _LEAST:
        return []
    usual = max(period, float(np.median(np.diff(times)[:: max(1, len(times) // _LOOKS)])))
    pauses = np.flatnonzero(np.diff(times) >= _PAUSE * usual) + 1
    groups = pairwise([0, *pauses.tolist(), len(times)])
    return [(a, b) for a, b in groups if b - a >= _LEAST and _is_unsteady(times[a:b], period)]


def _is_unsteady(times: Integers, period: float) -> bool:
    stride = max(1, len(times) // _LOOKS)
    before, at, after = times[:-2:stride], times[1:-1:stride], times[2::stride]
    step = float(np.median(after - at))
    bend = max(0.0, float(np.median(np.abs(after - 2 * at + before))) - 1)  # each timestamp is rounded
    if 0.5 * period <= step <= 1.5 * period:
        return bend > _STEADY * _BEND * period
    return bend <= _STEADY * step  # regular, but not at the configured rate


def fitted(times: Integers, period: float) -> Fit | None:
    """Return the runs of a group, or None if its rows come faster than any waveform.

    Args:
        times: [rows] microseconds since the epoch, ascending; a group that `unsteady` returns.
        period: microseconds between samples, from the tag's configuration.
    """
    late = (times - times[0]) - np.arange(len(times)) * period
    steps = _steps(times, late, period)
    if len(steps) * _SIDE > len(times):  # more gaps than runs: another rate, or nothing but jitter
        return _chords(times)
    edges = [edge for part in pairwise([0, *steps, len(times)]) for edge in _blocks(*part)]
    runs = [run for a, b in pairwise([*edges, len(times)]) for run in _along_line(late[a:b], a, period)]
    first, lines = np.array([first for first, _, _ in runs]), np.array([line for _, line, _ in runs])
    joins = np.diff(lines) >= -0.45 * period  # else runs would overlap
    if all(fits for _, _, fits in runs) and joins.all():
        start = times[0] + np.rint(first * period + lines).astype(np.int64)
        return Fit(first, start, np.full(len(first), period), fits=True)
    return _chords(times)


def _steps(times: Integers, late: Floats, period: float) -> list[int]:
    """Return the rows before which samples are missing: the mean of some rows' delay rises by half a period."""
    rows = np.flatnonzero(np.diff(times) >= 1.5 * period) + 1
    summed = np.concatenate(([0.0], np.cumsum(late)))
    low, high = np.maximum(rows - _SIDE, 0), np.minimum(rows + _SIDE, len(times))
    before, after = (summed[rows] - summed[low]) / (rows - low), (summed[high] - summed[rows]) / (high - rows)
    found: list[int] = rows[after - before >= 0.5 * period].tolist()
    return found


def _blocks(first: int, stop: int) -> list[int]:
    """Return the first rows of equal blocks of a part."""
    count = -(-(stop - first) // _BLOCK)
    return [first + (stop - first) * block // count for block in range(count)]


def _along_line(late: Floats, first: int, period: float) -> list[tuple[int, float, bool]]:
    """Return (first row, delay at the configured rate, whether it fits) of the runs along the line of a block."""
    count = len(late)
    place = np.arange(count) - (count - 1) / 2
    slope = float((place * late).sum()) / (count * (count * count - 1.0) / 12) if count >= _SLOPE else 0.0
    level = float(late.mean())
    fits = bool(np.abs(late - level - slope * place).max() <= _ERROR * period) and abs(slope) <= _RATE * period
    pieces = int(min(count, np.ceil(count * abs(slope) / (_DRIFT * period)))) or 1
    edges = [count * piece // pieces for piece in range(pieces + 1)]
    return [(first + a, level + slope * float(place[a] + place[b - 1]) / 2, fits) for a, b in pairwise(edges)]


def _chords(times: Integers) -> Fit | None:
    """Return runs at the average rate of some rows each, without a gap between them."""
    count = len(times)
    pieces = -(-count // _CHORD)
    first = np.array([count * piece // pieces for piece in range(pieces)])
    usual = (times[-1] - times[0]) / (count - 1)  # less than a pause, so that the next group is not overlapped
    ends = np.append(times[first[1:]], times[-1] + usual)
    each = (ends - times[first]) / np.diff(first, append=count)
    return Fit(first, times[first], each, fits=False) if each.min() >= SECOND / MAX_RATE else None
