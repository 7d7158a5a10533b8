"""The plan of a view: its columns in order, tags and bearings by asset, in a form that can be sent."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.compute.rows.kernel_values import waveform_values
from features.define.catalogue import PROCESS, SPECTRAL, TIME, find_group
from features.define.history import history_of
from features.define.quality_columns import WAVEFORM
from features.define.spec import FeatureSpec
from features.define.view_plan import view_plan
from features.windows.tiling import Tiling
from historian.errors import ConfigError
from historian.plant.feature_groups import needs_of
from historian.plant.model import Asset, AssetClass, Bearing
from historian.plant.plant import Plant, View
from tests.features.compute.rows.signals import tag

POINTS: dict[str, dict[str, Any]] = {
    "de_h": {"kind": "vibration", "unit": "g", "sample_rate": 25_600},
    "nde_h": {"kind": "vibration", "unit": "m/s2", "sample_rate": 25_600},
    "oil_temp": {"kind": "process", "unit": "degC"},
    "pump_on": {"kind": "process", "states": {"off": 0, "on": 1}},
    "mode": {"kind": "state", "states": {"running": "RUN"}},
    "speed": {"kind": "speed", "unit": "rpm"},
}
SECOND = timedelta(seconds=1)


def plant() -> Plant:
    """A class with a point of every kind."""
    compressor = AssetClass.model_validate({"points": POINTS})
    return Plant("site", Path(), Path(), "", {"compressor": compressor}, {}, {}, {}, {}, {})


def vibration(*points: str, features: tuple[str, ...] = (), speed: str | None = None) -> View:
    """A view over vibration points."""
    return View("compressor_v", "compressor", points, "vibration", SECOND, SECOND, "epoch", None, features, speed=speed)


def process(*points: str, features: tuple[str, ...] = ()) -> View:
    """A view over process points."""
    return View("compressor_p", "compressor", points, "process", SECOND, SECOND, "epoch", None, features)


def names(view: View) -> list[str]:
    """The columns of a view."""
    return [column.name for column in view_plan(plant(), view).columns]


def test_a_view_has_the_columns_of_its_points_in_order() -> None:
    """Per point the features, then the quality columns; units follow the point's."""
    view = vibration("nde_h", "de_h")
    specs: list[FeatureSpec[Any]] = [*TIME, *SPECTRAL, *WAVEFORM]
    columns = {column.name: column for column in view_plan(plant(), view).columns}
    assert list(columns) == [f"{point}_{spec.name}" for point in view.points for spec in specs]
    assert [columns[name].unit for name in ("de_h_rms_ac", "nde_h_rms_ac", "de_h_crest")] == ["g", "m/s2", ""]
    quality = ["n", "valid", "reason", "coverage", "clipped", "df_hz", "fs_hz"]
    assert names(view)[-7:] == [f"de_h_{name}" for name in quality]
    assert [columns[f"de_h_{name}"].dtype for name in quality[:3]] == [pl.Int64, pl.Boolean, pl.String]


def test_a_view_with_a_speed_says_which() -> None:
    """This holds if only a group needs one and the plant file gives it to the assets."""
    for view in (vibration("de_h", speed="speed"), vibration("de_h", features=("time", "orders"))):
        assert names(view)[-2:] == ["de_h_rpm", "de_h_rpm_source"]
    assert "de_h_order_1x" in names(vibration("de_h", features=("orders",)))
    assert "de_h_rms_ac" not in names(vibration("de_h", features=("orders",)))


def test_bands_are_the_feature_sets_own() -> None:
    """Each becomes a feature in place of the default ones."""
    view = View(
        "v", "compressor", ("de_h",), "vibration", SECOND, SECOND, "epoch", None, bands=((2.5, 40), (1000, 12800.25))
    )
    bands = [name for name in names(view) if "band" in name]
    assert bands == ["de_h_band_rms_2p5_40", "de_h_band_rms_1000_12800p25"]


def test_a_point_with_limits_has_a_zone() -> None:
    """Its velocity must be computed; the limits and their standard are in the zone's definition."""
    limits = {"limits": [1.4, 2.8, 4.5], "source": "ISO 20816-3:2022", "machine": "group 2, rigid"}
    points = {**POINTS, "de_h": POINTS["de_h"] | {"zones": limits}}
    site = replace(plant(), classes={"compressor": AssetClass.model_validate({"points": points})})
    specs = {column.name: column.spec for column in view_plan(site, vibration("de_h", "nde_h")).columns}
    assert "1.4, 2.8, 4.5 mm/s" in specs["de_h_zone"].formula
    assert specs["de_h_zone"].source == limits["source"]
    assert {"de_h_zone_standard", "de_h_zone_machine"} <= specs.keys()
    assert "nde_h_zone" not in specs
    assert "de_h_zone" not in {column.name for column in view_plan(site, vibration("de_h", features=("time",))).columns}


def test_a_process_view_has_process_columns() -> None:
    """Time-weighted statistics of numbers, with units that follow the point's, and the time in each state."""
    columns = {column.name: column.unit for column in view_plan(plant(), process("oil_temp", "mode")).columns}
    states = ["share_running", "last_state", "changes", "count", "good_share", "seconds_since_change"]
    quality = ["n", "valid", "reason"]
    assert list(columns) == [
        *(f"oil_temp_{name}" for name in [*(spec.name for spec in PROCESS), *quality]),
        *(f"mode_{name}" for name in [*states, *quality]),
    ]
    assert columns["oil_temp_slope"] == "degC/h"


def test_a_digital_point_may_be_a_number_and_a_state() -> None:
    """By default it is a state; with both groups every column is there once."""
    assert "pump_on_share_off" in names(process("pump_on"))
    assert "pump_on_mean" not in names(process("pump_on"))
    both = names(process("pump_on", "oil_temp", features=("process", "states")))
    assert {"pump_on_mean", "pump_on_share_on", "pump_on_last", "pump_on_last_state", "oil_temp_mean"} <= set(both)
    assert len(set(both)) == len(both)


@pytest.mark.usefixtures("_plugins")
def test_a_group_of_another_package_becomes_columns() -> None:
    """It is named, computed and checked like the built-in ones."""
    assert names(vibration("de_h", features=("time", "acme")))[12] == "de_h_sixth_moment"
    assert names(vibration("de_h", features=("acme_turns",)))[-1] == "de_h_rpm_source"
    assert names(process("oil_temp", features=("acme_dials",)))[0] == "oil_temp_pieces"
    assert needs_of("acme_turns").speed
    noise = np.random.default_rng(1).normal(size=51_200)
    values = waveform_values(noise, np.array([0, 25_600]), Tiling(10**6, 10**6, 25_600), "g", [find_group("acme")])
    assert values["sixth_moment"] == pytest.approx([15, 15], rel=0.15)


CWRU = Bearing(balls=9, ball_diameter=7.94, pitch_diameter=39.04)
MISFIT = Bearing(balls=20, ball_diameter=9, pitch_diameter=39)


def turning(*bearings: Bearing | None, speed: bool = True) -> Plant:
    """Assets p1, p2 … with a vibration tag on a bearing each, and a speed tag on all or none."""
    tags = [tag("de_h", asset=f"p{number}", bearing=bearing) for number, bearing in enumerate(bearings, 1)]
    speeds = [tag("speed", "speed", asset=each.asset, unit="rpm") for each in tags] if speed else []
    assets = {each.asset: Asset.model_validate({"class": "compressor"}) for each in tags}
    return replace(plant(), assets=assets, tags={each.name: each for each in (*speeds, *tags)})


def test_an_asset_has_the_tags_that_fill_its_points_and_where_its_speed_comes_from() -> None:
    """Bearings and whether they are possible; the fixed speed is not used instead of a tag without samples."""
    view = vibration("de_h", "nde_h", features=("envelope",), speed="speed")
    found = view_plan(turning(CWRU, MISFIT, None), view).assets
    assert [each.asset for each in found] == ["p1", "p2", "p3"]
    assert [(each.name, each.has_geometry) for asset in found for each in asset.tags] == [
        ("p1.de_h", True),
        ("p2.de_h", False),
        ("p3.de_h", False),
    ]
    assert [each.speed.name for each in found if each.speed] == ["p1.speed", "p2.speed", "p3.speed"]
    fixed = Asset.model_validate({"class": "compressor", "speed_rpm": 1500})
    (alone,) = view_plan(replace(turning(CWRU, speed=False), assets={"p1": fixed}), view).assets
    assert (alone.speed, alone.fixed_rpm, alone.points) == (None, 1500.0, ("de_h", "nde_h"))
    (both,) = view_plan(replace(turning(CWRU), assets={"p1": fixed}), view).assets
    assert (both.speed is None, both.fixed_rpm) == (False, 1500.0)
    assert both.with_samples({"p1.speed", "p1.de_h"}) == both
    silent = both.with_samples({"p1.de_h"})
    assert (silent.speed, silent.fixed_rpm) == (None, None)


def test_rows_depend_on_a_fixed_speed_that_is_compared_with_the_tag() -> None:
    """So its correction makes them stale; an asset without one depends on the tag alone."""
    view, site = vibration("de_h", features=("envelope",), speed="speed"), turning(CWRU)
    fixed = Asset.model_validate({"class": "compressor", "speed_rpm": 1500})
    facts = []
    for assets in (site.assets, {"p1": fixed}):
        of = replace(site, assets=assets)
        facts.append(history_of(of, view, view_plan(of, view).uses, "p1")[0].facts)
    assert [each.get("speed_rpm") for each in facts] == [None, 1500]
    assert facts[0] == {name: value for name, value in facts[1].items() if name != "speed_rpm"}


def test_a_window_looks_back_as_far_as_any_of_its_tags_needs() -> None:
    """A waveform needs one sample more than its length; a held value needs its max_staleness."""
    (asset,) = view_plan(turning(CWRU), vibration("de_h", speed="speed")).assets
    (waveform,) = asset.tags
    assert waveform.lookback == SECOND + timedelta(microseconds=84)  # a sample at 12 kHz, rounded up
    assert asset.lookback == SECOND + 5 * SECOND
    assert asset.with_samples({"p1.de_h"}).lookback == waveform.lookback
    assert asset.with_samples({"p1.speed"}).tags == ()


@pytest.mark.usefixtures("_plugins")
def test_two_groups_with_a_feature_of_one_name_are_refused() -> None:
    """The message names the view and the column."""
    site, view = plant(), vibration("de_h", features=("acme", "acme_again"))
    with pytest.raises(ConfigError, match="compressor_v: several groups have the column de_h_sixth_moment"):
        view_plan(site, view)


@pytest.mark.usefixtures("_plugins")
def test_a_plan_is_the_same_after_it_was_sent() -> None:
    """Kernels are sent by name, so that the plan takes a few kilobytes and kernels need not be picklable."""
    view = vibration("de_h", features=("time", "spectrum", "envelope", "acme"), speed="speed")
    (asset,) = view_plan(turning(CWRU), view).assets
    sent = pickle.dumps(asset)
    found = pickle.loads(sent)  # noqa: S301 - our own bytes
    assert [each.name for each in found.tags[0].plan.columns] == [each.name for each in asset.tags[0].plan.columns]
    assert (found.speed, found.tags[0].bearing, found.points) == (asset.speed, CWRU, ("de_h",))
    assert len(sent) < 8_000
