"""The spectral kernels agree with scipy to 1e-9 on generated windows and are undefined below their resolution."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import signal

from benchmarks.naive import spectral_features
from features.define.catalogue import SPECTRAL
from features.define.spec import Floats
from features.kernels.spectrum import band_rms, spectra, velocity_rms, zone
from features.kernels.vibration import Waveforms

BANDS = {"band_rms_10_1000", "band_rms_1000_2000", "band_rms_2000_5000", "band_rms_5000_10000", "vel_rms_10_1000"}


@st.composite
def noise_windows(draw: st.DrawFn) -> Floats:
    """Windows of noise and a tone, on an offset."""
    count, size = draw(st.integers(1, 4)), draw(st.sampled_from([16, 31, 250, 1024, 4096]))
    noise = np.random.default_rng(draw(st.integers(0, 2**32))).normal(size=(count, size))
    tone = np.sin(2 * np.pi * draw(st.floats(0, 0.5)) * np.arange(size)) * draw(st.floats(0, 100))
    windows: Floats = (noise + tone) * draw(st.floats(1e-3, 1e3)) + draw(st.floats(-10, 10))
    return windows


def kernels(windows: Floats, sample_rate: float = 25_600.0, unit: str = "g") -> dict[str, Floats]:
    """All ten features of windows [windows, N]."""
    batch = spectra(Waveforms(windows, sample_rate, unit))
    return {spec.name: spec.kernel(batch) for spec in SPECTRAL}


def oracle(windows: Floats, sample_rate: float = 25_600.0) -> dict[str, Floats]:
    """The same features with scipy, one window at a time, for accelerations in g."""
    rows = [spectral_features(window, sample_rate) for window in windows]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def assert_agree(found: dict[str, Floats], expected: dict[str, Floats]) -> None:
    """To 1e-9 relative, undefined where undefined."""
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, err_msg=name)


@given(noise_windows(), st.sampled_from([1_000.0, 12_000.0, 25_600.0, 48_828.0]))
@settings(max_examples=100)
def test_agrees_with_scipy(windows: Floats, sample_rate: float) -> None:
    """Noise and a tone give what welch and scipy.stats give, and are undefined where the window is too short."""
    assert_agree(kernels(windows, sample_rate), oracle(windows, sample_rate))


@pytest.mark.parametrize("turns", [3, 1000.5, 12_000])
def test_a_tone_is_as_narrow_as_its_line(turns: float) -> None:
    """The spread of a pure tone is a ten-thousandth of its frequency, and loses no digits by that."""
    tone = np.sin(2 * np.pi * turns * np.arange(25_600) / 25_600)[None]
    np.testing.assert_allclose(kernels(tone)["spread"], oracle(tone)["spread"], rtol=1e-9)


@given(noise_windows())
@settings(max_examples=50)
def test_power_is_the_mean_square_of_the_windowed_signal(windows: Floats) -> None:
    """ΣP_k equals the energy-corrected mean square, for even and odd N."""
    size = windows.shape[1]
    hann = signal.windows.hann(size, sym=False)
    windowed = (windows - windows.mean(axis=1, keepdims=True)) * hann
    mean_square = np.sum(windowed**2, axis=1) / np.sum(hann**2)
    dc = np.sum(windowed, axis=1) ** 2 / (size * np.sum(hann**2))
    np.testing.assert_allclose(spectra(Waveforms(windows, 1.0, "g")).total + dc, mean_square, rtol=1e-9)


def test_adjoining_bands_add_up() -> None:
    """No line is counted twice or left out at an edge: Σ band² is the band over all."""
    batch = spectra(Waveforms(np.random.default_rng(1).normal(size=(3, 25_600)), 25_600.0, "g"))
    parts = [band_rms(batch, low=low, high=high) ** 2 for low, high in ((10, 1000), (1000, 2000), (2000, 5000))]
    np.testing.assert_allclose(sum(parts), band_rms(batch, low=10, high=5000) ** 2, rtol=1e-12)


def test_velocity_of_a_tone_is_its_integral() -> None:
    """1 g RMS at 100 Hz is 9806.65/(2π·100) mm/s; in m/s² it is a 9.80665th of that; of a temperature it is nothing."""
    tone = np.sqrt(2) * np.sin(2 * np.pi * 100 * np.arange(25_600) / 25_600)[None]
    speed = 9806.65 / (2 * np.pi * 100)
    assert kernels(tone)["vel_rms_10_1000"][0] == pytest.approx(speed, rel=1e-3)
    assert kernels(tone, unit="m/s2")["vel_rms_10_1000"][0] == pytest.approx(speed / 9.80665, rel=1e-3)
    assert np.isnan(kernels(tone, unit="degC")["vel_rms_10_1000"][0])


@pytest.mark.parametrize("frequency", [10.5, 12.0, 25.3, 100.0, 990.0])
def test_velocity_is_right_down_to_its_lowest_line_or_missing(frequency: float) -> None:
    """Within 1 % in a window of a second; in a shorter one, whose lines are too far apart, there is none."""
    tone = np.sqrt(2) * np.sin(2 * np.pi * frequency * np.arange(25_600) / 25_600)[None]
    speed = 9806.65 / (2 * np.pi * frequency)
    assert kernels(tone)["vel_rms_10_1000"][0] == pytest.approx(speed, rel=0.01)
    assert np.isnan(kernels(tone[:, :25_599])["vel_rms_10_1000"][0])


def test_a_zone_counts_the_limits_that_are_exceeded() -> None:
    """Zones are 1 (A) to 4 (D); a value equal to a limit does not exceed it; without a velocity there is no zone."""
    tones = np.sin(2 * np.pi * 100 * np.arange(25_600) / 25_600) * np.array([[0.1], [0.2], [0.4], [0.8]])
    batch = spectra(Waveforms(tones, 25_600.0, "g"))
    velocity = velocity_rms(batch, low=10, high=1000)
    assert zone(batch, limits=velocity[:3].tolist()).tolist() == [1, 2, 3, 4]
    assert zone(batch, limits=(velocity[:3] * 0.999).tolist()).tolist() == [2, 3, 4, 4]
    assert np.isnan(zone(spectra(Waveforms(tones, 25_600.0, "degC")), limits=velocity[:3].tolist())).all()


def test_a_short_window_does_not_guess_low_frequencies() -> None:
    """At 100 ms df is 10 Hz: what starts at 10 Hz is undefined, and nothing else."""
    found = kernels(np.random.default_rng(2).normal(size=(1, 2560)))
    assert {name for name, value in found.items() if np.isnan(value[0])} == {"band_rms_10_1000", "vel_rms_10_1000"}


def test_a_low_sample_rate_has_no_bands_above_its_filter() -> None:
    """At 12 kHz bands that end above 5.4 kHz are undefined, and at 1 kHz every band is."""
    found = kernels(np.random.default_rng(3).normal(size=(1, 12_000)), 12_000.0)
    assert {name for name, value in found.items() if np.isnan(value[0])} == {"band_rms_5000_10000"}
    found = kernels(np.random.default_rng(3).normal(size=(1, 1000)), 1000.0)
    assert {name for name, value in found.items() if np.isnan(value[0])} == BANDS


@given(st.floats(-1e6, 1e6, allow_subnormal=False))
def test_a_constant_signal_has_no_spectrum(level: float) -> None:
    """No power, so the bands are zero and what describes the shape of the spectrum is undefined."""
    found = kernels(np.full((1, 25_600), level))
    assert {name for name, value in found.items() if value[0] == 0} == BANDS
    assert {name for name, value in found.items() if np.isnan(value[0])} == found.keys() - BANDS


@given(noise_windows())
@settings(max_examples=30)
def test_a_window_gives_the_same_bits_in_any_batch(windows: Floats) -> None:
    """It is computed alone, in any order, and in a batch with a silent window."""
    together = kernels(windows)
    alone = [kernels(window[None]) for window in windows]
    backwards = kernels(windows[::-1])
    silent, noise = np.zeros((1, windows.shape[1])), np.random.default_rng(0).normal(size=(7, windows.shape[1]))
    crowd = kernels(np.vstack([windows, silent, noise]))
    for name, values in together.items():
        assert values.tobytes() == np.concatenate([one[name] for one in alone]).tobytes(), name
        assert values.tobytes() == backwards[name][::-1].tobytes(), name
        assert values.tobytes() == crowd[name][: len(values)].tobytes(), name
