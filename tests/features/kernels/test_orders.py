"""The amplitude at a multiple of the shaft's speed is that of the tone, or undefined."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import signal

from features.define.spec import Floats
from features.kernels.orders import order_amplitudes
from features.kernels.spectrum import spectra
from features.kernels.vibration import Waveforms

RATE = 12_800.0
ORDERS = np.array([0.5, 1.0, 2.0, 3.0])


def tones(shaft: float, amplitudes: Floats, seconds: float = 1.0) -> Waveforms:
    """One window with a tone at each of the orders."""
    time = np.arange(int(RATE * seconds)) / RATE
    phase = np.arange(len(ORDERS))[:, None]
    waves = amplitudes[:, None] * np.sin(2 * np.pi * shaft * ORDERS[:, None] * time + phase)
    return Waveforms(waves.sum(axis=0)[None] + 3, RATE, "g")


def found(batch: Waveforms, *shaft: float) -> Floats:
    """[windows, orders]"""
    return order_amplitudes(spectra(batch), np.array(shaft), ORDERS)


@given(st.floats(20, 400), st.tuples(*[st.floats(0.1, 5)] * 4), st.floats(-0.01, 0.01))
@settings(max_examples=60)
def test_finds_the_amplitude_of_each_order(shaft: float, amplitudes: tuple[float, ...], error: float) -> None:
    """It is right to 1 % of the largest, also between two lines, and with a speed that is 1 % wrong."""
    expected = np.array(amplitudes)
    got = found(tones(shaft, expected), shaft * (1 + error))[0]
    np.testing.assert_allclose(got, expected, atol=0.01 * max(amplitudes))


def test_is_undefined_without_speed_turns_or_band() -> None:
    """No speed: nothing. Under 5 turns: nothing. Under 5 periods: no half order. Above 0.45 fs: not that one."""
    wave = np.random.default_rng(0).normal(size=(1, int(RATE)))
    batch = Waveforms(np.vstack([wave] * 5), RATE, "g")
    missing = np.isnan(found(batch, np.nan, 4.9, 9.9, 10.0, 2_000.0))
    assert missing.tolist() == [
        [True] * 4,
        [True] * 4,
        [True, False, False, False],
        [False] * 4,
        [False, False, False, True],
    ]


def test_a_constant_signal_has_no_order_amplitude() -> None:
    """It is zero, as its RMS is."""
    assert found(Waveforms(np.full((1, int(RATE)), 0.1), RATE, "g"), 30.0).tolist() == [[0, 0, 0, 0]]


def test_a_window_gives_the_same_bits_in_any_batch() -> None:
    """It is computed alone and with windows of other speeds."""
    windows = np.random.default_rng(1).normal(size=(7, int(RATE)))
    shaft = np.array([25.0, 30.0, np.nan, 300.0, 7.0, 50.0, 49.3])
    together = found(Waveforms(windows, RATE, "g"), *shaft)
    alone = [found(Waveforms(windows[i : i + 1], RATE, "g"), shaft[i]) for i in range(7)]
    assert together.tobytes() == np.vstack(alone).tobytes()


def test_agrees_with_a_flat_top_spectrum() -> None:
    """Scipy's flat-top window reads the same amplitude of a tone between two lines, to 0.5 %."""
    batch = tones(29.53, np.array([0.0, 1.7, 0.0, 0.0]))
    _, power = signal.periodogram(batch.samples[0], RATE, "flattop", detrend="constant", scaling="spectrum")
    assert found(batch, 29.53)[0, 1] == pytest.approx(np.sqrt(2 * power.max()), rel=5e-3)
