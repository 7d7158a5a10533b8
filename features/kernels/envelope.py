"""The squared-envelope spectrum, in which the repeated impacts of a bearing fault are lines, and their significance.

1. Take only the lines of the window's FFT from max(1 kHz, 10 f_r) to 0.4 fs, doubled. Their inverse FFT is the analytic
   signal z of that band in few points, without a filter or a Hilbert transform of the full length. With 1.5 times as
   many points as the band has lines, K, |z|² aliases only onto lines above K/2, which are discarded.
   (Randall, "Modern envelope analysis for bearing diagnostics", CMD 2015.)
2. From |z|² with the periodic Hann window w, A_k = 2|FFT|/Σw is the peak amplitude of a periodic modulation, in the
   point's unit squared. The Hann-weighted mean of |z|² is at DC, and A_k / mean is the depth of modulation of the
   band's power: 2 for sharp impacts with silence between them, 2q if impacts carry the share q of the power.
3. A line is the largest A_k within ± max(2 %, 1.5 df) of its expected frequency. Its floor is the median of A_k from
   0.7 to 1.3 times that frequency; its signal-to-noise ratio is the line divided by the floor. For Gaussian noise A_k
   is Rayleigh distributed, so that one A_k exceeds t floors with a probability of 2^(-t²).

Why this band and not the kurtogram's: on real records the most impulsive band is often not the bearing's. One-second
windows of CWRU record 109 (inner race) have K = 10 around 11.7 kHz from stray impulses, and the inner race line there
is 2.5 floors high instead of 64; in MFPT's inner race records such bands have K = 79 and 31, and the line falls from 8
and 30 floors to 4 and 9. It gained nothing on any of 13 records, so the kurtogram is a feature and not a choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from features.define.spec import Complexes, Floats, ratio
from features.kernels.lines import LOBE, at, floor, near, strongest, tone
from features.kernels.passes import weighted_power

LOWEST: Final = 1000.0
"""Lower end of the band in Hz: gears, mains and structure dominate below; a bearing's impacts ring above."""
_TURNS: Final = 10.0
"""Lower end of the band in multiples of the shaft's speed, so that its low harmonics are not in it."""
_TOP: Final = 0.4
"""Upper end of the band as a share of the sample rate, below the edge of the anti-alias filter."""
PERIODS: Final = 10
"""Smallest number of periods in a window, so that a line can be separated from its neighbours and from DC."""
_NEIGHBOURS: Final = (0.7, 1.3)


@dataclass(frozen=True)
class Envelopes:
    """The squared-envelope spectra of a batch of windows."""

    lines: Floats
    """[windows, K/2] A_k from DC, in the point's unit squared."""
    mean: Floats
    """[windows] Hann-weighted mean of |z|², in the point's unit squared."""
    limit: Floats
    """[windows] half the width of the demodulated band, in lines: faster modulations do not fit into it."""
    resolution: float
    """Distance of lines df, in Hz."""


class Line(NamedTuple):
    """The lines found near expected frequencies in each window; NaN where undefined."""

    amplitude: Floats
    """[windows, places] the largest A_k near the expected frequency."""
    snr: Floats
    """[windows, places] amplitude over the floor."""
    frequency: Floats
    """[windows, places] its interpolated frequency in Hz; outside the search if it is the skirt of a larger line."""
    second: Floats
    """[windows, places] the largest A_k within 1.5 df of twice that frequency."""


def envelopes(transform: Complexes, size: int, sample_rate: float, shaft: Floats) -> Envelopes:
    """Return the squared-envelope spectra of windows; those of a rate too low for the band have no lines.

    Args:
        transform: [windows, size//2 + 1] rfft of the windows, mean removed, no window applied.
        size: number of samples in a window, N.
        sample_rate: sample rate in Hz.
        shaft: [windows] speed of the shaft in Hz, NaN where unknown.
    """
    resolution = sample_rate / size
    start, stop = int(np.ceil(LOWEST / resolution)), int(_TOP * size) + 1
    band = transform[:, start:stop]
    lowest = np.maximum(start, np.nan_to_num(_TURNS * shaft / resolution))
    if np.any(lowest > start):
        band = np.where(np.arange(start, start + band.shape[1]) >= lowest[:, None], band, 0)
    lines = _spectrum(band, size)
    return Envelopes(lines, lines[:, 0] / 2, np.maximum(stop - lowest, 0) / 2, resolution)


def _spectrum(band: Complexes, size: int) -> Floats:
    """Return [windows, K/2] A_k, and twice the mean at DC, of the band [windows, K]."""
    from scipy.fft import ifft, next_fast_len, rfft  # takes half a second, which every command would wait for

    count = band.shape[1]
    if count < 2:
        return np.zeros((len(band), 1))
    length = next_fast_len(count + count // 2 + 1)  # one more, because the Hann window spreads what aliases
    squared = np.empty((len(band), length))
    weighted_power(ifft(band, length, axis=1).view(np.float64), _hann(length) * (2 * length / size) ** 2, squared)
    return np.abs(rfft(squared, axis=1)[:, : count // 2])


@lru_cache(maxsize=8)
def _hann(length: int) -> Floats:
    """Return 2w/Σw of the periodic Hann window, with which |FFT| is the peak amplitude."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    window *= 2 / window.sum()
    window.setflags(write=False)
    return window


def fault_lines(batch: Envelopes, frequency: Floats) -> Line:
    """Return the lines near expected frequencies.

    A line is undefined without a frequency, in windows with fewer than ten periods of it, if its second harmonic does
    not fit into the band, and without power.

    Args:
        batch: the spectra of the windows.
        frequency: [windows, places] expected frequencies in Hz, NaN where unknown.
    """
    place = frequency / batch.resolution
    highest = 2 * (near(place)[1] + 2) + LOBE  # line that is read, for the second harmonic of a line 2 df outside
    powered = (batch.mean > 0) & (batch.mean < np.inf)
    known = (place >= PERIODS) & (highest < batch.limit[:, None] - 1) & powered[:, None]
    if not known.any():
        return Line(*np.full((len(Line._fields), *place.shape), np.nan))
    place = np.where(known, place, place[known].min())  # any place that can be read; dropped below
    amplitude, exact = tone(batch.lines, strongest(batch.lines, *near(place)))
    noise = floor(batch.lines, *(part * place for part in _NEIGHBOURS))
    second = at(batch.lines, strongest(batch.lines, 2 * exact - LOBE, 2 * exact + LOBE))
    parts = (amplitude, ratio(amplitude, noise), exact * batch.resolution, second)
    return Line(*(np.where(known, part, np.nan) for part in parts))
