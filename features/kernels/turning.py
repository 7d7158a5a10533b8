"""Does a spectrum contradict the speed that is given for the shaft? Only where it is sure.

Near each of the first six multiples of the given speed, within 10 %, the strongest line is a candidate if it stands 20
times above the floor. At least four candidates that are multiples of one speed, to 0.4 %, and of the given speed hardly
a line: then the shaft turned at that speed. It is no contradiction if the two speeds agree to 2 %, for lines of shaft
and bearing are found then, or if that speed is a mains frequency, for 50, 100, 150 Hz … may be hum.

No window of nine CWRU, four MFPT and ten IMS recordings contradicts a speed within 1.5 % of the true one. Of the
two-second windows of CWRU that are given a speed 3 or 6 % off, 89 of 156 contradict it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from features.define.spec import Floats
from features.kernels.lines import Places, at, floor, strongest, tone
from features.kernels.spectrum import Spectra
from features.windows.stretches import Booleans

_TOLERANCE: Final = 0.02
"""Relative difference up to which speeds agree: beyond it, the search for lines of shaft and bearing misses them."""
_MULTIPLES: Final = np.arange(1.0, 7.0)
_WIDTH: Final = 0.1
"""Relative half-width of the search for a candidate; the floor is taken from twice as far."""
_LEAST_LINES: Final = 2.0
"""Smallest half-width in lines: with fewer there is no choice."""
_PROMINENCE: Final = 20.0
"""Smallest power of a candidate over that of the floor."""
_PRESENT: Final = 10.0
"""The same of a line at a multiple of the given speed."""
_LOBE: Final = 3.0
"""Lines from which on two tones under a Hann window are told apart."""
_AGREE: Final = 0.004
_ENOUGH: Final = 4
_MAINS: Final = np.array([50.0, 60.0, 100.0, 120.0])
_AROUND: Final = np.array([-1, 0, 1])


def contradicted(power: Spectra, shaft: Floats) -> Booleans:
    """Return [windows] whether the shaft certainly turned at another speed than the given one.

    Args:
        power: power spectra of the windows.
        shaft: [windows] the given speed in Hz, NaN where unknown.
    """
    turns = shaft / power.resolution
    place = turns[:, None] * _MULTIPLES
    known = (_WIDTH * place >= _LEAST_LINES) & ((1 + 2 * _WIDTH) * place < power.power.shape[1] - 2)
    if (known.sum(axis=1) < _ENOUGH).all():
        return np.zeros(len(shaft), np.bool_)
    place = np.where(known, place, np.nanmin(place[known]))
    speeds, base = _candidates(power.power, place)
    found = _agreeing(np.where(known, speeds, np.nan))
    own = at(power.power, np.rint(place).astype(np.int64)[..., None] + _AROUND).max(axis=2) > _PRESENT * base
    differs = np.abs(found / turns - 1) > _TOLERANCE
    hum = (np.abs(found[:, None] * power.resolution / _MAINS - 1) <= _AGREE).any(axis=1)
    resolved = known & (np.abs(found - turns)[:, None] * _MULTIPLES >= _LOBE)
    absent = (own & resolved).sum(axis=1) * 3 <= resolved.sum(axis=1)
    sure: Booleans = differs & ~hum & absent & resolved.any(axis=1)
    return sure


def _candidates(power: Floats, place: Floats) -> tuple[Floats, Floats]:
    """Return [windows, multiples] the speed in lines that each candidate is a multiple of, NaN without one; floors."""
    low, high = (1 - _WIDTH) * place, (1 + _WIDTH) * place
    largest: Places = strongest(power, low, high)
    base = floor(power, (1 - 2 * _WIDTH) * place, (1 + 2 * _WIDTH) * place)
    line, exact = tone(np.sqrt(power[:, : int(largest.max()) + 2]), largest)
    inside = (largest > np.ceil(low)) & (largest < np.floor(high))  # at an end, it is the skirt of a line outside
    stands_out = inside & (line**2 > _PROMINENCE * base)
    return np.where(stands_out, exact / _MULTIPLES, np.nan), base


def _agreeing(speeds: Floats) -> Floats:
    """Return [windows] the mean of the largest set of speeds that agree with one of them, NaN if it is too small."""
    with np.errstate(invalid="ignore"):
        agree = np.abs(speeds[:, None, :] / speeds[:, :, None] - 1) <= _AGREE  # [windows, of which, others]
    count = agree.sum(axis=2)
    best = agree[np.arange(len(speeds)), count.argmax(axis=1)]
    most = best.sum(axis=1)
    total = np.where(best, speeds, 0).sum(axis=1)
    return np.where(most >= _ENOUGH, total / np.maximum(most, 1), np.nan)
