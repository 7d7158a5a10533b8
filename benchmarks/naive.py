"""The 22 vibration features of one window, as one would write them down first: one window, one feature at a time.

The yardstick of `benchmarks/features.py`, and the truth of the tests of the kernels: nothing here is shared with them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import signal, stats

GRAVITY: Final = 9.80665


def naive_features(window: npt.NDArray[np.float64], sample_rate: float, *, unit: str = "g") -> dict[str, float]:
    """Name -> value of every feature of one window [samples] that is not constant; NaN where undefined."""
    return time_features(window, sample_rate) | spectral_features(window, sample_rate, unit=unit)


def time_features(window: npt.NDArray[np.float64], sample_rate: float) -> dict[str, float]:
    """The 12 of the time domain, of a window that may be constant."""
    centred = window - np.mean(window)
    rms = float(np.std(window))
    peak = float(np.max(np.abs(centred)))
    features = {
        "mean": float(np.mean(window)),
        "std": rms,
        "rms_ac": rms,
        "peak": peak,
        "p2p": float(np.ptp(window)),
        "zero_crossing_rate": int(np.sum(np.diff(np.signbit(centred)))) * sample_rate / (len(window) - 1),
    }
    if np.ptp(window) == 0:
        return features | dict.fromkeys(("crest", "skewness", "kurtosis", "shape", "impulse", "clearance"), np.nan)
    return features | {
        "crest": peak / rms,
        "skewness": float(stats.skew(window)),
        "kurtosis": float(stats.kurtosis(window, fisher=False)),
        "shape": rms / float(np.mean(np.abs(centred))),
        "impulse": peak / float(np.mean(np.abs(centred))),
        "clearance": peak / float(np.mean(np.sqrt(np.abs(centred)))) ** 2,
    }


def spectral_features(window: npt.NDArray[np.float64], sample_rate: float, *, unit: str = "g") -> dict[str, float]:
    """The 10 of the spectrum, of a window that is not constant."""
    count = len(window)
    frequency, density = signal.welch(window, sample_rate, "hann", nperseg=count, noverlap=0, detrend="constant")
    resolution = sample_rate / count
    power = density * resolution
    features = {}
    for low, high in ((10, 1000), (1000, 2000), (2000, 5000), (5000, 10000)):
        resolved = low >= 3 * resolution and high <= 0.45 * sample_rate
        within = (frequency >= low) & (frequency < high)
        features[f"band_rms_{low}_{high}"] = float(np.sqrt(np.sum(power[within]))) if resolved else np.nan
    per_unit = {"g": GRAVITY, "m/s2": 1.0}.get(unit, np.nan)
    within = (frequency >= 10) & (frequency <= 1000)
    velocity = power[within] * (1e3 * per_unit / (2 * np.pi * frequency[within])) ** 2
    resolved = resolution <= 1 and sample_rate >= 1000 / 0.45
    features["vel_rms_10_1000"] = float(np.sqrt(np.sum(velocity))) if resolved else np.nan
    frequency, power = frequency[1:], power[1:]
    share = power / np.sum(power)
    centroid = float(np.sum(frequency * share))
    return features | {
        "centroid": centroid,
        "spread": float(np.sqrt(np.sum((frequency - centroid) ** 2 * share))),
        "entropy": float(stats.entropy(share) / np.log(len(share))),
        "flatness": float(stats.gmean(power) / np.mean(power)),
        "peak_freq": float(frequency[np.argmax(power)]),
    }
