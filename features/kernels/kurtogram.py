"""In which band a signal is the most impulsive: the kurtogram on a 1/3-binary tree of bands, from one FFT.

The lines below 0.45 fs are cut into 1, 2, 3, 4, 6, 8, 12 … equal bands. The complex envelope z of a band is the short
inverse FFT of its lines, and its kurtosis K = <|z|⁴>/<|z|²>² - 2 is 0 for stationary Gaussian noise, -1 for a tone and
large for impulses. < > is the mean over the window weighted with Hann: the edges of a window, where an FFT sees a step
of its own making, weigh nothing. A band holds at least 256 lines, so that K of Gaussian noise scatters by about
sqrt(6/256) = 0.15 and the largest of all bands of noise seldom reaches 0.8.

Source: Antoni, "Fast computation of the kurtogram", MSSP 21 (2007) 108; his filter bank is replaced by exact bands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from scipy.fft import ifft, next_fast_len

from features.define.spec import Complexes, Floats, ratio

LEAST: Final = 256
"""Lines of a band."""

_TOP: Final = 0.45
"""Of the sample rate: above it the anti-alias filter has eaten the signal."""


class Kurtogram(NamedTuple):
    """The most impulsive band of each window; NaN where there is none."""

    maximum: Floats
    """[windows] K."""
    centre: Floats
    """[windows] Hz."""
    width: Floats
    """[windows] Hz."""


def kurtogram(transform: Complexes, size: int, sample_rate: float) -> Kurtogram:
    """Return the most impulsive band of windows.

    Args:
        transform: [windows, size//2 + 1] rfft of the windows, mean removed.
        size: N.
        sample_rate: Hz.
    """
    resolution = sample_rate / size
    top = int(_TOP * size)
    best = Kurtogram(*(np.full(len(transform), np.nan) for _ in Kurtogram._fields))
    for bands in _tree(top):
        lines = top // bands
        level = _kurtoses(transform[:, 1 : 1 + bands * lines].reshape(len(transform), bands, lines))
        place = np.where(np.isnan(level), -np.inf, level).argmax(axis=1)
        largest = np.take_along_axis(level, place[:, None], axis=1)[:, 0]
        better = (largest > best.maximum) | np.isnan(best.maximum)
        best.maximum[better] = largest[better]
        best.centre[better] = ((place[better] + 0.5) * lines + 0.5) * resolution
        best.width[better] = lines * resolution
    undefined = np.isnan(best.maximum)
    best.centre[undefined] = best.width[undefined] = np.nan
    return best


def _tree(top: int) -> Iterator[int]:
    """How many bands there are on each level: 1, 2, 3, 4, 6, 8, 12 …"""
    octave = 1
    while top // octave >= LEAST:
        yield octave
        if octave > 1 and top // (octave + octave // 2) >= LEAST:
            yield octave + octave // 2
        octave *= 2


def _kurtoses(bands: Complexes) -> Floats:
    """[windows, bands, lines] -> [windows, bands] K; NaN where a band has no power."""
    length = next_fast_len(bands.shape[2])
    envelope = ifft(bands, length, axis=2)
    square = np.square(envelope.real)
    square += np.square(envelope.imag)
    weight = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    weight /= weight.sum()
    second = np.einsum("ijk,k->ij", square, weight)
    square *= square
    fourth = np.einsum("ijk,k->ij", square, weight)
    return ratio(fourth, second * second) - 2
