"""The real cepstrum, in which a family of equally spaced lines (harmonics, sidebands) is one peak.

C(τ) = irfft(ln P_k) over the Hann-windowed power P_k of a window; τ, the quefrency, is in seconds, and 1/τ is the
spacing of the family. Without power a line counts as the smallest number. Lines at DC count as the next one, because
the mean is removed. Searched is τ from 2 ms (spacings up to 500 Hz) to a quarter of the window.

Source: Bogert, Healy and Tukey, "The quefrency alanysis of time series for echoes" (1963); Randall, "A history of
cepstrum analysis and its application to mechanical problems", MSSP 97 (2017) 3.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from features.define.spec import Floats
from features.kernels.spectrum import Spectra

_SHORTEST: Final = 2e-3
"""Seconds; below, the cepstrum is the shape of the spectrum and not its lines."""
_LONGEST: Final = 0.25
"""As a share of the window, whose end shows only chance."""
_TINY: Final = np.finfo(np.float64).tiny


def cepstra(batch: Spectra) -> Floats:
    """Return [windows, 2K] the real cepstra of windows with K lines above DC."""
    logarithms = np.log(np.maximum(batch.power, _TINY))
    logarithms[:, 0] = logarithms[:, 1]
    made: Floats = np.fft.irfft(logarithms, axis=1)
    return made


def cepstral_peak(batch: Spectra) -> tuple[Floats, Floats]:
    """Return [windows] the highest peak of the cepstrum and its quefrency in seconds; NaN where there is no range."""
    lines = batch.power.shape[1] - 1
    step = 1 / (2 * lines * batch.resolution)
    low, high = int(np.ceil(_SHORTEST / step)), int(_LONGEST * 2 * lines)
    if high - low < 2:
        return np.full(len(batch.power), np.nan), np.full(len(batch.power), np.nan)
    part = cepstra(batch)[:, low:high]
    highest = part.argmax(axis=1)
    silent = batch.total <= 0
    peak = np.where(silent, np.nan, part[np.arange(len(part)), highest])
    return peak, np.where(silent, np.nan, (low + highest) * step)
