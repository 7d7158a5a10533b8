"""The 10 spectral kernels of a vibration window; conventions in `features.kernels.vibration`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from features.define.spec import Floats, ratio
from features.kernels.passes import hann_power, line_sums
from features.kernels.sums import dot, total
from features.kernels.vibration import Waveforms

STANDARD_GRAVITY: Final = 9.80665
ACCELERATION: Final = {"g": STANDARD_GRAVITY, "m/s2": 1.0, "m/s²": 1.0, "m/s^2": 1.0}
"""Unit of acceleration -> m/s² per unit; velocity can be computed from these units."""
_COARSEST: Final = 1.0
"""Largest distance of lines in Hz from which a velocity can be computed."""
_SMALLEST: Final = np.finfo(np.float64).tiny
_NARROW: Final = 1e-4
"""(spread/centroid)² below which mean f² minus centroid² has lost too many digits."""


@dataclass(frozen=True)
class Spectra:
    """The power spectra of a batch of windows, and intermediate results of several kernels, each computed once."""

    power: Floats
    """[windows, 1 + K] power P_k in the point's unit squared; 0 at DC."""
    frequencies: Floats
    """[K] frequencies f_k of the lines in Hz."""
    sample_rate: float
    """Sample rate in Hz."""
    unit: str

    @property
    def lines(self) -> Floats:
        """[windows, K] power p of the lines without DC."""
        return self.power[:, 1:]

    @property
    def resolution(self) -> float:
        """Distance of lines df, in Hz."""
        return float(self.frequencies[0])

    @cached_property
    def _sums(self) -> Floats:
        """[5, windows] the results of `line_sums`; NaN where they overflow."""
        sums = np.empty((len(self.power), 5))
        line_sums(self.power, self.power.view(np.int64), sums)
        sums[~np.isfinite(sums[:, 0])] = np.nan
        return sums.T

    @property
    def total(self) -> Floats:
        """[windows] total power Σp."""
        total: Floats = self._sums[0]
        return total

    @property
    def logarithms(self) -> Floats:
        """[2, windows] Σ ln p and Σ p ln p; where p = 0, ln p is that of the smallest number, so that 0 ln 0 = 0."""
        logarithms: Floats = self._sums[3:]
        return logarithms

    @cached_property
    def centroid(self) -> Floats:
        """[windows] centroid Σf q in Hz, with q = p/Σp."""
        return ratio(self._sums[1], self.total) * self.resolution

    @property
    def mean_square_frequency(self) -> Floats:
        """[windows] mean square frequency Σf² q in Hz²."""
        return ratio(self._sums[2], self.total) * (self.resolution * self.resolution)

    def band(self, low: float, high: float, *, closed: bool = False) -> slice | None:
        """Return the slice of `lines` with low <= f_k < high (<= high if `closed`), in Hz; None if it is unresolved."""
        if low < 3 * self.resolution or high > 0.45 * self.sample_rate:
            return None
        start = np.searchsorted(self.frequencies, low, side="left")
        return slice(start, np.searchsorted(self.frequencies, high, side="right" if closed else "left"))


def spectra(batch: Waveforms) -> Spectra:
    """Return the energy-corrected power spectra of windows [windows, N]."""
    scale, frequencies = _scale(batch.size, batch.sample_rate)
    transform = batch.transform
    power = batch.scratch.array("power", transform.shape, np.float64)
    hann_power(transform.view(np.float64), scale, power)
    # The line after the last one is the conjugate of the line before the last one, or of the last one itself.
    even = batch.size % 2 == 0
    last = transform[:, -1] / 2 - (transform[:, -2] + transform[:, -2 if even else -1].conj()) / 4
    power[:, 0] = 0
    power[:, -1] = (
        scale * np.square(np.abs(last)) / (2 if even else 1)
    )  # Nyquist has no counterpart among the negative frequencies
    return Spectra(power, frequencies, batch.sample_rate, batch.unit)


@lru_cache(maxsize=8)
def _scale(size: int, sample_rate: float) -> tuple[float, Floats]:
    """Return 2/(N Σw²), the factor from |X_k|² to P_k for the periodic Hann window (Σw² = 3N/8); and f_k, no DC."""
    frequencies = np.arange(1, size // 2 + 1) * sample_rate / size
    frequencies.setflags(write=False)
    return 16 / (3 * size * size), frequencies


def band_rms(batch: Spectra, *, low: float, high: float) -> Floats:
    """Return [windows] the RMS of the band low <= f_k < high in Hz, sqrt(ΣP_k), in the samples' unit."""
    band = batch.band(low, high)
    return _undefined(batch) if band is None else np.sqrt(total(batch.lines[:, band]))


def velocity_rms(batch: Spectra, *, low: float, high: float, coarsest: float = _COARSEST) -> Floats:
    """Return [windows] sqrt(Σ P_k (1000 a/(2π f_k))²) over low <= f_k <= high in mm/s; a is m/s² per unit.

    The window spreads a tone near the lower end over three lines; integration weights the lowest most, and the band
    cuts it off. With df = 3.3 Hz a tone of 10.5 Hz is 60 % too low, with df = 1 Hz within 1 %. Hence df <= 1 Hz, and in
    proportion for a lower end: that is `coarsest`.
    """
    return _integrated(batch, low, high, coarsest, 1)


def displacement(batch: Spectra, *, low: float, high: float, coarsest: float) -> Floats:
    """Return [windows] 2 sqrt(2 ΣP_k (1e6 a/(2π f_k)²)²) over low <= f_k <= high in µm; a is m/s² per unit.

    Of a tone it is the peak to peak displacement. `coarsest` is as for `velocity_rms`.
    """
    micrometres: Floats = _integrated(batch, low, high, coarsest, 2) * (1e3 * 2 * np.sqrt(2))
    return micrometres


def _integrated(batch: Spectra, low: float, high: float, coarsest: float, times: int) -> Floats:
    """Return [windows] the RMS in a band after integrating an acceleration so many times, in mm/s or mm."""
    band = batch.band(low, high, closed=True)
    if band is None or batch.resolution > coarsest or batch.unit not in ACCELERATION:
        return _undefined(batch)
    weights = (1e3 * ACCELERATION[batch.unit] / (2 * np.pi * batch.frequencies[band]) ** times) ** 2
    return np.sqrt(dot(batch.lines[:, band], weights))


def zone(batch: Spectra, *, limits: Sequence[float]) -> Floats:
    """Return [windows] 1 + how many of the limits, ascending in mm/s, the velocity RMS from 10 to 1000 Hz exceeds."""
    velocity = velocity_rms(batch, low=10, high=1000)
    return np.where(np.isnan(velocity), np.nan, 1.0 + np.searchsorted(limits, velocity))


def repeated(batch: Spectra, *, text: str) -> npt.NDArray[np.object_]:
    """Return [windows] the text, once each."""
    return np.full(len(batch.power), text, np.object_)


def centroid(batch: Spectra) -> Floats:
    """Return [windows] the centre of power Σf q, in Hz."""
    return batch.centroid


def spread(batch: Spectra) -> Floats:
    """Return [windows] the width of the power around its centre, sqrt(Σ(f - centroid)² q), in Hz."""
    square = batch.centroid * batch.centroid
    variance = batch.mean_square_frequency - square
    narrow = variance < _NARROW * square
    if narrow.any():
        distance = batch.frequencies - batch.centroid[narrow, None]
        variance[narrow] = dot(batch.lines[narrow], distance * distance) / batch.total[narrow]
    return np.sqrt(variance)


def entropy(batch: Spectra) -> Floats:
    """Return [windows] the entropy -Σ q ln q/ln K: 0 for one line, 1 for equal ones, 1 - 0.42/ln K for white noise."""
    _, weighted = batch.logarithms
    nats = np.log(np.maximum(batch.total, _SMALLEST)) - ratio(weighted, batch.total)
    return nats / float(np.log(len(batch.frequencies)))


def flatness(batch: Spectra) -> Floats:
    """Return [windows] the flatness exp(mean ln p)/mean p: 0 for one line, 1 for equal ones, 0.56 for white noise."""
    count = len(batch.frequencies)
    summed, _ = batch.logarithms
    return ratio(np.exp(summed / count), batch.total / count)


def peak_frequency(batch: Spectra) -> Floats:
    """Return [windows] the frequency of the strongest line, in Hz."""
    largest = batch.power.argmax(axis=1)  # NumPy would copy `lines`, which are not contiguous
    return np.where(batch.total > 0, batch.frequencies[largest - 1], np.nan)


def _undefined(batch: Spectra) -> Floats:
    return np.full(len(batch.lines), np.nan)
