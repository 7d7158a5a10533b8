"""The kurtogram finds the band of an impulsive signal, is low for noise, and agrees with filter and Hilbert."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import signal
from scipy.fft import rfft
from scipy.io import loadmat

from features.define.spec import Floats
from features.kernels.kurtogram import Kurtogram, kurtogram

RATE = 25_600.0


def found(windows: Floats, rate: float = RATE) -> Kurtogram:
    """The kurtogram features of windows [windows, N]."""
    centred = windows - windows.mean(axis=1, keepdims=True)
    return kurtogram(rfft(centred, axis=1), windows.shape[1], rate)


def ringing(centre: float, seed: int) -> Floats:
    """A second of noise with 40 impacts that ring at `centre` Hz, at random times."""
    random = np.random.default_rng(seed)
    size = int(RATE)
    impacts = np.zeros(size)
    impacts[random.integers(0, size, 40)] = 1
    time = np.arange(512) / RATE
    decay = np.exp(-400 * time) * np.sin(2 * np.pi * centre * time)
    wave: Floats = signal.fftconvolve(impacts, decay)[:size] * 8 + random.normal(size=size)
    return wave[None]


@pytest.mark.parametrize("centre", [1_700.0, 4_000.0, 7_300.0])
def test_finds_the_band_of_the_ringing(centre: float) -> None:
    """Its band holds the ringing's frequency and is far more impulsive than noise."""
    best = found(ringing(centre, 1))
    assert abs(best.centre[0] - centre) <= best.width[0] / 2 + 200
    assert best.maximum[0] > 3


def test_noise_is_not_impulsive() -> None:
    """The most impulsive of all bands of Gaussian noise stays below 0.8, in a thousand windows."""
    random = np.random.default_rng(2)
    largest = max(found(random.normal(size=(20, 12_000)), 12_000.0).maximum.max() for _ in range(50))
    assert 0.2 < largest < 0.8


def test_the_step_between_the_window_s_ends_is_not_an_impulse() -> None:
    """A low tone a hundred times the noise, that does not fit the window, does not change the result above it."""
    noise = np.random.default_rng(3).normal(size=(1, 25_600))
    tone = 100 * np.sin(2 * np.pi * 30.25 * np.arange(25_600) / RATE)
    assert found(noise + tone).maximum[0] < 0.8


def test_agrees_with_filter_and_hilbert_on_a_real_bearing(shared_data: Path) -> None:
    """In the band found in record 108, a Butterworth filter and scipy's Hilbert transform give K within 10 %."""
    record = loadmat(shared_data / "cwru" / "12k_DE_IR007_108_3.mat")["X108_DE_time"].ravel()
    window = record[None, :12_000]
    best = found(window, 12_000.0)
    low, high = best.centre[0] - best.width[0] / 2, best.centre[0] + best.width[0] / 2
    filtered = signal.sosfiltfilt(signal.butter(8, [low, high], "bandpass", fs=12_000, output="sos"), window[0])
    power = np.abs(signal.hilbert(filtered)) ** 2
    hann = signal.windows.hann(12_000, sym=False)
    expected = np.average(power**2, weights=hann) / np.average(power, weights=hann) ** 2 - 2
    assert best.maximum[0] == pytest.approx(expected, rel=0.1)


def test_is_undefined_for_short_and_for_constant_windows() -> None:
    """Fewer than 256 lines below 0.45 fs, or no power: no band, and no kurtosis."""
    short = found(np.random.default_rng(4).normal(size=(1, 568)))
    constant = found(np.full((1, 4096), 0.1))
    for best in (short, constant):
        assert np.isnan([best.maximum[0], best.centre[0], best.width[0]]).all()
    assert np.isfinite(found(np.random.default_rng(4).normal(size=(1, 569))).maximum[0])


def test_a_window_gives_the_same_bits_in_any_batch() -> None:
    """It is computed alone and in a batch."""
    windows = np.vstack([ringing(3_000.0, seed)[:, :4096] for seed in range(9)])
    together = found(windows)
    alone = [found(windows[i : i + 1]) for i in range(9)]
    for part, name in enumerate(Kurtogram._fields):
        assert together[part].tobytes() == np.concatenate([one[part] for one in alone]).tobytes(), name
