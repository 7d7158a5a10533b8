"""Rows of an asset: points joined by their ends, each with its quality and, where a feature is missing, the reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from features.compute.rows.pages import in_step
from historian.plant.plant import View
from historian.quality import BAD, UNCERTAIN_ENGINEERING_UNITS_EXCEEDED
from historian.samples import SampleBatch
from historian.waveforms.packing import pack
from tests.features.compute.rows.signals import (
    CWRU,
    ONE,
    SECOND,
    START,
    TURNING,
    dial,
    only,
    plan_of,
    rows,
    rows_of,
    samples,
    tag,
    view,
    waveform,
)
from tests.features.stretches import packed


def test_points_of_several_rates_are_joined_by_the_window_end() -> None:
    """Each asset and end has one row; each point has its own rate, resolution and coverage."""
    fast, slower = tag("de_h", sample_rate=25_600), tag("nde_h", sample_rate=12_800)
    found = rows(view("de_h", "nde_h"), waveform(fast, 3), waveform(slower, 2), tags=(fast, slower))
    assert found["event_timestamp"].to_physical().to_list() == [START + k * SECOND for k in (1, 2, 3)]
    assert found.select("de_h_fs_hz", "nde_h_fs_hz", "de_h_n", "nde_h_n").row(0) == (25_600, 12_800, 25_600, 12_800)
    assert found.select("de_h_df_hz", "de_h_coverage", "de_h_reason").row(2) == (1, 1, None)
    assert found.select("nde_h_n", "nde_h_rms_ac", "nde_h_reason").row(2) == (None, None, "absent")


def test_a_point_without_a_tag_is_absent() -> None:
    """This holds even if the asset has only samples of its speed."""
    de_h, speed = tag("de_h"), tag("speed", "speed", unit="rpm")
    of_view = view("de_h", "nde_h", speed="speed")
    assert rows(of_view, waveform(de_h), tags=(de_h,))["nde_h_reason"].to_list() == ["absent"]
    assert rows(of_view, dial(speed, [1500] * 8), tags=(speed,)).is_empty()


@pytest.mark.parametrize(
    ("broken", "reason", "found"),
    [
        (lambda x: x.filter(pl.int_range(pl.len()) != 6000), "gap", 11_999),
        (lambda x: x.with_columns(quality=pl.lit(BAD, pl.UInt32)), "bad_quality", 12_000),
        (lambda x: x.with_columns(value=pl.lit(None, pl.Float64)), "bad_quality", 12_000),
        (lambda x: x.filter(pl.int_range(pl.len()) != 6000).with_columns(quality=pl.lit(BAD, pl.UInt32)), None, 11_999),
    ],
    ids=["gap", "not Good", "no number", "both"],
)
def test_a_window_that_is_not_valid_says_why(broken: Any, reason: str | None, found: int) -> None:
    """It has no features, only the counts."""
    de_h = tag("de_h", range=(-50, 50))
    row = only(rows(view("de_h"), SampleBatch(broken(waveform(de_h))), tags=(de_h,)))
    assert row["de_h_reason"] == (reason or "gap bad_quality")
    assert (row["de_h_n"], row["de_h_valid"], row["de_h_coverage"]) == (found, False, found / 12_000)
    assert [row[f"de_h_{name}"] for name in ("mean", "rms_ac", "centroid", "clipped")] == [None] * 4


def test_samples_that_do_not_fill_the_window_have_the_wrong_length() -> None:
    """A burst shorter than its window; a device that samples at another rate than the configured one."""
    de_h = tag("de_h")
    burst = View("v", "pump", ("de_h",), "vibration", ONE, ONE, "burst", None)
    assert only(rows(burst, waveform(de_h, 0.5), tags=(de_h,)))["de_h_reason"] == "length"
    other = samples(de_h, np.arange(11_000) * SECOND // 11_000, np.zeros(11_000))
    assert only(rows(view("de_h"), other, tags=(de_h,)))["de_h_reason"] == "length"


@pytest.mark.parametrize(
    ("features", "unit", "values", "reason"),
    [
        ((), "g", np.full(12_000, 0.1), "constant"),
        ((), "mm/s", None, "unit"),
        (("kurtogram",), "g", np.full(12_000, 0.1), "constant"),
        (("time",), "g", None, None),
    ],
)
def test_a_feature_that_is_missing_in_a_valid_window_says_why(
    features: tuple[str, ...], unit: str, values: npt.NDArray[np.float64] | None, reason: str | None
) -> None:
    """The row has the code of its reason, and no other."""
    de_h = tag("de_h", unit=unit)
    wave = waveform(de_h) if values is None else samples(de_h, np.floor(np.arange(12_000) * SECOND / 12_000), values)
    of_view = view("de_h", features=features, bands=((10, 1000),))
    row = only(rows(of_view, wave, tags=(de_h,)))
    assert (row["de_h_valid"], row["de_h_reason"]) == (True, reason)


@pytest.mark.parametrize("scale", [1e300, 1e61, 1e-61, 1e-200, 5e-324])
def test_values_that_float64_cannot_square_give_no_features(scale: float) -> None:
    """One value that is too large or too small is enough, as half of the features would lose precision."""
    de_h = tag("de_h", bearing=CWRU)
    of_view = view("de_h", features=("time", "spectrum", *TURNING), bands=((10, 1000),))
    names = [f"de_h_{spec.name}" for spec in plan_of(of_view, (de_h,)).tags[0].plan.features]
    times, one = np.floor(np.arange(12_000) * SECOND / 12_000), np.arange(12_000) == 7000
    for values in (np.tile([1, -1], 6000) * scale, one * scale):
        row = only(rows(of_view, samples(de_h, times, values), tags=(de_h,), facts={"speed_rpm": 1800}))
        assert (row["de_h_valid"], row["de_h_reason"]) == (True, "magnitude")
        assert {row[name] for name in names} == {None}
    inside = min(max(scale, 2e-60), 5e59)
    row = only(rows(of_view, samples(de_h, times, one * inside), tags=(de_h,), facts={"speed_rpm": 1800}))
    assert row["de_h_reason"] is None
    assert None not in {row[name] for name in names}


def test_the_reason_resolution_is_only_used_when_it_applies() -> None:
    """Tones, steps and impulses have no `resolution` where noise of that rate and length has none."""
    de_h, count = tag("de_h", bearing=CWRU), np.arange(12_000)
    of_view = view("de_h", features=("time", "spectrum", *TURNING), bands=((10, 1000),))
    tone, impulse, step = np.sin(np.pi * count / 4), count == 5000, count >= 6000
    for values in (tone, impulse, step, np.tile([1, -1], 6000), np.sign(tone + 0.1), count, 1e10 + 1e-5 * (count % 2)):
        wave = samples(de_h, np.floor(count * SECOND / 12_000), values.astype(np.float64))
        assert only(rows(of_view, wave, tags=(de_h,), facts={"speed_rpm": 1800}))["de_h_reason"] is None


def test_a_window_that_is_too_short_has_the_reason_resolution() -> None:
    """A band below three lines or above the anti-alias filter; five turns of the shaft, ten periods of a line."""
    de_h = tag("de_h", bearing=CWRU)
    row = only(rows(view("de_h"), waveform(de_h), tags=(de_h,)))
    assert (row["de_h_reason"], row["de_h_band_rms_5000_10000"]) == ("resolution", None)
    turning = view("de_h", features=("orders", "envelope"))
    row = only(rows(turning, waveform(de_h), tags=(de_h,), facts={"speed_rpm": 240}))
    assert (row["de_h_order_1x"], row["de_h_ses_ftf_snr"], row["de_h_reason"]) == (None, None, "resolution")
    assert (row["de_h_rpm"], row["de_h_rpm_source"]) == (240, "asset")


def test_a_window_that_exceeds_its_range_is_valid() -> None:
    """Its samples were measured: the share beyond the range is counted, and shocks keep their features."""
    de_h = tag("de_h", range=(-1, 1))
    marked = waveform(de_h).with_columns(quality=pl.lit(UNCERTAIN_ENGINEERING_UNITS_EXCEEDED | 0x400, pl.UInt32))
    row, as_good = (only(rows(view("de_h"), SampleBatch(each), tags=(de_h,))) for each in (marked, waveform(de_h)))
    assert (row["de_h_valid"], row["de_h_reason"]) == (True, as_good["de_h_reason"])
    assert row["de_h_clipped"] > 0
    assert row["de_h_rms_ac"] == as_good["de_h_rms_ac"]


def test_the_share_of_clipped_samples_is_counted() -> None:
    """A sample within 1 % of full scale of a limit is clipped; without a range the share is unknown."""
    values = np.sin(np.arange(12_000) * 0.1) * 10
    values[:240] = [10, -9.95] * 120
    values = np.clip(values, -9.95, 10)
    times = np.floor(np.arange(12_000) * SECOND / 12_000)
    share = np.mean((values >= 9.9) | (values <= -9.9))
    for limits, expected in (((-10, 10), share), ((-100, 100), 0), (None, None)):
        de_h = tag("de_h", range=limits)
        assert only(rows(view("de_h"), samples(de_h, times, values), tags=(de_h,)))["de_h_clipped"] == expected


@pytest.mark.parametrize("align", ["epoch", "burst"])
@pytest.mark.parametrize("rate", [12_100.0, 48_000.0])
def test_a_stretch_of_another_rate_than_the_points_has_no_features(rate: float, align: Any) -> None:
    """The reason is the rate, not the gaps that its samples seem to have; a burst has no window for each sample."""
    de_h, count = tag("de_h"), round(2 * rate)
    times = START + 2 * SECOND + np.arange(count) * SECOND / rate
    noise = np.random.default_rng(0).normal(size=count)
    stretches = packed(de_h.name, times, noise, rate)
    pages = iter([pack(waveform(de_h), {de_h.name: 12_000}).batch, stretches])
    found = rows_of(replace(view("de_h", features=("time",)), align=align), in_step(iter(()), pages), (de_h,))
    assert 1 < found.height <= 1 + stretches.height
    assert found["de_h_reason"].to_list() == [None, *["rate"] * (found.height - 1)]
    assert found["de_h_valid"].to_list() == [True, *[False] * (found.height - 1)]
