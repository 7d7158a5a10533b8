"""Which integer counts values are made of: the search for a scale with which int16 loses nothing.

A converter's values are counts * scale, counts / divisor, or decimals that someone printed. A scale that `int16_scale`
finds in a sample is a proposal: `int16_counts` says in which stretches it reproduces every bit.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from historian.waveforms.timing import Floats

MAX_COUNTS: Final = 32_767
"""Largest number of counts; -32,768 is allowed too but needs no search of its own."""
_PROBE: Final = 64
"""Values looked at first: nearly all data without a scale are rejected by so few."""
_FEW: Final = 4
"""Values looked at before those."""
_SAMPLE: Final = 4096
"""Values looked at when those allow a scale."""
_POWERS: Final = 10.0 ** np.arange(7)
_NOISE: Final = 2.0**-30
"""Rounding error of remainders, relative to the largest value: far above the errors of float64, which grow in
Euclid's algorithm, and far below the smallest step that int16 can have, 2**-15."""


class Scale(NamedTuple):
    """How counts become values: counts * scale / divisor, in this order."""

    scale: float
    divisor: float


def int16_scale(values: Floats) -> Scale | None:
    """Find a scale with which values may be int16 counts.

    Args:
        values: of one tag; not finite ones are ignored.

    Returns:
        The scale, or None if a sample of the values shows that there is none.
    """
    probe = _sample(values, _PROBE)
    if _has_no_step(probe[:_FEW].tolist()):
        return None
    with np.errstate(all="ignore"):  # a scale of values near the limits of float64 may be infinite, and then fails
        if not len(probe) or (_decimal(probe) is None and _step(probe) is None):
            return None
        sample = _sample(values, _SAMPLE)
        return _decimal(sample) or _stepped(sample)


def _sample(values: Floats, size: int) -> Floats:
    """Return about `size` finite values, spread evenly."""
    spread = values[:: max(1, len(values) // size)]
    return spread[np.isfinite(spread)].astype(np.float64)


def _has_no_step(few: list[float]) -> bool:
    """Return whether some pair of values shows that there is no step: Euclid's algorithm on two numbers is fast."""
    largest = max(map(abs, few), default=0.0)
    noise, smallest = largest * _NOISE, largest / (MAX_COUNTS + 2)
    for one, other in pairwise(few):
        step, rest = max(abs(one), abs(other)), min(abs(one), abs(other))
        while rest > noise:
            step, rest = rest, abs(math.remainder(step, rest))
        if step < smallest:
            return True
    return False


def _decimal(sample: Floats) -> Scale | None:
    """Return the scale of values with up to six decimals, or None."""
    whole = np.rint(sample * _POWERS[:, None])
    exact = (whole / _POWERS[:, None] == sample).all(axis=1)
    if not exact.any():
        return None
    decimals = int(exact.argmax())
    largest = np.abs(whole[decimals]).max()
    if largest <= MAX_COUNTS:
        return Scale(1.0, float(_POWERS[decimals]))
    if largest > 2**53:
        return None
    common = int(np.gcd.reduce(whole[decimals].astype(np.int64)))
    return Scale(float(common), float(_POWERS[decimals])) if largest / common <= MAX_COUNTS else None


def _step(sample: Floats) -> float | None:
    """Return the step that all values are multiples of, to within rounding, or None if it is too small for int16."""
    distinct = np.unique(np.abs(sample))
    largest, noise = float(distinct[-1]), float(distinct[-1]) * _NOISE
    remainders = np.diff(distinct, prepend=0.0)
    step = largest
    while (
        step * (MAX_COUNTS + 2) >= largest
    ):  # Euclid's algorithm on all remainders at once: each round halves the step
        remainders = remainders[remainders > noise]
        if not len(remainders):
            return step
        step = float(remainders.min())
        remainders = np.abs(remainders - np.rint(remainders / step) * step)
    return None


def _stepped(sample: Floats) -> Scale | None:
    """Return the exact scale or divisor near the step of the values, or None."""
    step = _step(sample)
    if step is None:
        return None
    counts = np.rint(sample / step)
    largest = int(np.abs(counts).argmax())
    scale, divisor = float(sample[largest] / counts[largest]), float(counts[largest] / sample[largest])
    for near in _neighbours(scale):
        if (counts * near == sample).all():
            return Scale(near, 1.0)
    for near in _neighbours(divisor):
        if (counts / near == sample).all():
            return Scale(1.0, near)
    return None


def _neighbours(number: float) -> list[float]:
    """Return the number in twelve digits, which people and data sheets write, and the doubles next to it."""
    below = [float(np.nextafter(number, 0.0))]
    above = [float(np.nextafter(number, np.inf))]
    below.append(float(np.nextafter(below[0], 0.0)))
    above.append(float(np.nextafter(above[0], np.inf)))
    return [float(f"{number:.12g}"), number, below[0], above[0], below[1], above[1]]
