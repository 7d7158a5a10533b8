"""The band in which a signal is the most impulsive: the kurtogram on a 1/3-binary tree of bands, from one FFT.

The lines below 0.45 fs are cut into 1, 2, 3, 4, 6, 8, 12 … equal bands. The complex envelope z of a band is the short
inverse FFT of its lines, and its kurtosis K = <|z|⁴>/<|z|²>² - 2 is 0 for stationary Gaussian noise, -1 for a tone and
large for impulses. < > is the Hann-weighted mean over the window, so that its edges, where the periodic continuation
of an FFT has a step, have no weight. A band has at least 256 lines, so that K of Gaussian noise has a standard
deviation of about sqrt(6/256) = 0.15, and the largest of all bands of noise seldom reaches 0.8.

Source: Antoni, "Fast computation of the kurtogram", MSSP 21 (2007) 108; his filter bank is replaced by exact bands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from features.define.spec import Complexes, Floats, ratio

LEAST: Final = 256
"""Smallest number of lines in a band."""

_TOP: Final = 0.45
"""Highest frequency as a share of the sample rate; above it the anti-alias filter attenuates the signal."""


class Kurtogram(NamedTuple):
    """The most impulsive band of each window; NaN where there is none."""

    maximum: Floats
    """[windows] kurtosis K of the band."""
    centre: Floats
    """[windows] centre frequency of the band in Hz."""
    width: Floats
    """[windows] width of the band in Hz."""


def kurtogram(transform: Complexes, size: int, sample_rate: float) -> Kurtogram:
    """Return the most impulsive band of each window.

    Args:
        transform: [windows, size//2 + 1] rfft of the windows, mean removed.
        size: number of samples in a window, N.
        sample_rate: sample rate in Hz.
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
    """Yield the number of bands on each level: 1, 2, 3, 4, 6, 8, 12 …"""
    octave = 1
    while top // octave >= LEAST:
        yield octave
        if octave > 1 and top // (octave + octave // 2) >= LEAST:
            yield octave + octave // 2
        octave *= 2


def _kurtoses(bands: Complexes) -> Floats:
    """Return [windows, bands] the kurtosis K of bands [windows, bands, lines]; NaN where a band has no power."""
    from scipy.fft import ifft, next_fast_len  # takes half a second, which every command would wait for

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
