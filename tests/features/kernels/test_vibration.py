"""The time-domain kernels agree with scipy to 1e-9 on generated windows, and are undefined where they must be."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from benchmarks.naive import time_features
from features.define.catalogue import TIME
from features.define.spec import Floats
from features.kernels.vibration import Waveforms

RATIOS = {"crest", "skewness", "kurtosis", "shape", "impulse", "clearance"}
SIZES = st.sampled_from([16, 31, 64, 250, 1024])


@st.composite
def converter_windows(draw: st.DrawFn) -> Floats:
    """Windows as a 12-bit converter gives them: whole steps, often constant, clipped or with few distinct values."""
    shape = (draw(st.integers(1, 4)), draw(SIZES))
    return draw(hnp.arrays(np.int16, shape, elements=st.integers(-2048, 2047))).astype(np.float64) / 64


@st.composite
def noise_windows(draw: st.DrawFn) -> Floats:
    """Windows of noise on an offset."""
    shape = (draw(st.integers(1, 4)), draw(SIZES))
    noise = np.random.default_rng(draw(st.integers(0, 2**32))).normal(size=shape)
    return noise * draw(st.floats(1e-3, 1e3)) + draw(st.floats(-10, 10))


def kernels(windows: Floats, sample_rate: float = 25_600.0) -> dict[str, Floats]:
    """All twelve features of windows [windows, N]."""
    batch = Waveforms(windows, sample_rate, "g")
    return {spec.name: spec.kernel(batch) for spec in TIME}


def oracle(windows: Floats, sample_rate: float = 25_600.0) -> dict[str, Floats]:
    """The same features with numpy and scipy, one window at a time."""
    rows = [time_features(window, sample_rate) for window in windows]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def assert_agree(found: dict[str, Floats], expected: dict[str, Floats]) -> None:
    """To 1e-9 relative; the floor is for skewness and mean, which symmetry makes zero.

    Of vibration that is a thousandth of its offset the last three digits are rounding, whoever removes the mean.
    """
    steady = expected["std"] == 0
    offset = np.max(np.abs(expected["mean"]) / np.where(steady, np.inf, expected["std"]))
    floor = 1e-12 + 16 * np.finfo(np.float64).eps * float(offset)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=floor, err_msg=name)


@given(noise_windows() | converter_windows())
@settings(max_examples=100)
def test_agrees_with_scipy(windows: Floats) -> None:
    """Noise on an offset, and windows of few distinct values, give what numpy and scipy give."""
    assert_agree(kernels(windows), oracle(windows))


@given(st.floats(-1e6, 1e6, allow_subnormal=False), SIZES)
def test_a_constant_signal_has_no_ratios(level: float, size: int) -> None:
    """A constant signal has its level, no vibration, and ratios that are undefined rather than rounding noise."""
    found = kernels(np.full((1, size), level))
    assert found["mean"] == level
    assert {name for name, value in found.items() if np.isnan(value[0])} == RATIOS
    assert all(value[0] == 0 for name, value in found.items() if name not in RATIOS | {"mean"})


def test_a_sine_has_the_ratios_of_the_textbook() -> None:
    """Crest √2, shape π/(2√2), impulse π/2, kurtosis 1.5, and two zero crossings a turn."""
    sine = np.sin(2 * np.pi * 100 * (np.arange(25_600) + 0.5) / 25_600)[None] * 3 + 7
    found = {name: value[0] for name, value in kernels(sine).items()}
    expected = {"mean": 7, "rms_ac": 3 / np.sqrt(2), "crest": np.sqrt(2), "kurtosis": 1.5, "shape": 1.1107207}
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert found["impulse"] == pytest.approx(np.pi / 2, rel=1e-3)
    assert found["zero_crossing_rate"] == pytest.approx(200, rel=0.01)


@given(noise_windows(), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_a_window_gives_the_same_bits_in_any_batch(windows: Floats, random: object) -> None:
    """It is computed alone, in any order, and as a view into a longer signal."""
    together = kernels(windows)
    alone = [kernels(window[None]) for window in windows]
    backwards = kernels(windows[::-1])
    crowd = kernels(np.vstack([windows, np.random.default_rng(0).normal(size=(40, windows.shape[1]))]))
    for name, values in together.items():
        assert values.tobytes() == np.concatenate([one[name] for one in alone]).tobytes(), name
        assert values.tobytes() == backwards[name][::-1].tobytes(), name
        assert values.tobytes() == crowd[name][: len(values)].tobytes(), name


@pytest.mark.parametrize("size", [25_600, 256_000])
@pytest.mark.parametrize(("offset", "amplitude"), [(1e6, 1.0), (-1e6, 1.0), (1e6, 1e-4)])
def test_an_offset_costs_no_digits(size: int, offset: float, amplitude: float) -> None:
    """Noise in steps of 2^-32 is exact on any offset of a million, so scipy's figures without it are the truth."""
    noise = np.random.default_rng(0).normal(size=size) * amplitude
    exact = np.round(noise * 2**32) / 2**32
    assert np.array_equal((exact + offset) - offset, exact)
    found, expected = kernels((exact + offset)[None]), oracle(exact[None])
    for name in found.keys() - {"mean"}:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(found["mean"], expected["mean"] + offset, rtol=1e-15)
