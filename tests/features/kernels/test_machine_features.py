"""Cepstrum, peak hold and displacement agree with scipy to 1e-9, and show what they are for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft, signal

from features.define.spec import Floats
from features.kernels.cepstrum import cepstra
from features.kernels.diagnosis import Diagnosis
from features.kernels.machine_features import CEPSTRUM, INTEGRATED, PEAK_HOLD, TRACKING, gear_specs
from features.kernels.peak_hold import block_of, held_peaks, held_spectra
from features.kernels.spectrum import spectra
from features.kernels.vibration import Waveforms
from historian.plant.model import Bearing

RATE, SHAFT = 25_600.0, 25.0
BEARING = Bearing(balls=9, ball_diameter=0.3126, pitch_diameter=1.537)
BPFO = 9 / 2 * (1 - 0.3126 / 1.537) * SHAFT


def impacts(every: float, seconds: int = 1) -> Floats:
    """[2, N] two windows of rings that begin `every` so many seconds, and noise."""
    time = np.arange(int(seconds * RATE)) / RATE
    since = np.mod(time, every)
    ring = np.exp(-2000 * since) * np.sin(2 * np.pi * 4000 * since)
    noise = np.random.default_rng(6).normal(size=(2, len(time))) / 50
    return np.asarray(ring + noise)


def batch(windows: Floats, unit: str = "g") -> Diagnosis:
    """Of a machine at 1,500 rpm."""
    waves = Waveforms(windows, RATE, unit)
    return Diagnosis(waves, spectra(waves), np.full(len(windows), SHAFT), BEARING)


def test_the_cepstrum_is_that_of_the_power_spectrum() -> None:
    """By scipy's periodogram and inverse FFT, line for line."""
    windows = impacts(0.01)
    _, power = signal.periodogram(windows, RATE, "hann", detrend="constant", scaling="density")
    logarithms = np.log(power * RATE / windows.shape[1])
    logarithms[:, 0] = logarithms[:, 1]
    found = cepstra(batch(windows).power)
    np.testing.assert_allclose(found, fft.irfft(logarithms, axis=1), rtol=1e-9, atol=1e-9 * np.abs(found).max())


def test_a_family_of_lines_is_one_peak_of_the_cepstrum() -> None:
    """Impacts every hundredth of a second; a constant signal and a short one have no peak."""
    peak, quefrency = (spec.kernel(batch(impacts(0.01)).power) for spec in CEPSTRUM)
    assert (
        np.abs(quefrency / 0.01 - np.round(quefrency / 0.01)).max() < 0.01
    )  # of several equal peaks any may be highest
    assert (peak > 0.1).all()
    for windows in (np.ones((1, 2560)), impacts(0.01)[:, :100]):
        with np.errstate(divide="ignore"):
            assert all(np.isnan(spec.kernel(batch(windows).power)).all() for spec in CEPSTRUM)


def test_held_peaks_are_those_of_the_high_passed_signal() -> None:
    """By scipy's FFTs, and a maximum over each block of ten samples."""
    windows = impacts(0.01)
    waves = batch(windows).waveforms
    lines = fft.rfft(windows - windows.mean(axis=1, keepdims=True), axis=1)
    lines[:, fft.rfftfreq(windows.shape[1], 1 / RATE) < 1000] = 0
    high = np.abs(fft.irfft(lines, windows.shape[1], axis=1))
    found = held_peaks(waves.transform, waves.size, RATE, np.array([SHAFT, np.nan]))
    assert block_of(RATE) == 10
    np.testing.assert_allclose(found, high.reshape(2, -1, 10).max(axis=2), rtol=1e-9, atol=1e-12)
    made = held_spectra(found, RATE)
    window = signal.windows.hann(found.shape[1], sym=False)
    expected = 2 * np.abs(fft.rfft((found - found.mean(axis=1, keepdims=True)) * window, axis=1)) / window.sum()
    np.testing.assert_allclose(made.lines, expected, rtol=1e-9, atol=1e-12)


def test_peak_hold_shows_shocks_at_the_fault_of_the_bearing() -> None:
    """Shocks on the outer race have a line there; their height stays, however short they are."""
    found = {spec.name: spec.kernel(batch(impacts(1 / BPFO))) for spec in PEAK_HOLD}
    assert found["peakhold_max"].tolist() == pytest.approx([0.7, 0.7], abs=0.15)
    assert (found["peakhold_bpfo_amp"] > 5 * found["peakhold_bpfi_amp"]).all()
    assert (found["peakhold_mean"] < found["peakhold_max"]).all()


def test_displacement_agrees_with_scipy_and_with_a_tone() -> None:
    """By welch to 1e-9; 20 Hz at 1 m/s² is 2/(2π·20)² m from peak to peak, and unknown in mm/s."""
    time = np.arange(int(5 * RATE)) / RATE
    windows = np.sin(2 * np.pi * 20 * time)[None]
    frequencies, density = signal.welch(windows, RATE, "hann", nperseg=len(time), noverlap=0, detrend="constant")
    found = {spec.name: spec.kernel(batch(windows, "m/s²").power)[0] for spec in INTEGRATED}
    for name, low in (("disp_p2p_2_1000", 2), ("disp_p2p_10_1000", 10)):
        band = (frequencies >= low) & (frequencies <= 1000)
        power = density[0, band] * RATE / len(time)
        expected = 2 * np.sqrt(2 * np.sum(power * (1e6 / (2 * np.pi * frequencies[band]) ** 2) ** 2))
        assert found[name] == pytest.approx(expected, rel=1e-9)
    assert found["disp_p2p_10_1000"] == pytest.approx(2e6 / (2 * np.pi * 20) ** 2, rel=0.02)
    assert found["vel_rms_2_1000"] == pytest.approx(1e3 / (2 * np.pi * 20) / np.sqrt(2), rel=0.02)
    assert all(np.isnan(spec.kernel(batch(windows, "mm/s").power)[0]) for spec in INTEGRATED)
    assert np.isnan(INTEGRATED[0].kernel(batch(windows[:, : int(RATE)]).power)[0])


def test_tracked_orders_and_gears_are_features_of_each_window() -> None:
    """At a steady speed they are the tones; without speed they are undefined."""
    time = np.arange(int(RATE)) / RATE
    tone = 0.5 * np.sin(2 * np.pi * SHAFT * time) + (1 + 0.2 * np.cos(2 * np.pi * SHAFT * time)) * np.sin(
        2 * np.pi * 20 * SHAFT * time
    )
    known = batch(np.stack([tone, tone]))
    found = {spec.name: spec.kernel(known) for spec in (*TRACKING, *gear_specs((20,)))}
    assert found["track_1x"].tolist() == pytest.approx([0.5, 0.5], rel=0.02)
    assert found["gear_20_mesh"].tolist() == pytest.approx([1, 1], rel=0.02)
    assert found["gear_20_sidebands"].tolist() == pytest.approx([0.2, 0.2], rel=0.05)
    assert found["tsa_rms"].tolist() == pytest.approx([0.8, 0.8], rel=0.02)
    lost = Diagnosis(known.waveforms, known.power, np.full(2, np.nan), BEARING)
    assert all(np.isnan(spec.kernel(lost)).all() for spec in (*TRACKING, *gear_specs((20,))))
