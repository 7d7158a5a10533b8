"""The squared-envelope spectrum agrees with filter and Hilbert, and its lines have the right place and height."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import signal
from scipy.fft import rfft
from scipy.io import loadmat

from features.define.spec import Floats
from features.kernels.envelope import Envelopes, Line, envelopes, fault_lines
from features.kernels.lines import floor

RATE = 12_800.0


def spectra(windows: Floats, rate: float = RATE, shaft: float | Floats = 30.0) -> Envelopes:
    """The envelope spectra of windows [windows, N]."""
    centred = windows - windows.mean(axis=1, keepdims=True)
    return envelopes(rfft(centred, axis=1), windows.shape[1], rate, np.broadcast_to(shaft, len(windows)))


def modulated(rhythm: float, depth: float, seconds: float = 1.0, rate: float = RATE) -> Floats:
    """A 3 kHz tone of power 2 whose squared envelope has one line: 2·(1 + depth·cos)."""
    time = np.arange(int(rate * seconds)) / rate
    power = 2 * (1 + depth * np.cos(2 * np.pi * rhythm * time + 1))
    wave: Floats = np.sqrt(power) * np.sin(2 * np.pi * 3_000 * time)
    return wave[None]


def by_hilbert(window: Floats, rate: float, low: float, high: float) -> tuple[Floats, float]:
    """A_k and the mean by a steep Butterworth filter and scipy's Hilbert transform, on the full length."""
    sos = signal.butter(12, [low, high], "bandpass", fs=rate, output="sos")
    squared = np.abs(signal.hilbert(signal.sosfiltfilt(sos, window - window.mean()))) ** 2
    hann = signal.windows.hann(len(window), sym=False)
    lines: Floats = 2 * np.abs(rfft((squared - squared.mean()) * hann)) / hann.sum()
    return lines, float(np.average(squared, weights=hann))


def cwru(shared_data: Path, name: str, number: str) -> Floats:
    """The drive-end signal of a record."""
    wave: Floats = loadmat(shared_data / "cwru" / f"{name}.mat")[f"X{number}_DE_time"].ravel()
    return wave


def test_agrees_with_filter_and_hilbert_on_real_bearings(shared_data: Path) -> None:
    """The mean to 5 %, and every line above a twentieth of the highest to 5 % of that; filter edges differ."""
    for name, number, rate in (("12k_DE_IR007_105_0", "105", 12_000.0), ("97_Normal_0", "097", 48_000.0)):
        window = cwru(shared_data, name, number)[: int(rate)]
        batch = spectra(window[None], rate)
        lines, mean = by_hilbert(window, rate, 1000, 0.4 * rate)
        assert batch.mean[0] == pytest.approx(mean, rel=0.05)
        kept = slice(2, 800)
        np.testing.assert_allclose(batch.lines[0, kept], lines[kept], atol=0.05 * lines[kept].max())


@given(st.floats(12, 900), st.floats(0.05, 0.9), st.floats(-0.01, 0.01))
@settings(max_examples=60)
def test_finds_the_modulation_frequency_and_its_depth(rhythm: float, depth: float, slip: float) -> None:
    """The frequency is right to a tenth of a line, the height to the Hann window's worst case of -15 %."""
    batch = spectra(modulated(rhythm * (1 + slip), depth))
    line = fault_lines(batch, np.array([[rhythm]]))
    assert line.frequency[0, 0] == pytest.approx(rhythm * (1 + slip), abs=0.1)
    assert 0.84 * depth < line.amplitude[0, 0] / batch.mean[0] < 1.01 * depth
    assert batch.mean[0] == pytest.approx(2, rel=0.02)


def test_a_skirt_is_found_where_its_line_is() -> None:
    """The search for 85 Hz ends at 86.7; the found frequency shows that it met the skirt of the line at 87.3."""
    line = fault_lines(spectra(modulated(87.3, 1)), np.array([[85.0]]))
    assert line.frequency[0, 0] == pytest.approx(87.3, abs=0.1)


def test_noise_has_the_heights_of_a_rayleigh_distribution() -> None:
    """A given line of noise is t floors high with a chance of 2^(-t²), within 10 % at t = 1 and 2."""
    random = np.random.default_rng(5)
    batch = spectra(random.normal(size=(400, 12_800)))
    place = np.arange(100.0, 600.0, 40.0)[None].repeat(400, axis=0)
    height = np.take_along_axis(batch.lines, place.astype(int), axis=1) / floor(batch.lines, 0.7 * place, 1.3 * place)
    assert np.mean(height > 1) == pytest.approx(0.5, rel=0.1)
    assert np.mean(height > 2) == pytest.approx(2**-4, rel=0.1)


def test_low_frequencies_and_low_rates_are_undefined() -> None:
    """Fewer than 10 periods, no frequency, a second harmonic outside half the band, no band, no power."""
    noise = np.random.default_rng(6).normal(size=(1, 12_800))
    frequencies = np.array([[9.9, 10.0, np.nan, 950.0, 1200.0]])
    line = fault_lines(spectra(noise), frequencies)
    for part in line:
        assert np.isnan(part).tolist() == [[True, False, True, False, True]]
    low_rate = spectra(noise, rate=2_400.0)
    assert np.isnan(fault_lines(low_rate, np.array([[100.0]]))).all()
    constant = spectra(np.full((1, 12_800), 0.1))
    assert np.isnan(fault_lines(constant, np.array([[100.0]]))).all()


def test_the_band_starts_above_ten_turns_of_a_fast_shaft() -> None:
    """A modulation of a 3 kHz carrier disappears once the shaft turns 315 times a second, and not before."""
    batch = spectra(modulated(100, 1).repeat(3, axis=0), shaft=np.array([30.0, 200.0, 315.0]))
    depth = fault_lines(batch, np.full((3, 1), 100.0)).amplitude[:, 0]
    assert depth[:2] == pytest.approx(2, rel=0.01)
    assert depth[2] < 0.02  # what is left are its sidebands


@given(st.integers(1, 5), st.sampled_from([4096, 12_000, 12_800]), st.integers(0, 2**32))
@settings(max_examples=15)
def test_a_window_gives_the_same_bits_in_any_batch(count: int, size: int, seed: int) -> None:
    """It is computed alone and with windows of other speeds."""
    random = np.random.default_rng(seed)
    windows, shaft = random.normal(size=(count, size)), random.uniform(5, 300, count)
    frequency = shaft[:, None] * np.array([3.6, 5.4, 0.4])

    def lines(place: slice) -> Line:
        return fault_lines(spectra(windows[place], shaft=shaft[place]), frequency[place])

    together, alone = lines(slice(None)), [lines(slice(i, i + 1)) for i in range(count)]
    for part in range(len(Line._fields)):
        assert together[part].tobytes() == np.vstack([one[part] for one in alone]).tobytes()
