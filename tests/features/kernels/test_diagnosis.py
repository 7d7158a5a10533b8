"""The features that need speed and bearing are complete, undefined without them, and independent of the batch."""

from __future__ import annotations

import numpy as np
import pytest

from features.define.spec import Floats
from features.kernels.diagnosis import ENVELOPE, KURTOGRAM, LINES, ORDERS, Diagnosis
from features.kernels.spectrum import spectra
from features.kernels.vibration import Waveforms
from historian.plant.model import Bearing

CWRU = Bearing(balls=9, ball_diameter=0.3126, pitch_diameter=1.537)
SPECS = (*ORDERS, *ENVELOPE, *KURTOGRAM)
RATE = 12_000.0
NEEDS_BEARING = {f"ses_{line}_{part}" for line in LINES for part in ("amp", "snr", "freq", "h2")}
NEEDS_SPEED = NEEDS_BEARING | {"ses_mean", "order_05x", "order_1x", "order_2x", "order_3x"}


def values(windows: Floats, shaft: Floats, bearing: Bearing | None = CWRU, rate: float = RATE) -> dict[str, Floats]:
    """All features of windows [windows, N]."""
    waveforms = Waveforms(windows, rate, "g")
    batch = Diagnosis(waveforms, spectra(waveforms), shaft, bearing)
    return {spec.name: spec.kernel(batch) for spec in SPECS}


def missing(found: dict[str, Floats]) -> set[str]:
    """The undefined features of the first window."""
    return {name for name, value in found.items() if np.isnan(value[0])}


def noise(count: int = 1, size: int = 12_000) -> Floats:
    """Windows of seeded noise."""
    return np.random.default_rng(8).normal(size=(count, size))


def test_every_feature_has_a_name_of_its_own_and_a_definition() -> None:
    """There are 24 features; units are the point's, its square, Hz or none."""
    assert len({spec.name for spec in SPECS}) == len(SPECS) == 24
    assert {spec.unit for spec in SPECS} == {"{unit}", "{unit}²", "Hz", ""}
    assert all(spec.formula and spec.source and spec.undefined and spec.what and spec.reasons for spec in SPECS)


def test_all_are_defined_for_a_second_of_a_known_machine() -> None:
    """Nothing is missing, and every feature has one value a window."""
    found = values(noise(3), np.array([29.95, 25.0, 30.0]))
    assert missing(found) == set()
    assert {value.shape for value in found.values()} == {(3,)}


@pytest.mark.parametrize(
    "bearing", [None, Bearing(balls=9, ball_diameter=39.04, pitch_diameter=7.94)], ids=["none", "impossible"]
)
def test_without_a_bearing_there_are_no_fault_lines(bearing: Bearing | None) -> None:
    """The same holds for an impossible bearing; features that need none are defined."""
    assert missing(values(noise(), np.array([29.95]), bearing)) == NEEDS_BEARING


def test_without_speed_there_are_no_lines() -> None:
    """Only that window has none: its neighbour keeps them."""
    found = values(noise(2), np.array([np.nan, 29.95]))
    assert missing(found) == NEEDS_SPEED
    assert all(np.isfinite(value[1]) for value in found.values())


def test_a_short_window_does_not_guess() -> None:
    """0.171 s hold 5 turns but not 10 of the half order's, and no envelope line but BPFI, BPFO and 2xBSF."""
    ftf = {name for name in NEEDS_BEARING if "ftf" in name}
    assert missing(values(noise(size=2048), np.array([29.95]))) == {"order_05x", *ftf}
    assert missing(values(noise(size=500), np.array([29.95]))) == NEEDS_SPEED - {"ses_mean"} | {
        spec.name for spec in KURTOGRAM
    }


def test_a_constant_signal_has_no_lines() -> None:
    """Its orders and bands are zero; all other features are undefined."""
    found = values(np.full((1, 12_000), 0.1), np.array([29.95]))
    assert {name for name, value in found.items() if value[0] == 0} == {spec.name for spec in ORDERS}
    assert missing(found) == found.keys() - {spec.name for spec in ORDERS}


def test_samples_too_large_to_square_are_undefined() -> None:
    """Overflow gives undefined features, without a warning or an error."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = values(noise() * 1e160, np.array([29.95]))
    assert not any(np.isfinite(value[0]) for value in found.values())


def test_a_window_gives_the_same_bits_in_any_batch() -> None:
    """It is computed alone and with windows of other and of unknown speeds."""
    windows, shaft = noise(9), np.array([29.95, 120, np.nan, 3, 30, 31, 32, 29, 150.0])
    together = values(windows, shaft)
    alone = [values(windows[i : i + 1], shaft[i : i + 1]) for i in range(9)]
    for name, value in together.items():
        assert value.tobytes() == np.concatenate([one[name] for one in alone]).tobytes(), name
