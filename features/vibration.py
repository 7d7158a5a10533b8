"""The 12 time-domain kernels of a vibration window, and the one place where their conventions are written down.

Conventions, for this module and for `features.spectrum`:

* A window is N contiguous samples x[0..N) of one channel in its own unit (g, m/s²); fs is the configured sample rate,
  never derived from timestamps. Windows are all-or-nothing: a kernel never sees a gap, a null or a bad sample.
* Everything is float64, and the same window gives the same bits whatever windows stand around it in the batch.
* The mean is removed before everything but `mean` itself, c = x - mean: sensor bias is not vibration. Hence RMS is the
  standard deviation. A window of equal samples has c = 0 exactly.
* Moments are biased (ddof 0); kurtosis is Pearson's (3 for a normal signal).
* Spectra: X = rfft(c·w) with the periodic Hann window w; P_k = a_k |X_k|² / (N Σw²), with a_k = 2 except 1 at DC and,
  for even N, at Nyquist (energy-corrected: ΣP_k is the mean square of the windowed signal, and equals
  `scipy.signal.welch(x, fs, "hann", nperseg=N, detrend="constant") · fs/N`). f_k = k·fs/N, df = fs/N.
* A band [lo, hi) is half-open, so that adjoining bands add up: Σ band² = total². It needs lo >= 3 df (below that the
  Hann window has smeared the mean and trend into it) and hi <= 0.45 fs (above that the anti-alias filter has eaten it).
* Whatever is undefined is NaN here and null in a feature row: ratios of a constant signal, bands the window cannot
  resolve, velocity of something that is not an acceleration. Nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.spec import Floats, each_window, ratio


@dataclass(frozen=True)
class Waveforms:
    """A batch of complete vibration windows, and what several kernels need of it, computed once."""

    samples: Floats
    """[windows, N], in the point's unit."""
    sample_rate: float
    """Hz."""
    unit: str

    @property
    def size(self) -> int:
        """N."""
        return int(self.samples.shape[1])

    @cached_property
    def highest(self) -> Floats:
        """[windows]"""
        return each_window(np.maximum, self.samples)

    @cached_property
    def lowest(self) -> Floats:
        """[windows]"""
        return each_window(np.minimum, self.samples)

    @cached_property
    def mean(self) -> Floats:
        """[windows]; rounding cannot push it outside the samples' range, so a constant signal has c = 0."""
        return np.clip(each_window(np.add, self.samples) / self.size, self.lowest, self.highest)

    @cached_property
    def centred(self) -> Floats:
        """[windows, N] c = x - mean."""
        return self.samples - self.mean[:, None]

    @cached_property
    def squares(self) -> Floats:
        """[windows, N] c²."""
        return self.centred * self.centred

    @cached_property
    def magnitude(self) -> Floats:
        """[windows, N] |c|."""
        return np.abs(self.centred)

    @cached_property
    def variance(self) -> Floats:
        """[windows] m2 = Σc²/N."""
        return each_window(np.add, self.squares) / self.size

    @cached_property
    def mean_magnitude(self) -> Floats:
        """[windows] Σ|c|/N."""
        return each_window(np.add, self.magnitude) / self.size

    @cached_property
    def peak(self) -> Floats:
        """[windows] max|c|."""
        return np.maximum(self.highest - self.mean, self.mean - self.lowest)


def mean(batch: Waveforms) -> Floats:
    """Σx/N."""
    return batch.mean


def rms_ac(batch: Waveforms) -> Floats:
    """sqrt(Σc²/N)."""
    return np.sqrt(batch.variance)


def peak(batch: Waveforms) -> Floats:
    """max|c|."""
    return batch.peak


def peak_to_peak(batch: Waveforms) -> Floats:
    """max x - min x."""
    return batch.highest - batch.lowest


def crest(batch: Waveforms) -> Floats:
    """peak / rms_ac."""
    return ratio(batch.peak, np.sqrt(batch.variance))


def skewness(batch: Waveforms) -> Floats:
    """m3 / m2^1.5."""
    third = np.einsum("ij,ij->i", batch.squares, batch.centred) / batch.size
    return ratio(third, batch.variance * np.sqrt(batch.variance))


def kurtosis(batch: Waveforms) -> Floats:
    """m4 / m2²."""
    fourth = np.einsum("ij,ij->i", batch.squares, batch.squares) / batch.size
    return ratio(fourth, batch.variance * batch.variance)


def shape(batch: Waveforms) -> Floats:
    """rms_ac / mean|c|."""
    return ratio(np.sqrt(batch.variance), batch.mean_magnitude)


def impulse(batch: Waveforms) -> Floats:
    """peak / mean|c|."""
    return ratio(batch.peak, batch.mean_magnitude)


def clearance(batch: Waveforms) -> Floats:
    """peak / (mean sqrt|c|)²."""
    roots = each_window(np.add, np.sqrt(batch.magnitude)) / batch.size
    return ratio(batch.peak, roots * roots)


def crossing_rate(batch: Waveforms) -> Floats:
    """fs/(N-1) times the number of sign changes of c; zero counts as positive. Crossings per second."""
    negative = np.signbit(batch.centred)
    crossings = np.count_nonzero(negative[:, 1:] != negative[:, :-1], axis=1)
    rate: Floats = crossings * (batch.sample_rate / (batch.size - 1))
    return rate
