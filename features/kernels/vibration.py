"""The 12 time-domain kernels of a vibration window, and their conventions.

Conventions, for this module and for `features.kernels.spectrum`:

* A window is N contiguous samples x[0..N) of one channel in its own unit (g, m/s²); fs is the configured sample rate,
  never derived from timestamps. Windows are all-or-nothing: a kernel never sees a gap, a null or a bad sample.
* Everything is float64, and the same window gives the same bits whatever other windows are in the batch.
* The mean is removed for everything except `mean` itself, c = x - mean: sensor bias is not vibration. Hence RMS is the
  standard deviation. A window of equal samples has c = 0 exactly.
* Moments are biased (ddof 0); kurtosis is Pearson's (3 for a normal signal).
* Spectra: X = rfft(c·w) with the periodic Hann window w; P_k = a_k |X_k|² / (N Σw²), with a_k = 2 except 1 at DC and,
  for even N, at Nyquist (energy-corrected: ΣP_k is the mean square of the windowed signal, and equals
  `scipy.signal.welch(x, fs, "hann", nperseg=N, detrend="constant") · fs/N`). f_k = k·fs/N, df = fs/N.
* A band [lo, hi) is half-open, so that adjoining bands add up: Σ band² = total²; the velocity's
  includes its upper end, as in the standards. It needs lo >= 3 df (below that, the
  Hann window smears mean and trend into it) and hi <= 0.45 fs (above that, the anti-alias filter attenuates it).
* Whatever is undefined is NaN here and null in a feature row: ratios of a constant signal, bands the window cannot
  resolve, velocity of something that is not an acceleration. Nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from features.define.spec import Complexes, Floats, ratio
from features.kernels.passes import window_sums
from features.kernels.scratch import Scratch


@dataclass(frozen=True)
class Waveforms:
    """A batch of complete vibration windows, and intermediate results of several kernels, each computed once."""

    samples: Floats
    """[windows, N] samples in the point's unit."""
    sample_rate: float
    """Sample rate in Hz."""
    unit: str
    scratch: Scratch = field(default_factory=Scratch)
    """Memory of the arrays [windows, N] of this batch; the next batch with the same memory overwrites them."""

    @property
    def size(self) -> int:
        """Number of samples in a window, N."""
        return int(self.samples.shape[1])

    @cached_property
    def _passed(self) -> tuple[Floats, Floats]:
        """[windows, N] c = x - mean, and [10, windows] the results of `window_sums`."""
        place = self.scratch.array("centred", self.samples.shape, np.float64)
        sums = np.empty((len(place), 10))
        window_sums(np.ascontiguousarray(self.samples), place, sums)
        return place, np.ascontiguousarray(sums.T)

    @property
    def _sums(self) -> Floats:
        return self._passed[1]

    @property
    def centred(self) -> Floats:
        """[windows, N] c = x - mean."""
        return self._passed[0]

    @property
    def lowest(self) -> Floats:
        """[windows]"""
        found: Floats = self._sums[0]
        return found

    @property
    def highest(self) -> Floats:
        """[windows]"""
        found: Floats = self._sums[1]
        return found

    @property
    def mean(self) -> Floats:
        """[windows] within the samples' range, despite rounding."""
        found: Floats = np.clip(self._sums[2] + self._sums[3], self.lowest, self.highest)
        return found

    @cached_property
    def moments(self) -> Floats:
        """[3, windows] m2, m3, m4 = Σc²/N, Σc³/N, Σc⁴/N."""
        found: Floats = self._sums[4:7] / self.size
        return found

    @cached_property
    def magnitudes(self) -> Floats:
        """[2, windows] Σ|c|/N, Σsqrt|c|/N."""
        found: Floats = self._sums[7:9] / self.size
        return found

    @property
    def crossings(self) -> Floats:
        """[windows] the number of sign changes of c; zero counts as positive."""
        found: Floats = self._sums[9]
        return found

    @cached_property
    def transform(self) -> Complexes:
        """[windows, N//2 + 1] rfft(c), without a window: all spectra are made from it."""
        place = self.scratch.array("transform", (len(self.samples), self.size // 2 + 1), np.complex128)
        return np.fft.rfft(self.centred, axis=1, out=place)

    @cached_property
    def rms(self) -> Floats:
        """[windows] sqrt(m2)."""
        rms: Floats = np.sqrt(self.moments[0])
        return rms

    @cached_property
    def peak(self) -> Floats:
        """[windows] max|c|."""
        _, _, mean, correction = self._sums[:4]
        peak: Floats = np.maximum((self.highest - mean) - correction, (mean - self.lowest) + correction)
        return peak


def mean(batch: Waveforms) -> Floats:
    """Return [windows] the arithmetic mean Σx/N, in the samples' unit."""
    return batch.mean


def rms_ac(batch: Waveforms) -> Floats:
    """Return [windows] the RMS without the mean, sqrt(Σc²/N), in the samples' unit."""
    return batch.rms


def peak(batch: Waveforms) -> Floats:
    """Return [windows] the largest excursion from the mean, max|c|, in the samples' unit."""
    return batch.peak


def peak_to_peak(batch: Waveforms) -> Floats:
    """Return [windows] the peak to peak value max x - min x, in the samples' unit."""
    return batch.highest - batch.lowest


def crest(batch: Waveforms) -> Floats:
    """Return [windows] the crest factor peak/rms_ac."""
    return ratio(batch.peak, batch.rms)


def skewness(batch: Waveforms) -> Floats:
    """Return [windows] the skewness m3/m2^1.5."""
    second, third, _ = batch.moments
    return ratio(third, second * batch.rms)


def kurtosis(batch: Waveforms) -> Floats:
    """Return [windows] the kurtosis m4/m2², 3 for a normal signal."""
    second, _, fourth = batch.moments
    return ratio(fourth, second * second)


def shape(batch: Waveforms) -> Floats:
    """Return [windows] the shape factor rms_ac/mean|c|."""
    return ratio(batch.rms, batch.magnitudes[0])


def impulse(batch: Waveforms) -> Floats:
    """Return [windows] the impulse factor peak/mean|c|."""
    return ratio(batch.peak, batch.magnitudes[0])


def clearance(batch: Waveforms) -> Floats:
    """Return [windows] the clearance factor peak/(mean sqrt|c|)²."""
    _, roots = batch.magnitudes
    return ratio(batch.peak, roots * roots)


def crossing_rate(batch: Waveforms) -> Floats:
    """Return [windows] zero crossings per second: sign changes of c times fs/(N-1); zero counts as positive."""
    rate: Floats = batch.crossings * (batch.sample_rate / (batch.size - 1))
    return rate
