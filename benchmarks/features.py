"""How fast the vibration features are compared with other implementations, and with the bare FFT, their upper bound.

Both sides run over the same windows, turn by turn in one run, so that a busy machine slows both. Prints JSON lines;
`ratio` is our windows per second over theirs. Run it with `python -m benchmarks.features`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Final

import numpy as np
import tsfel
from scipy import signal
from scipy.fft import rfft

from benchmarks.naive import naive_features
from features.compute.rows.kernel_values import waveform_values
from features.define.spec import Complexes, Floats
from features.kernels.envelope import envelopes
from features.windows.tiling import Tiling

Work = Callable[[Floats], object]
"""Work on an array of windows, [windows, N]."""

_SAMPLE_RATE: Final = 25_600
_ROUNDS: Final = 9
_TSFEL: Final = {
    "statistical": (
        "Mean",
        "Standard deviation",
        "Root mean square",
        "Max",
        "Peak to peak distance",
        "Skewness",
        "Kurtosis",
    ),
    "temporal": ("Zero crossing rate",),
    "spectral": ("Max power spectrum", "Spectral centroid", "Spectral spread", "Spectral entropy"),
}
"""The 12 of the 22 features that tsfel has too, though not all by the same conventions."""
_BAND: Final = (1_000, 0.4 * _SAMPLE_RATE)
_CHUNK: Final = 8


def _noise(samples: int, windows: int) -> Floats:
    return np.random.default_rng(0).normal(size=(windows, samples))


def _features(windows: Floats) -> None:
    count, samples = windows.shape
    length = round(samples * 1e6 / _SAMPLE_RATE)
    waveform_values(windows.ravel(), np.arange(count) * samples, Tiling(length, length, _SAMPLE_RATE), "g")


def _naive(windows: Floats) -> None:
    for window in windows:
        naive_features(window, _SAMPLE_RATE)


def _tsfel() -> Work:
    domains = tsfel.get_features_by_domain()
    wanted = {domain: {name: domains[domain][name] for name in names} for domain, names in _TSFEL.items()}

    def work(windows: Floats) -> None:
        size = windows.shape[1]
        tsfel.time_series_features_extractor(
            wanted, windows.ravel(), fs=_SAMPLE_RATE, window_size=size, n_jobs=None, verbose=0
        )

    return work


def _transform(windows: Floats) -> Complexes:
    made: Complexes = rfft(windows - windows.mean(axis=1, keepdims=True), axis=1)
    return made


def _envelopes_of(transforms: Complexes, size: int) -> None:
    """Band, short inverse FFT, FFT."""
    for start in range(0, len(transforms), _CHUNK):
        chunk = transforms[start : start + _CHUNK]
        envelopes(chunk, size, _SAMPLE_RATE, np.full(len(chunk), 30.0))


def _envelopes(windows: Floats) -> None:
    for start in range(0, len(windows), _CHUNK):
        _envelopes_of(_transform(windows[start : start + _CHUNK]), windows.shape[1])


def _hilbert(windows: Floats) -> None:
    """The textbook way: band-pass forward and backward, Hilbert transform, square, window, FFT."""
    sections = signal.butter(4, _BAND, "bandpass", fs=_SAMPLE_RATE, output="sos")
    hann = signal.windows.hann(windows.shape[1], sym=False)
    for start in range(0, len(windows), _CHUNK):
        filtered = signal.sosfiltfilt(sections, windows[start : start + _CHUNK], axis=1)
        squared = np.abs(signal.hilbert(filtered, axis=1)) ** 2
        rfft((squared - squared.mean(axis=1, keepdims=True)) * hann, axis=1)


def _compare(name: str, ours: Work, theirs: Work, windows: Floats, *, sample: int = 1) -> None:
    """Print one line; a slow `theirs` gets only one window of every `sample`, and its time is scaled."""
    turns = [(_seconds(ours, windows), _seconds(theirs, windows[::sample]) * sample) for _ in range(1 + _ROUNDS)][1:]
    our, their = (median(side) for side in zip(*turns, strict=True))
    ratio = median(slow / fast for fast, slow in turns)
    record = {"name": name, "ratio": ratio, "windows_per_second": len(windows) / our, "other": len(windows) / their}
    print(json.dumps({key: round(value, 3) if isinstance(value, float) else value for key, value in record.items()}))


def _seconds(work: Work, windows: Floats) -> float:
    start = perf_counter()
    work(windows)
    return perf_counter() - start


if __name__ == "__main__":
    short, long = _noise(2_048, 1_024), _noise(25_600, 96)
    _compare("features_2048_vs_naive", _features, _naive, short, sample=16)
    _compare("features_2048_vs_tsfel", _features, _tsfel(), short, sample=32)
    _compare("features_2048_vs_rfft", _features, rfft, short)
    _compare("features_25600_vs_rfft", _features, rfft, long)
    transforms = _transform(long)  # the job has made them for the spectral features
    _compare("envelope_vs_hilbert", lambda windows: _envelopes_of(transforms, windows.shape[1]), _hilbert, long)
    _compare("envelope_with_its_fft_vs_hilbert", _envelopes, _hilbert, long)
