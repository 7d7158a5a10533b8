"""A spectrum contradicts a given speed only where it is sure."""

from __future__ import annotations

import numpy as np
import pytest

from features.define.spec import Floats
from features.kernels.scratch import Scratch
from features.kernels.spectrum import Spectra, spectra
from features.kernels.turning import contradicted
from features.kernels.vibration import Waveforms
from tests.features.compute.rows.signals import SECOND, only, rows, samples, tag, view

RATE = 2_048


def comb(speed: float, *, seconds: int = 2, noise: float = 0.3, multiples: int = 6) -> Floats:
    """Multiples of a speed in Hz under noise."""
    time = np.arange(seconds * RATE) / RATE
    places = np.arange(1, multiples + 1)[:, None]
    tones: Floats = np.sin(places * (2 * np.pi * speed * time + 1)).sum(axis=0)
    return tones + noise * np.random.default_rng(0).standard_normal(len(time))


def spectrum_of(*waves: Floats) -> Spectra:
    """Their power spectra."""
    return spectra(Waveforms(np.stack(waves), RATE, "g", Scratch()))


@pytest.mark.parametrize(
    ("turned", "given", "sure"),
    [
        (29.53, 29.53, False),
        (29.53, 29.2, False),
        (29.53, 28.7, True),
        (29.53, 31.0, True),
        (29.53, 12.0, False),
        (49.98, 48.5, False),
        (60.02, 58.0, False),
    ],
    ids=["right", "1 % off", "3 % below", "5 % above", "no candidate", "mains 50 Hz", "mains 60 Hz"],
)
def test_another_speed_is_found_by_its_multiples(turned: float, given: float, *, sure: bool) -> None:
    """Not where the speeds are close, and not where the lines may be hum of the mains."""
    assert contradicted(spectrum_of(comb(turned)), np.array([given])).tolist() == [sure]


def test_a_machine_with_both_speeds_is_no_contradiction() -> None:
    """A belt drives a second shaft: the multiples of the given speed are there, too."""
    both = 3 * comb(29.53) + comb(28.7)
    assert contradicted(spectrum_of(both), np.array([28.7])).tolist() == [False]


def test_noise_few_multiples_and_short_windows_contradict_nothing() -> None:
    """So little is no proof; an unknown speed is none either."""
    noise = np.random.default_rng(1).standard_normal((50, 2 * RATE))
    assert not contradicted(spectrum_of(*noise), np.full(50, 28.7)).any()
    assert not contradicted(spectrum_of(comb(29.53, multiples=3)), np.array([28.7])).any()
    short = comb(29.53)[: RATE // 8]
    assert not contradicted(spectrum_of(short), np.array([28.7])).any()
    assert not contradicted(spectrum_of(comb(29.53)), np.array([np.nan])).any()


def test_features_that_need_a_contradicted_speed_are_missing() -> None:
    """The others of the row are there, and the row says which speed was given."""
    de_h = tag("de_h", sample_rate=RATE)
    wave = samples(de_h, np.floor(np.arange(2 * RATE) * SECOND / RATE), comb(29.53))
    turning = view("de_h", features=("time", "orders"), length=2)
    found = [only(rows(turning, wave, tags=(de_h,), facts={"speed_rpm": rpm})) for rpm in (1_772, 1_722)]
    assert [row["de_h_reason"] for row in found] == [None, "speed_contradicted"]
    assert [row["de_h_order_1x"] is None for row in found] == [False, True]
    assert [(row["de_h_rms_ac"] is None, row["de_h_rpm"]) for row in found] == [(False, 1_772), (False, 1_722)]
