"""Order tracking and synchronous averages agree with scipy to 1e-9, and find what a varying speed hides."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal
from scipy.integrate import cumulative_trapezoid
from scipy.interpolate import CubicSpline, interp1d

from features.define.spec import Floats
from features.kernels.angles import SpeedCourse, order_lines, over_angle, shaft_at, sideband_index, synchronous_average

RATE, SIZE, END = 12_800.0, 12_800, 1_700_000_001_000_000
ORDERS = np.array([0.5, 1.0, 2.0, 3.0])
COURSE = SpeedCourse(
    END + np.array([-1_200_000, -700_000, -300_000, 100_000]), np.array([1500.0, 1650.0, 1800.0, 1740.0])
)
COURSES = np.array([COURSE], np.object_)


def speeds() -> Floats:
    """[N] Hz, by scipy: the course between its samples at the time of each sample of the window."""
    times = np.arange(SIZE) * 1e6 / RATE - 1e6
    return np.asarray(interp1d(COURSE.times - END, COURSE.rpm)(times) / 60, np.float64)


def wave(*heights: float, teeth: int = 0) -> Floats:
    """[N] tones at the orders, phase-locked to the shaft of that course, and a gear modulated once a turn."""
    angle = 2 * np.pi * cumulative_trapezoid(speeds(), dx=1 / RATE, initial=0)
    tones = sum(height * np.sin(order * angle + 0.3) for height, order in zip(heights, ORDERS, strict=False))
    return np.asarray(tones + (1 + 0.4 * np.cos(angle)) * np.sin(teeth * angle) * (teeth > 0))


def tracked(samples: Floats) -> Floats:
    """[turns, points] over that course."""
    found = over_angle(samples, shaft_at(COURSES, np.array([28.0]), np.array([END]), SIZE, RATE)[0], RATE)
    assert found is not None
    return found


def test_the_speed_at_each_sample_is_interpolated() -> None:
    """Also for several windows at once; without a course it is the mean, and unknown where that is."""
    found = shaft_at(np.repeat(COURSES, 2), np.array([28.0, np.nan]), np.array([END, END]), SIZE, RATE)
    np.testing.assert_allclose(found[0], speeds(), rtol=1e-12)
    assert np.isnan(found[1]).all()
    assert shaft_at(None, np.array([25.0]), np.array([END]), 3, RATE).tolist() == [[25.0, 25.0, 25.0]]


def test_resampling_agrees_with_scipy() -> None:
    """The spline is scipy's, read where scipy's integral of the speed says the angle is."""
    samples, found = wave(1.0, 0.5, 0.2, 0.1), tracked(wave(1.0, 0.5, 0.2, 0.1))
    assert found.shape == (28, 256)
    angle = cumulative_trapezoid(speeds(), dx=1 / RATE, initial=0)
    place = interp1d(angle, np.arange(SIZE))(np.arange(found.size) / found.shape[1])
    expected = CubicSpline(np.arange(SIZE), samples)(np.asarray(place, np.float64))
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-9, atol=1e-9)


def test_orders_agree_with_scipy_and_are_those_of_the_tones() -> None:
    """By `scipy.signal.welch` to 1e-9; the tones' own heights to 1 %, though the speed varies by a fifth."""
    heights = np.array([0.7, 1.3, 0.4, 0.2])
    found = tracked(wave(*heights))
    lines = order_lines(found, ORDERS)
    turns, points = found.shape
    _, density = signal.welch(found.ravel(), points, "hann", nperseg=found.size, noverlap=0, detrend=False)
    near = np.rint(ORDERS * turns).astype(int)[:, None] + np.arange(-2, 3)
    np.testing.assert_allclose(lines, np.sqrt(2 * (density / turns)[near].sum(axis=1)), rtol=1e-9)
    np.testing.assert_allclose(lines, heights, rtol=0.02)
    assert np.isnan(order_lines(found, np.array([0.1, 120.0]))).all()


def test_a_synchronous_average_keeps_what_repeats() -> None:
    """It is the mean over the turns: of noise a fifth remains over 28 turns, of a tone at order 2 all."""
    noise = np.random.default_rng(4).normal(size=SIZE)
    found = tracked(wave(0, 0, 1.0) + noise)
    average = synchronous_average(found)
    expected = [np.mean(found[:, point]) for point in range(found.shape[1])]
    np.testing.assert_allclose(average, expected, rtol=1e-9, atol=1e-12)
    tone = np.abs(np.fft.rfft(average))[2] * 2 / len(average)
    assert tone == pytest.approx(1, rel=0.05)
    assert np.std(average - tone * np.sin(2 * 2 * np.pi * np.arange(len(average)) / len(average) + 0.3)) < 0.3


def test_sidebands_of_a_gear_are_those_of_its_modulation() -> None:
    """A depth of 0.4 once a turn gives two sidebands of a fifth of the mesh, and nothing at the other four."""
    mesh, index = sideband_index(tracked(wave(teeth=23)), 23)
    assert mesh == pytest.approx(1, rel=0.02)
    assert index == pytest.approx(0.4, rel=0.02)
    assert np.isnan(sideband_index(tracked(wave(1.0)), 200)).all()


def test_without_speed_or_turns_there_is_nothing() -> None:
    """Unknown, standing still, four turns in the window, or fewer than two points a turn."""
    samples = np.zeros(SIZE)
    for speed in (np.nan, 0.0, 4.9, 6000.0):
        assert over_angle(samples, np.full(SIZE, speed), RATE) is None
