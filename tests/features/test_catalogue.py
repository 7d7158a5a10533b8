"""The catalogue names what the plan asks for, and becomes columns and a reference page."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from features.catalogue import QUALITY, SLOW, SPECTRAL, TIME, catalogue_markdown, specs_of, view_columns
from historian.plant import Plant, View
from historian.plant_model import AssetClass

POINTS = {
    "de_h": {"kind": "vibration", "unit": "g", "sample_rate": 25_600},
    "nde_h": {"kind": "vibration", "unit": "m/s2", "sample_rate": 25_600},
    "oil_temp": {"kind": "process", "unit": "degC"},
}
SECOND = timedelta(seconds=1)


def plant() -> Plant:
    """A class with two vibration points and a slow one."""
    compressor = AssetClass.model_validate({"points": POINTS})
    return Plant("site", Path(), Path(), "", {"compressor": compressor}, {}, {}, {}, {}, {})


def test_has_the_registered_features() -> None:
    """Twelve of the time domain, ten of the spectrum, eight of slow tags."""
    assert " ".join(spec.name for spec in TIME) == (
        "mean std rms_ac peak p2p crest skewness kurtosis shape impulse clearance zero_crossing_rate"
    )
    assert " ".join(spec.name for spec in SPECTRAL) == (
        "band_rms_10_1000 band_rms_1000_2000 band_rms_2000_5000 band_rms_5000_10000 vel_rms_10_1000 "
        "centroid spread entropy flatness peak_freq"
    )
    assert " ".join(spec.name for spec in SLOW) == "mean min max std last slope count good_share"


def test_a_view_has_the_columns_of_its_points_in_order() -> None:
    """Per point the features, then the samples found and whether the window is valid."""
    view = View("compressor_vibration", "compressor", ("nde_h", "de_h"), "vibration", SECOND, SECOND, "epoch", None)
    names = [
        f"{point}_{spec.name}" for point in view.points for spec in (*specs_of("vibration"), *QUALITY["vibration"])
    ]
    columns = {column.name: column for column in view_columns(plant(), view)}
    assert list(columns) == names
    assert [columns[name].unit for name in ("de_h_rms_ac", "nde_h_rms_ac", "de_h_crest")] == ["g", "m/s2", ""]
    assert [columns[name].dtype for name in ("de_h_n", "de_h_valid")] == [pl.Int64, pl.Boolean]


def test_a_slow_view_has_slow_columns() -> None:
    """Slow points get time-weighted statistics, with units that follow the point's."""
    view = View("compressor_process", "compressor", ("oil_temp",), "process", SECOND, SECOND, "epoch", None)
    columns = {column.name: column.unit for column in view_columns(plant(), view)}
    assert list(columns) == [f"oil_temp_{spec.name}" for spec in (*specs_of("process"), *QUALITY["process"])]
    assert columns["oil_temp_slope"] == "degC/h"


def test_the_reference_lists_every_feature_once_per_kind() -> None:
    """The Markdown tables have a row a feature, and cells that a pipe in a formula does not split."""
    lines = catalogue_markdown().splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    every = [spec for kind in ("vibration", "process") for spec in (*specs_of(kind), *QUALITY[kind])]
    assert [row.split("`")[1] for row in rows] == [spec.name for spec in every]
    assert [row.split(" | ")[2] for row in rows if row.startswith("| `valid`")] == [
        "`window complete, and all samples Good`",
        "`good_share >= 0.8`",
    ]
    assert {row.replace(r"\|", "").count("|") for row in rows} == {7}
