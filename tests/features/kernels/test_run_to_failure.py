"""Features of a bearing that was run until it failed: first impacts rise, then levels, then everything."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pytest

from features.compute.rows.kernel_values import Values, waveform_values
from features.define.catalogue import GROUPS
from features.windows.tiling import Tiling

SNAPSHOT: Final = Tiling(100_000, 100_000, 25_600.0)
PHASES: Final = {"start": (1, 100), "before": (1401, 1500), "alarm": (2296, 2305), "end": (2704, 2803)}
"""Numbers of snapshots, first and last; from 2296 on the RMS stays above twice that of the start."""


@pytest.fixture(scope="module")
def medians(shared_data: Path) -> dict[str, dict[str, float]]:
    """Feature -> phase -> its median, of the horizontal direction of Bearing1_1."""
    run = pl.scan_parquet(shared_data / "femto" / "Bearing1_1_acc.parquet").select("file_no", "horizontal_g")
    phases = {name: features_of(run, *numbers) for name, numbers in PHASES.items()}
    return {name: {phase: float(np.median(phases[phase][name])) for phase in PHASES} for name in phases["start"]}


def features_of(run: pl.LazyFrame, first: int, last: int) -> Values:
    """The features of the snapshots with these numbers, one window each."""
    snapshots = run.filter(pl.col("file_no").is_between(first, last)).collect()["horizontal_g"]
    samples = snapshots.explode().cast(pl.Float64).to_numpy()
    windows = np.arange(len(snapshots)) * SNAPSHOT.samples
    return waveform_values(samples, windows, SNAPSHOT, "g", [GROUPS["time"], GROUPS["spectrum"]])


def test_a_new_bearing_is_noise(medians: dict[str, dict[str, float]]) -> None:
    """Kurtosis 3, and the crest and shape of 2560 samples of a normal signal."""
    assert medians["kurtosis"]["start"] == pytest.approx(3, abs=0.1)
    assert medians["crest"]["start"] == pytest.approx(3.6, abs=0.2)
    assert medians["shape"]["start"] == pytest.approx(np.sqrt(np.pi / 2), rel=0.01)


def test_kurtosis_rises_before_the_level_does(medians: dict[str, dict[str, float]]) -> None:
    """Two hours before the alarm there are impacts, while the RMS is within a tenth of its start."""
    assert medians["rms_ac"]["before"] == pytest.approx(medians["rms_ac"]["start"], rel=0.1)
    assert medians["kurtosis"]["before"] > 3.4
    assert medians["crest"]["before"] > 1.1 * medians["crest"]["start"]


@pytest.mark.parametrize(("name", "alarm", "end"), [("kurtosis", 4.5, 9), ("crest", 4.9, 6.5)])
def test_impacts_grow_to_the_alarm_and_to_the_end(
    medians: dict[str, dict[str, float]], name: str, alarm: float, end: float
) -> None:
    """At the alarm they exceed the limit for early damage; on this bearing noise does not hide them at the end."""
    found = medians[name]
    assert found["start"] < found["before"] < found["alarm"] < found["end"]
    assert (found["alarm"] > alarm, found["end"] > end) == (True, True)


def test_a_band_shows_the_damage_more_clearly_than_the_rms(medians: dict[str, dict[str, float]]) -> None:
    """At the alarm the level from 1 to 2 kHz is more than threefold, the RMS only doubled."""
    band, whole = medians["band_rms_1000_2000"], medians["rms_ac"]
    assert band["start"] < band["before"] < band["alarm"] < band["end"]
    assert band["alarm"] > 3 * band["start"]
    assert 1.9 < whole["alarm"] / whole["start"] < 2.5
    assert band["end"] > 9 * band["start"]


def test_the_highest_band_rises_last(medians: dict[str, dict[str, float]]) -> None:
    """From 5 to 10 kHz the level falls as the bearing runs in, even at the alarm; it rises only at the end."""
    band = medians["band_rms_5000_10000"]
    assert band["alarm"] < 0.8 * band["start"]
    assert band["end"] > 1.8 * band["start"]
