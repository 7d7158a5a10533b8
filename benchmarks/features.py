"""How fast the vibration kernels are, against a naive loop and against the bare FFT, which is their ceiling.

Both sides run over the same windows, turn by turn in one run, so that a busy machine slows both. Prints JSON lines;
`ratio` is our windows per second over theirs. Run it with `python -m benchmarks.features`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import numpy.typing as npt
from scipy.fft import rfft

from benchmarks.naive import naive_features
from features.rows import waveform_values
from features.windows import Tiling

_SAMPLE_RATE = 25_600
_ROUNDS = 9


def _signal(samples: int, windows: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=(windows, samples))


def _ours(windows: npt.NDArray[np.float64]) -> None:
    count, samples = windows.shape
    length = round(samples * 1e6 / _SAMPLE_RATE)
    waveform_values(windows.ravel(), np.arange(count) * samples, Tiling(length, length, _SAMPLE_RATE), "g")


def _naive(windows: npt.NDArray[np.float64]) -> None:
    for window in windows:
        naive_features(window, _SAMPLE_RATE)


def _compare(
    name: str, windows: npt.NDArray[np.float64], other: Callable[[npt.NDArray[np.float64]], object], *, sample: int = 1
) -> None:
    """Prints one line; `other` gets one window of every `sample`, since the naive loop is slow."""
    turns = [(_seconds(_ours, windows), _seconds(other, windows[::sample]) * sample) for _ in range(1 + _ROUNDS)][1:]
    ours, theirs = (median(side) for side in zip(*turns, strict=True))
    ratio = median(their / our for our, their in turns)
    record = {"name": name, "ratio": ratio, "windows_per_second": len(windows) / ours, "other": len(windows) / theirs}
    print(json.dumps({key: round(value, 3) if isinstance(value, float) else value for key, value in record.items()}))


def _seconds(work: Callable[[npt.NDArray[np.float64]], object], windows: npt.NDArray[np.float64]) -> float:
    start = perf_counter()
    work(windows)
    return perf_counter() - start


if __name__ == "__main__":
    short, long = _signal(2048, 1024), _signal(25_600, 96)
    _compare("features_2048_vs_naive", short, _naive, sample=16)
    _compare("features_2048_vs_rfft", short, rfft)
    _compare("features_25600_vs_rfft", long, rfft)
