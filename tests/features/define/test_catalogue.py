"""The catalogue names what the plan asks for, becomes columns, and takes in groups of other packages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.compute.rows.waveform_rows import waveform_values
from features.define.catalogue import DEFAULT_GROUPS, GROUPS, SLOW, SPECTRAL, TIME, find_group, view_columns
from features.define.quality_columns import WAVEFORM
from features.define.reasons import REASONS
from features.define.spec import FeatureGroup, FeatureSpec
from features.windows.tiling import Tiling
from historian.errors import ConfigError, FeatureError
from historian.plant.feature_groups import BUILT_IN, DEFAULTS, needs_of
from historian.plant.model import AssetClass
from historian.plant.plant import Plant, View

PLUGINS = Path(__file__).parents[2] / "plugins"
POINTS: dict[str, dict[str, Any]] = {
    "de_h": {"kind": "vibration", "unit": "g", "sample_rate": 25_600},
    "nde_h": {"kind": "vibration", "unit": "m/s2", "sample_rate": 25_600},
    "oil_temp": {"kind": "process", "unit": "degC"},
    "pump_on": {"kind": "process", "states": {"off": 0, "on": 1}},
    "mode": {"kind": "state", "states": {"running": "RUN"}},
    "speed": {"kind": "speed", "unit": "rpm"},
}
SECOND = timedelta(seconds=1)


@pytest.fixture
def _plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installs the test groups, right and wrong ones, the way a third party's would be."""
    monkeypatch.syspath_prepend(PLUGINS)
    monkeypatch.syspath_prepend(PLUGINS / "broken")
    yield
    find_group.cache_clear()


def plant() -> Plant:
    """A class with a point of every kind."""
    compressor = AssetClass.model_validate({"points": POINTS})
    return Plant("site", Path(), Path(), "", {"compressor": compressor}, {}, {}, {}, {}, {})


def vibration(*points: str, features: tuple[str, ...] = (), speed: str | None = None) -> View:
    """A view over vibration points."""
    return View("compressor_v", "compressor", points, "vibration", SECOND, SECOND, "epoch", None, features, speed=speed)


def process(*points: str, features: tuple[str, ...] = ()) -> View:
    """A view over slow points."""
    return View("compressor_p", "compressor", points, "process", SECOND, SECOND, "epoch", None, features)


def names(view: View) -> list[str]:
    """The columns of a view."""
    return [column.name for column in view_columns(plant(), view)]


def test_has_the_registered_features() -> None:
    """Twelve of the time domain, ten of the spectrum, nine of slow tags, and those that need the machine."""
    assert " ".join(spec.name for spec in TIME) == (
        "mean std rms_ac peak p2p crest skewness kurtosis shape impulse clearance zero_crossing_rate"
    )
    assert " ".join(spec.name for spec in SPECTRAL) == (
        "band_rms_10_1000 band_rms_1000_2000 band_rms_2000_5000 band_rms_5000_10000 vel_rms_10_1000 "
        "centroid spread entropy flatness peak_freq"
    )
    assert " ".join(spec.name for spec in SLOW) == "mean min max std last slope count good_share seconds_since_change"
    assert list(GROUPS) == ["time", "spectrum", "orders", "envelope", "kurtogram", "slow", "states"]


def test_the_plant_file_is_checked_by_what_the_groups_need() -> None:
    """What `penstock check` knows of our groups is what their specs say; every kind of point has its defaults."""
    assert {name: group.needs for name, group in GROUPS.items()} == BUILT_IN
    assert all(kind in needs_of(group).kinds for kind, groups in DEFAULTS.items() for group in groups)
    assert tuple(GROUPS[name] for name in DEFAULTS["vibration"]) == DEFAULT_GROUPS


def test_every_feature_that_can_be_missing_says_by_which_code() -> None:
    """Other packages may leave that to `other`; ours never do."""
    for group in GROUPS.values():
        for spec in group.specs:
            assert bool(spec.undefined) == bool(spec.reasons), spec.name
            assert set(spec.reasons) <= set(REASONS) - {"other"}


def test_a_view_has_the_columns_of_its_points_in_order() -> None:
    """Per point the features, then what is said of it besides; units follow the point's."""
    view = vibration("nde_h", "de_h")
    specs: list[FeatureSpec[Any]] = [*TIME, *SPECTRAL, *WAVEFORM]
    columns = {column.name: column for column in view_columns(plant(), view)}
    assert list(columns) == [f"{point}_{spec.name}" for point in view.points for spec in specs]
    assert [columns[name].unit for name in ("de_h_rms_ac", "nde_h_rms_ac", "de_h_crest")] == ["g", "m/s2", ""]
    said = ["n", "valid", "reason", "coverage", "clipped", "df_hz", "fs_hz"]
    assert names(view)[-7:] == [f"de_h_{name}" for name in said]
    assert [columns[f"de_h_{name}"].dtype for name in said[:3]] == [pl.Int64, pl.Boolean, pl.String]


def test_a_view_with_a_speed_says_which() -> None:
    """Also where only a group asks for one, and the plant file gives the assets theirs."""
    for view in (vibration("de_h", speed="speed"), vibration("de_h", features=("time", "orders"))):
        assert names(view)[-2:] == ["de_h_rpm", "de_h_rpm_source"]
    assert "de_h_order_1x" in names(vibration("de_h", features=("orders",)))
    assert "de_h_rms_ac" not in names(vibration("de_h", features=("orders",)))


def test_bands_are_the_feature_sets_own() -> None:
    """Each becomes a feature of its own, in place of the usual ones."""
    view = View(
        "v", "compressor", ("de_h",), "vibration", SECOND, SECOND, "epoch", None, bands=((2.5, 40), (1000, 12800.25))
    )
    bands = [name for name in names(view) if "band" in name]
    assert bands == ["de_h_band_rms_2p5_40", "de_h_band_rms_1000_12800p25"]


def test_a_point_with_limits_has_a_zone() -> None:
    """Where its velocity is computed; the limits and the standard they are from stand in its definition."""
    limits = {"limits": [1.4, 2.8, 4.5], "source": "ISO 20816-3:2022, group 2, rigid"}
    points = {**POINTS, "de_h": POINTS["de_h"] | {"zones": limits}}
    site = replace(plant(), classes={"compressor": AssetClass.model_validate({"points": points})})
    specs = {column.name: column.spec for column in view_columns(site, vibration("de_h", "nde_h"))}
    assert "1.4, 2.8, 4.5 mm/s" in specs["de_h_zone"].formula
    assert specs["de_h_zone"].source == limits["source"]
    assert "nde_h_zone" not in specs
    assert "de_h_zone" not in {column.name for column in view_columns(site, vibration("de_h", features=("time",)))}


def test_a_slow_view_has_slow_columns() -> None:
    """Time-weighted statistics of numbers, with units that follow the point's, and the time in each state."""
    columns = {column.name: column.unit for column in view_columns(plant(), process("oil_temp", "mode"))}
    states = ["share_running", "last_state", "changes", "count", "good_share", "seconds_since_change"]
    said = ["n", "valid", "reason"]
    assert list(columns) == [
        *(f"oil_temp_{name}" for name in [*(spec.name for spec in SLOW), *said]),
        *(f"mode_{name}" for name in [*states, *said]),
    ]
    assert columns["oil_temp_slope"] == "degC/h"


def test_a_digital_point_may_be_a_number_and_a_state() -> None:
    """By itself it is a state; with both groups every column is there once."""
    assert "pump_on_share_off" in names(process("pump_on"))
    assert "pump_on_mean" not in names(process("pump_on"))
    both = names(process("pump_on", "oil_temp", features=("slow", "states")))
    assert {"pump_on_mean", "pump_on_share_on", "pump_on_last", "pump_on_last_state", "oil_temp_mean"} <= set(both)
    assert len(set(both)) == len(both)


@pytest.mark.usefixtures("_plugins")
def test_a_group_of_another_package_becomes_columns() -> None:
    """It is named like ours, computed like ours, and what it needs follows from its specs."""
    assert names(vibration("de_h", features=("time", "acme")))[12] == "de_h_sixth_moment"
    assert names(vibration("de_h", features=("acme_turns",)))[-1] == "de_h_rpm_source"
    assert names(process("oil_temp", features=("acme_dials",)))[0] == "oil_temp_pieces"
    assert needs_of("acme_turns").speed
    noise = np.random.default_rng(1).normal(size=51_200)
    values = waveform_values(noise, np.array([0, 25_600]), Tiling(10**6, 10**6, 25_600), "g", [find_group("acme")])
    assert values["sixth_moment"] == pytest.approx([15, 15], rel=0.15)


@pytest.mark.usefixtures("_plugins")
@pytest.mark.parametrize(
    ("group", "words"),
    [
        ("acme_copy", "group acme_copy: there is a feature constant, rms_ac already"),
        ("acme_spelling", "Sixth-Moment stands in its group 2 times"),
        ("acme_spelling", "'Sixth-Moment' cannot name a column; use lower-case letters"),
        ("acme_spelling", "Sixth-Moment has no formula"),
        ("acme_spelling", "Sixth-Moment has version 0; the first one is 1"),
        ("acme_spelling", "Sixth-Moment gives reasons but does not say what makes it undefined"),
        ("acme_list", "'acme_list' is no FeatureGroup but a list"),
        ("acme_gone", "'acme_gone' cannot be loaded: there is no removed"),
        ("acm", "unknown group of features 'acm'; did you mean acme"),
    ],
)
def test_a_group_that_cannot_be_used_is_refused(group: str, words: str) -> None:
    """With what is wrong and with which."""
    with pytest.raises(ConfigError, match=words):
        find_group(group)


@pytest.mark.usefixtures("_plugins")
def test_a_kernel_must_return_one_value_per_window() -> None:
    """Otherwise rows would get the values of other windows."""
    with pytest.raises(FeatureError, match=r"kernel of shapeless made \(0,\) of 2 windows"):
        waveform_values(np.zeros(128), np.array([0, 64]), Tiling(64, 64, 1e6), "g", [find_group("acme_shape")])


def test_a_reason_must_be_one_of_the_table() -> None:
    """The set of codes is closed."""
    spec = FeatureSpec("x", "", "x", "own", len, reasons=("weather",))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="feature x gives the unknown reason weather; use absent, gap"):
        FeatureGroup("waveforms", (spec,))
