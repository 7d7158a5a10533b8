"""A waveform over the shaft's angle instead of time: order tracking and the time-synchronous average.

Where the speed varies, multiples of the shaft's speed smear over several lines of an ordinary spectrum. Sampled at
equal steps of angle, they are sharp again. The speed at each sample is interpolated linearly between measured speeds;
its integral, by trapezoids, is the angle φ(t) in turns. The waveform is read at equal steps of φ by a cubic spline with
not-a-knot ends (`scipy.interpolate.CubicSpline`), at K points a turn for all whole turns of the window, T. K is the
largest power of two up to 0.8 fs over the highest speed, so that the resampling itself does not alias.

* Order n is line nT of the Hann-windowed spectrum over T turns; its amplitude is that of the energy in five lines,
  sqrt(2·ΣP_k), as in `features.kernels.orders`.
* The time-synchronous average is the mean over the T turns: what repeats each turn remains, everything else falls by
  sqrt(T). (McFadden and Toozhy, "Application of synchronous averaging to vibration monitoring of rolling element
  bearings", MSSP 14 (2000) 891; Fyfe and Munck, "Analysis of computed order tracking", MSSP 11 (1997) 187.)
* Sidebands of a gear of z teeth lie at orders z ± 1, 2, 3; their index is the sum of their amplitudes over that of z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.define.spec import Floats
from features.windows.stretches import Integers

TURNS: Final = 5
"""Smallest number of whole turns; with fewer, orders mix with each other and DC."""
_BELOW: Final = 0.8
"""Share of the sample rate that the points of a turn may need at the highest speed."""
_LOBE: Final = np.arange(-2, 3)
_TOP: Final = 0.45
"""Highest order as a share of the points a turn, as for frequencies."""
_SIDES: Final = np.array([-3, -2, -1, 1, 2, 3])


@dataclass(frozen=True, eq=False)
class SpeedCourse:
    """Measured speeds of a shaft."""

    times: Integers
    """[speeds] in microseconds since the epoch, ascending."""
    rpm: Floats
    """[speeds]"""


def shaft_at(
    courses: npt.NDArray[np.object_] | None, mean: Floats, end: Integers, size: int, sample_rate: float
) -> Floats:
    """Return [windows, N] the shaft's speed in Hz at each sample.

    Args:
        courses: [windows] the `SpeedCourse` of each one's machine, None where its speed is fixed; None if all are.
        mean: [windows] mean speed in Hz, NaN where unknown.
        end: [windows] in microseconds since the epoch.
        size: samples in a window, N.
        sample_rate: Hz.
    """
    speed = mean[:, None] * np.ones(size)
    before = (np.arange(size) - size) * (1e6 / sample_rate)
    for course in () if courses is None else dict.fromkeys(courses.tolist()):
        if course is not None and len(course.times):
            which, origin = courses == course, int(course.times[0])  # offsets from it keep fractions of a microsecond
            offsets = (end[which] - origin)[:, None] + before
            measured = np.interp(offsets, (course.times - origin).astype(np.float64), course.rpm) / 60
            speed[which] = np.where(np.isfinite(mean[which])[:, None], measured, np.nan)
    return speed


def over_angle(samples: Floats, shaft: Floats, sample_rate: float) -> Floats | None:
    """Return [turns, K] one window at equal steps of angle; None without speed, or with fewer than five turns.

    Args:
        samples: [N] the window without its mean.
        shaft: [N] speed in Hz at each sample.
        sample_rate: Hz.
    """
    from scipy.interpolate import CubicSpline  # takes 0.7 s, which every command would wait for

    if not np.isfinite(shaft).all() or shaft.min() <= 0:
        return None
    angle = np.concatenate(([0.0], np.cumsum((shaft[1:] + shaft[:-1]) / (2 * sample_rate))))
    turns, points = int(angle[-1]), int(_BELOW * sample_rate / shaft.max())
    if turns < TURNS or points < 2:
        return None
    points = 1 << (points.bit_length() - 1)
    index = np.interp(np.arange(turns * points) / points, angle, np.arange(len(samples), dtype=np.float64))
    resampled: Floats = CubicSpline(np.arange(len(samples)), samples)(index)
    return resampled.reshape(turns, points)


def order_lines(tracked: Floats, orders: Floats) -> Floats:
    """Return [orders] peak amplitudes at multiples of the shaft's speed, NaN above 0.45 of the points of a turn.

    Args:
        tracked: [turns, K] a window over angle.
        orders: multiples of the shaft's speed.
    """
    turns, points = tracked.shape
    size = turns * points
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    power = np.abs(np.fft.rfft(tracked.ravel() * window)) ** 2 * (16 / (3 * size * size))  # Σw² = 3N/8
    place = np.rint(orders * turns).astype(np.int64)
    known = (orders * turns >= TURNS) & (orders + 2 / turns <= _TOP * points)
    lines = power[np.where(known, place, TURNS)[:, None] + _LOBE]
    return np.where(known, np.sqrt(2 * lines.sum(axis=1)), np.nan)


def synchronous_average(tracked: Floats) -> Floats:
    """Return [K] the mean over turns of a window [turns, K] over angle."""
    average: Floats = tracked.mean(axis=0)
    return average


def sideband_index(tracked: Floats, teeth: int) -> tuple[float, float]:
    """Return the amplitude at a gear's mesh order, and the sum of six sidebands over it; NaN where undefined."""
    lines = order_lines(tracked, np.concatenate(([teeth], teeth + _SIDES)).astype(np.float64))
    mesh = float(lines[0])
    return mesh, float(lines[1:].sum() / mesh) if mesh > 0 else float("nan")
