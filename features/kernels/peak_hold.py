"""Peak-hold demodulation, known by trade names such as PeakVue: short shocks keep their height however slow the shaft.

1. The lines of the window's FFT below max(1 kHz, 10 f_r) are removed; the inverse FFT is the high-passed signal h.
2. The largest |h| of each block of M samples is held, with M such that the blocks come at 2.56 kHz or a little less.
   The height of a shock remains, where averaging or filtering to that rate would flatten it.
3. The amplitude spectrum 2|FFT|/Σw of the held values, mean removed, periodic Hann w, has the lines of faults; they are
   searched as in `features.kernels.envelope`.

Source: Robinson, "Peak-based demodulation (PeakVue)", Emerson white paper (2001); Lacey, "The role of vibration
monitoring in predictive maintenance", Schaeffler (2010).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from features.define.spec import Complexes, Floats
from features.kernels.envelope import LOWEST, Envelopes

_RATE: Final = 2_560.0
"""Held values a second at most: faults up to a kilohertz fit into it."""
_TURNS: Final = 10.0


def held_peaks(transform: Complexes, size: int, sample_rate: float, shaft: Floats) -> Floats:
    """Return [windows, blocks] the largest |h| of each block.

    Args:
        transform: [windows, size//2 + 1] rfft of the windows, mean removed, no window applied.
        size: number of samples in a window, N.
        sample_rate: Hz.
        shaft: [windows] speed of the shaft in Hz, NaN where unknown.
    """
    lowest = np.maximum(LOWEST, np.nan_to_num(_TURNS * shaft))
    frequencies = np.arange(transform.shape[1]) * (sample_rate / size)
    passed = np.where(frequencies >= lowest[:, None], transform, 0)
    block = block_of(sample_rate)
    high = np.abs(np.fft.irfft(passed, size, axis=1))[:, : size // block * block]
    held: Floats = high.reshape(len(high), -1, block).max(axis=2)
    return held


def block_of(sample_rate: float) -> int:
    """Return the samples of which the largest is held, M."""
    return int(np.ceil(sample_rate / _RATE))


def held_spectra(held: Floats, sample_rate: float) -> Envelopes:
    """Return the amplitude spectra of held peaks [windows, blocks], as envelopes in which fault lines are searched."""
    size, rate = held.shape[1], sample_rate / block_of(sample_rate)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / max(size, 1))
    mean = held.mean(axis=1) if size else np.zeros(len(held))
    lines: Floats = np.abs(np.fft.rfft((held - mean[:, None]) * window, axis=1)) * (2 / max(window.sum(), 1))
    return Envelopes(lines, mean, np.full(len(held), lines.shape[1] - 1.0), rate / max(size, 1))
