"""All vibration kernels agree with scipy to 1e-9 on real windows, and give the published figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import signal
from scipy.integrate import cumulative_trapezoid
from scipy.io import loadmat

from benchmarks.naive import naive_features
from features.define.catalogue import SPECTRAL, TIME
from features.define.spec import Floats
from features.kernels.spectrum import spectra
from features.kernels.vibration import Waveforms


def kernels(windows: Floats, sample_rate: float) -> dict[str, Floats]:
    """All 22 features of windows [windows, N] in g."""
    batch = Waveforms(windows, sample_rate, "g")
    power = spectra(batch)
    return {spec.name: spec.kernel(batch) for spec in TIME} | {spec.name: spec.kernel(power) for spec in SPECTRAL}


def assert_agree(windows: Floats, sample_rate: float) -> None:
    """To 1e-9 relative; the absolute floor is for skewness and mean, which symmetry makes zero."""
    reference = [naive_features(window, sample_rate) for window in windows]
    for name, found in kernels(windows, sample_rate).items():
        expected = [row[name] for row in reference]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("name", "sample_rate"), [("12k_DE_IR007_105_0", 12_000.0), ("97_Normal_0", 48_000.0)])
@pytest.mark.parametrize("size", [2048, 25_600])
def test_agrees_with_scipy_on_bearings(shared_data: Path, name: str, sample_rate: float, size: int) -> None:
    """A seeded fault, and a healthy bearing at another rate, in short and in long windows."""
    record = cwru(shared_data, name)
    count = min(40, len(record) // size)
    assert_agree(record[: count * size].reshape(-1, size), sample_rate)


def test_agrees_with_scipy_on_a_run_to_failure(shared_data: Path) -> None:
    """Every hundredth snapshot."""
    run = pl.scan_parquet(shared_data / "femto" / "Bearing1_1_acc.parquet").gather_every(100)
    assert_agree(np.vstack(run.select("horizontal_g").collect()["horizontal_g"].to_list()), 25_600.0)


def test_gives_the_published_figures_of_a_faulty_bearing(shared_data: Path) -> None:
    """The first 2048 samples of record 105, by the conventions: Pearson kurtosis, biased, mean removed, power."""
    found = kernels(cwru(shared_data, "12k_DE_IR007_105_0")[None, :2048], 12_000.0)
    expected = {
        "kurtosis": (5.50884, 5e-6),
        "skewness": (0.137007, 5e-7),
        "std": (0.288326, 5e-7),
        "zero_crossing_rate": (931 * 12_000 / 2047, 1e-9),
        "centroid": (2725.9, 0.05),
        "spread": (917.3, 0.05),
        "entropy": (0.75317, 5e-6),
    }
    for name, (value, tolerance) in expected.items():
        assert found[name][0] == pytest.approx(value, abs=tolerance), name


@pytest.mark.parametrize(
    ("name", "rate"), [("12k_DE_IR007_105_0", 12_000), ("97_Normal_0", 48_000), ("12k_DE_OR007@6_130_0", 12_000)]
)
def test_velocity_is_what_a_band_pass_and_an_integral_give(shared_data: Path, name: str, rate: int) -> None:
    """In the time domain: band-pass forth and back, trapezoids, what drifts taken off, RMS of all but the ends."""
    record = cwru(shared_data, name)
    sections = signal.butter(4, (10, 1000), "bandpass", fs=rate, output="sos")
    velocity = cumulative_trapezoid(signal.sosfiltfilt(sections, record * 9.80665), dx=1 / rate)
    velocity = signal.sosfiltfilt(signal.butter(2, 5, "highpass", fs=rate, output="sos"), velocity)[rate:-rate]
    expected = 1000 * np.sqrt(np.mean(velocity**2))
    assert kernels(record[None], float(rate))["vel_rms_10_1000"][0] == pytest.approx(expected, rel=0.05)


def cwru(shared_data: Path, name: str) -> Floats:
    """The drive-end signal of a record."""
    record = loadmat(shared_data / "cwru" / f"{name}.mat")
    samples: Floats = next(value for key, value in record.items() if key.endswith("_DE_time")).ravel()
    return samples
