"""The spectral kernels agree with scipy to 1e-9, add up, and refuse what a window cannot resolve."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from scipy import signal, stats
from scipy.io import loadmat

from features.catalogue import SPECTRAL
from features.spec import Floats
from features.spectrum import band_rms, spectra
from features.vibration import Waveforms

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


def welch(window: Floats, sample_rate: float) -> tuple[Floats, Floats]:
    """f_k and P_k with DC, by scipy."""
    size = len(window)
    f, density = signal.welch(window, sample_rate, "hann", nperseg=size, noverlap=0, detrend="constant")
    return f, density * sample_rate / size


def oracle(windows: Floats, sample_rate: float = 25_600.0) -> dict[str, Floats]:
    """The same with scipy, one window at a time, for accelerations in g."""
    rows = [_oracle(window, sample_rate) for window in windows]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _oracle(x: Floats, sample_rate: float) -> dict[str, float]:
    f, power = welch(x, sample_rate)
    df = sample_rate / len(x)
    found: dict[str, float] = {}
    for low, high in ((10, 1000), (1000, 2000), (2000, 5000), (5000, 10000)):
        inside = power[(f >= low) & (f < high)]
        resolved = low >= 3 * df and high <= 0.45 * sample_rate
        found[f"band_rms_{low}_{high}"] = np.sqrt(inside.sum()) if resolved else np.nan
    broad = (f >= 10) & (f <= 1000)
    velocity = np.sqrt(np.sum(power[broad] * (9806.65 / (2 * np.pi * f[broad])) ** 2))
    found["vel_rms_10_1000"] = velocity if df <= 10 / 3 and sample_rate >= 1000 / 0.45 else np.nan
    f, p = f[1:], power[1:]
    centroid = np.average(f, weights=p)
    return found | {
        "centroid": centroid,
        "spread": np.sqrt(np.average((f - centroid) ** 2, weights=p)),
        "entropy": stats.entropy(p, base=len(p)),
        "flatness": stats.gmean(p) / p.mean(),
        "peak_freq": f[p.argmax()],
    }


def assert_agree(found: dict[str, Floats], expected: dict[str, Floats]) -> None:
    """To 1e-9 relative, undefined where undefined."""
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, err_msg=name)


@given(noise_windows(), st.sampled_from([1_000.0, 12_000.0, 25_600.0, 48_828.0]))
@settings(max_examples=100, deadline=None)
def test_agrees_with_scipy(windows: Floats, sample_rate: float) -> None:
    """Noise and a tone give what welch and scipy.stats give, and are undefined where the window is too short."""
    assert_agree(kernels(windows, sample_rate), oracle(windows, sample_rate))


@given(noise_windows())
@settings(max_examples=50, deadline=None)
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


def test_a_short_window_does_not_guess_low_frequencies() -> None:
    """At 100 ms df is 10 Hz: what starts at 10 Hz is undefined, and nothing else."""
    found = kernels(np.random.default_rng(2).normal(size=(1, 2560)))
    assert {name for name, value in found.items() if np.isnan(value[0])} == {"band_rms_10_1000", "vel_rms_10_1000"}


def test_a_slow_signal_has_no_bands_above_its_filter() -> None:
    """At 12 kHz what ends above 5.4 kHz is undefined, and at 1 kHz every band is."""
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
@settings(max_examples=30, deadline=None)
def test_a_window_gives_the_same_bits_in_any_company(windows: Floats) -> None:
    """Alone, in any order, and in a crowd: bitwise the same."""
    together = kernels(windows)
    alone = [kernels(window[None]) for window in windows]
    backwards = kernels(windows[::-1])
    crowd = kernels(np.vstack([windows, np.random.default_rng(0).normal(size=(7, windows.shape[1]))]))
    for name, values in together.items():
        assert values.tobytes() == np.concatenate([one[name] for one in alone]).tobytes(), name
        assert values.tobytes() == backwards[name][::-1].tobytes(), name
        assert values.tobytes() == crowd[name][: len(values)].tobytes(), name


def test_agrees_with_scipy_on_real_bearings(shared_data: Path) -> None:
    """Seeded bearing faults, a healthy bearing at another rate, and a run to failure."""
    for name, sample_rate in (("12k_DE_IR007_105_0", 12_000.0), ("97_Normal_0", 48_000.0)):
        windows = cwru(shared_data, name)[: 40 * 2048].reshape(-1, 2048)
        assert_agree(kernels(windows, sample_rate), oracle(windows, sample_rate))
    run = pl.scan_parquet(shared_data / "femto" / "Bearing1_1_acc.parquet").gather_every(100)
    windows = np.vstack(run.select("horizontal_g").collect()["horizontal_g"].to_list())
    assert_agree(kernels(windows), oracle(windows))


def test_gives_the_published_figures_of_a_faulty_bearing(shared_data: Path) -> None:
    """Record 105: the shape of its first 2048 samples' spectrum, and the velocity a band-pass and an integral give."""
    record = cwru(shared_data, "12k_DE_IR007_105_0")
    found = {name: value[0] for name, value in kernels(record[None, :2048], 12_000.0).items()}
    expected = {"centroid": (2725.9, 0.05), "spread": (917.3, 0.05), "entropy": (0.75317, 5e-6)}
    for name, (value, tolerance) in expected.items():
        assert found[name] == pytest.approx(value, abs=tolerance), name
    assert kernels(record[None], 12_000.0)["vel_rms_10_1000"][0] == pytest.approx(0.2287, rel=0.02)


def cwru(shared_data: Path, name: str) -> Floats:
    """The drive-end signal of a record."""
    record = loadmat(shared_data / "cwru" / f"{name}.mat")
    signal: Floats = next(value for key, value in record.items() if key.endswith("_DE_time")).ravel()
    return signal
