"""Rows of an asset: points side by side, each with its speed and, where a feature is missing, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings

from features.compute.rows.asset_rows import asset_rows
from features.compute.rows.missing import missing_flags
from features.define.catalogue import point_groups
from features.define.reasons import REASONS
from features.define.spec import FeatureSpec
from features.windows.tiling import Span
from historian.plant.connections import Tag
from historian.plant.model import Bearing, Site, StatedOrders
from historian.plant.plant import View
from historian.quality import BAD
from historian.samples import SampleBatch, normalise

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
ONE = timedelta(seconds=1)
ALWAYS = Span(0, START * 2, START * 2)
CWRU = Bearing(balls=9, ball_diameter=7.94, pitch_diameter=39.04)
TURNING = ("orders", "envelope", "kurtogram")


def tag(point: str, kind: Any = "vibration", **more: Any) -> Tag:
    """The tag that fills a point of asset p1."""
    usual = {
        "unit": "g",
        "sample_rate": 12_000 if kind == "vibration" else None,
        "range": None,
        "max_staleness": 5 * ONE,
    }
    return Tag(
        name=f"p1.{point}",
        asset="p1",
        point=point,
        kind=kind,
        address="",
        scale=1.0,
        offset=0.0,
        options=Site(name="x"),
        **{**usual, **more},
    )


def view(*points: str, features: tuple[str, ...] = (), length: int = 1, **more: Any) -> View:
    """Windows of a second, or of as many as asked for."""
    kind: Any = more.pop("kind", "vibration")
    return View("pump_v", "pump", points, kind, length * ONE, length * ONE, "epoch", None, features, **more)


def samples(of: Tag, times: npt.ArrayLike, values: Any, *, text: Any = None, quality: Any = 0) -> SampleBatch:
    """Samples at microseconds after START."""
    stamps = pl.Series(np.asarray(times, np.int64) + START).cast(pl.Datetime("us", "UTC"))
    words = pl.Series(text or [None] * len(stamps), dtype=pl.String)
    columns = {"tag": of.name, "timestamp": stamps, "value": pl.Series(values, dtype=pl.Float64), "text": words}
    return normalise(pl.DataFrame(columns).with_columns(quality=quality)).batch


def waveform(of: Tag, seconds: float = 1, *, seed: int = 0) -> SampleBatch:
    """Noise from START."""
    rate = of.sample_rate or 0
    count = round(seconds * rate)
    noise = np.random.default_rng(seed).normal(size=count)
    return samples(of, np.floor(np.arange(count) * SECOND / rate), noise)


def dial(of: Tag, values: Sequence[float], *, every: float = 0.25) -> SampleBatch:
    """A slow tag's values, from START."""
    return samples(of, np.arange(len(values)) * every * SECOND, values)


def rows(asked: View, *pages: SampleBatch, tags: tuple[Tag, ...], span: Span = ALWAYS) -> pl.DataFrame:
    """All rows; each batch is a page of its own if there are several for one tag."""
    whole = normalise(pl.concat(pages)).batch
    ready = {each.name: span.ready for each in tags}
    parts = list(asset_rows(iter([whole]), tags, asked, span, ready))
    return pl.concat([part.frame for part in parts], how="diagonal_relaxed")


def only(frame: pl.DataFrame) -> dict[str, Any]:
    """The only row."""
    assert frame.height == 1
    return frame.row(0, named=True)


def test_points_of_several_rates_are_joined_by_the_window_end() -> None:
    """One row an asset and end, whatever the rates; each point says its own rate, resolution and coverage."""
    fast, slow = tag("de_h", sample_rate=25_600), tag("nde_h", sample_rate=12_800)
    found = rows(view("de_h", "nde_h"), waveform(fast, 3), waveform(slow, 2), tags=(fast, slow))
    assert found["event_timestamp"].to_physical().to_list() == [START + k * SECOND for k in (1, 2, 3)]
    assert found.select("de_h_fs_hz", "nde_h_fs_hz", "de_h_n", "nde_h_n").row(0) == (25_600, 12_800, 25_600, 12_800)
    assert found.select("de_h_df_hz", "de_h_coverage", "de_h_reason").row(2) == (1, 1, None)
    assert found.select("nde_h_n", "nde_h_rms_ac", "nde_h_reason").row(2) == (None, None, "absent")


def test_a_point_without_a_tag_is_absent() -> None:
    """Also where the asset has no sample of any of the points, but of the speed."""
    de_h, speed = tag("de_h"), tag("speed", "speed", unit="rpm")
    asked = view("de_h", "nde_h", speed="speed")
    assert rows(asked, waveform(de_h), tags=(de_h,))["nde_h_reason"].to_list() == ["absent"]
    assert rows(asked, dial(speed, [1500] * 8), tags=(speed,)).is_empty()


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
    """No feature of it is there; what could be counted is."""
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
    """Its code is in the row, and no other."""
    de_h = tag("de_h", unit=unit)
    wave = waveform(de_h) if values is None else samples(de_h, np.floor(np.arange(12_000) * SECOND / 12_000), values)
    asked = view("de_h", features=features, bands=((10, 1000),))
    row = only(rows(asked, wave, tags=(de_h,)))
    assert (row["de_h_valid"], row["de_h_reason"]) == (True, reason)


@pytest.mark.parametrize("scale", [1e300, 1e61, 1e-61, 1e-200, 5e-324])
def test_of_values_that_float64_cannot_square_nothing_is_computed(scale: float) -> None:
    """Too large or too small: half of the features would still be numbers, cut short. One sample is enough."""
    de_h = tag("de_h", bearing=CWRU)
    asked = view("de_h", features=("time", "spectrum", *TURNING), fixed_rpm={"p1": 1800.0}, bands=((10, 1000),))
    names = [f"de_h_{spec.name}" for group in point_groups(asked, de_h).values() for spec in group.specs]
    times, one = np.floor(np.arange(12_000) * SECOND / 12_000), np.arange(12_000) == 7000
    for values in (np.tile([1, -1], 6000) * scale, one * scale):
        row = only(rows(asked, samples(de_h, times, values), tags=(de_h,)))
        assert (row["de_h_valid"], row["de_h_reason"]) == (True, "magnitude")
        assert {row[name] for name in names} == {None}
    inside = min(max(scale, 2e-60), 5e59)
    row = only(rows(asked, samples(de_h, times, one * inside), tags=(de_h,)))
    assert row["de_h_reason"] is None
    assert None not in {row[name] for name in names}


def test_what_is_not_known_of_the_setting_is_not_blamed_on_it() -> None:
    """Tones, steps and impulses have no `resolution` where noise of that rate and length has none."""
    de_h, count = tag("de_h", bearing=CWRU), np.arange(12_000)
    asked = view("de_h", features=("time", "spectrum", *TURNING), fixed_rpm={"p1": 1800.0}, bands=((10, 1000),))
    tone, impulse, step = np.sin(np.pi * count / 4), count == 5000, count >= 6000
    for values in (tone, impulse, step, np.tile([1, -1], 6000), np.sign(tone + 0.1), count, 1e10 + 1e-5 * (count % 2)):
        wave = samples(de_h, np.floor(count * SECOND / 12_000), values.astype(np.float64))
        assert only(rows(asked, wave, tags=(de_h,)))["de_h_reason"] is None


def test_a_slow_value_that_float64_cannot_square_is_told() -> None:
    """What can be had is there; what cannot is missing for its magnitude."""
    oil = tag("oil", "process", unit="degC", max_staleness=ONE * 60)
    span = Span(START, START + 20 * SECOND, 2 * START)
    told = samples(oil, np.arange(4) * 5 * SECOND, [1e200, -1e200, 1, 2])
    found = rows(view("oil", length=10, kind="process"), told, tags=(oil,), span=span)
    assert found["oil_reason"].to_list() == ["magnitude", None]
    assert found.select("oil_std", "oil_max").row(0) == (None, 1e200)


def test_what_a_window_cannot_resolve_has_too_little_resolution() -> None:
    """A band below three lines or above the anti-alias filter; five turns of the shaft, ten periods of a line."""
    de_h = tag("de_h", bearing=CWRU)
    row = only(rows(view("de_h"), waveform(de_h), tags=(de_h,)))
    assert (row["de_h_reason"], row["de_h_band_rms_5000_10000"]) == ("resolution", None)
    slow = view("de_h", features=("orders", "envelope"), fixed_rpm={"p1": 240.0})
    row = only(rows(slow, waveform(de_h), tags=(de_h,)))
    assert (row["de_h_order_1x"], row["de_h_ses_ftf_snr"], row["de_h_reason"]) == (None, None, "resolution")
    assert (row["de_h_rpm"], row["de_h_rpm_source"]) == (240, "asset")


def test_the_share_of_clipped_samples_is_told() -> None:
    """Within 1 % of full scale of an end of the range; unknown without a range."""
    values = np.sin(np.arange(12_000) * 0.1) * 10
    values[:240] = [10, -9.95] * 120
    values = np.clip(values, -9.95, 10)
    times = np.floor(np.arange(12_000) * SECOND / 12_000)
    share = np.mean((values >= 9.9) | (values <= -9.9))
    for limits, expected in (((-10, 10), share), ((-100, 100), 0), (None, None)):
        de_h = tag("de_h", range=limits)
        assert only(rows(view("de_h"), samples(de_h, times, values), tags=(de_h,)))["de_h_clipped"] == expected


SPEED = tag("speed", "speed", unit="rpm", max_staleness=ONE)


@pytest.mark.parametrize(
    ("speeds", "unit", "rpm", "reason"),
    [
        ([1800, 1800, 1820, 1800], "rpm", 1805, None),
        ([30, 30, 30, 30], "Hz", 1800, None),
        ([1800, 1800, 1800, 1840], "rpm", None, "speed_varies"),
        ([0, 0, 0, 0], "rpm", None, "no_speed"),
        ([None, None, 1500, 1500], "rpm", None, "no_speed"),
    ],
    ids=["steady", "in Hz", "varies", "stands", "half unknown"],
)
def test_the_speed_of_a_window_is_that_of_its_tag(
    speeds: list[float], unit: str, rpm: float | None, reason: str | None
) -> None:
    """Time-weighted, in rpm; where there is none to be used, what needs it is missing and says why."""
    de_h, speed = tag("de_h", bearing=CWRU), tag("speed", "speed", unit=unit, max_staleness=ONE)
    asked = view("de_h", features=TURNING, speed="speed", fixed_rpm={})
    row = only(rows(asked, waveform(de_h), dial(speed, speeds), tags=(de_h, speed)))
    assert (row["de_h_rpm"], row["de_h_rpm_source"]) == (pytest.approx(rpm) if rpm else None, "tag" if rpm else None)
    assert row["de_h_reason"] == reason
    assert (row["de_h_order_1x"] is None, row["de_h_ses_bpfi_amp"] is None) == (rpm is None, rpm is None)
    assert row["de_h_sk_max"] is not None


def test_a_speed_that_is_too_old_is_none() -> None:
    """A sample holds for max_staleness, as slow tags do; the fixed speed of the asset does not step in."""
    de_h, speed = tag("de_h", bearing=CWRU), tag("speed", "speed", unit="rpm", max_staleness=ONE)
    asked = view("de_h", features=("orders",), speed="speed")
    found = rows(asked, waveform(de_h, 3), dial(speed, [1500]), tags=(de_h, speed))
    assert found["de_h_rpm"].to_list() == [1500, None, None]
    assert found["de_h_reason"].to_list() == [None, "no_speed", "no_speed"]


def test_a_window_uses_no_speed_of_its_future() -> None:
    """What is reported at or after its end changes nothing."""
    de_h = tag("de_h", bearing=CWRU)
    asked = view("de_h", features=("orders",), speed="speed")
    past, future = dial(SPEED, [1500] * 4), dial(SPEED, [1500] * 4 + [3000] * 4)
    known = rows(asked, waveform(de_h), past, tags=(de_h, SPEED))
    assert rows(asked, waveform(de_h), future, tags=(de_h, SPEED)).equals(known)


def test_a_bearing_that_cannot_be_is_said_not_used() -> None:
    """No geometry, balls that do not fit, or a maker who states another: no line is looked for; orders need none."""
    misfit = Bearing(balls=20, ball_diameter=9, pitch_diameter=39)
    stated = StatedOrders(bpfo=3.585, bpfi=5.415, bsf=2.357, ftf=0.602)
    for bearing in (None, misfit, CWRU.model_copy(update={"orders": stated})):
        de_h = tag("de_h", bearing=bearing)
        asked = view("de_h", features=("orders", "envelope"), fixed_rpm={"p1": 1772.0})
        row = only(rows(asked, waveform(de_h), tags=(de_h,)))
        assert row["de_h_reason"] == "geometry"
        assert (row["de_h_order_1x"] is None, row["de_h_ses_bpfo_amp"]) == (False, None)


def test_pages_give_what_one_look_gives() -> None:
    """The speed is carried from page to page as far back as a window may need it."""
    de_h = tag("de_h", bearing=CWRU)
    asked = view("de_h", features=("orders",), speed="speed")
    whole = normalise(pl.concat([waveform(de_h, 4), dial(SPEED, [1500, 1480, 1510], every=0.9)])).batch
    at_once = rows(asked, whole, tags=(de_h, SPEED))
    by_time = whole.sort("timestamp", maintain_order=True)
    pages = [normalise(by_time[start : start + 5000]).batch for start in range(0, len(by_time), 5000)]
    ready = {each.name: ALWAYS.ready for each in (de_h, SPEED)}
    parts = asset_rows(iter(pages), (de_h, SPEED), asked, ALWAYS, ready)
    assert pl.concat([part.frame for part in parts], how="diagonal_relaxed").equals(at_once)
    assert at_once["de_h_reason"].to_list() == [None, "speed_varies", None, "no_speed"]


MODE = tag("mode", "state", unit="", states={"running": "RUN", "idle": "IDLE"}, max_staleness=ONE * 60)
PUMP = tag("pump", "process", unit="", states={"off": 0, "on": 1}, max_staleness=ONE * 60)


def slow(*points: str, features: tuple[str, ...] = ()) -> View:
    """Windows of ten seconds over slow points."""
    return view(*points, features=features, length=10, kind="process")


def test_time_in_state_of_a_text() -> None:
    """Shares of the window by listed state, the last one, changes, and since when."""
    times = np.array([0, 4, 6, 9]) * SECOND
    told = samples(MODE, times, [None] * 4, text=["RUN", "RUN", "IDLE", "Tripped"])
    row = only(rows(slow("mode"), told, tags=(MODE,), span=Span(START, START + 10 * SECOND, 2 * START)))
    expected = {
        "share_running": 0.6,
        "share_idle": 0.3,
        "last_state": "Tripped",
        "changes": 2,
        "seconds_since_change": 1,
        "count": 4,
        "good_share": 1,
        "n": 4,
        "valid": True,
        "reason": None,
    }
    assert {name: row[f"mode_{name}"] for name in expected} == pytest.approx(expected)


def test_time_in_state_of_a_number() -> None:
    """0 and 1 by their names; the same tag may be a number as well."""
    told = samples(PUMP, np.array([0, 2.5, 5]) * SECOND, [0, 1, 0])
    span = Span(START, START + 10 * SECOND, 2 * START)
    row = only(rows(slow("pump", features=("slow", "states")), told, tags=(PUMP,), span=span))
    assert [row[f"pump_{name}"] for name in ("share_on", "share_off", "mean")] == pytest.approx([0.25, 0.75, 0.25])
    assert (row["pump_last_state"], row["pump_last"], row["pump_changes"]) == ("off", 0, 2)
    unlisted = tag("pump", "state", unit="", max_staleness=ONE * 60)
    row = only(rows(slow("pump"), samples(unlisted, [0, SECOND], [2, 2.5]), tags=(unlisted,), span=span))
    assert (row["pump_last_state"], row["pump_valid"]) == ("2.5", True)


def test_a_slow_window_that_is_not_valid_says_why() -> None:
    """A sensor that fell silent; one that reports itself bad; a state that was never told."""
    oil = tag("oil", "process", unit="degC", max_staleness=ONE)
    span = Span(START, START + 10 * SECOND, 2 * START)
    silent = rows(slow("oil"), dial(oil, [1, 2, 3]), tags=(oil,), span=span)
    assert only(silent)["oil_reason"] == "stale"
    bad = samples(oil, np.arange(20) * SECOND // 2, [1.0] * 5 + [None] * 15, quality=pl.Series([0] * 5 + [BAD] * 15))
    assert only(rows(slow("oil"), bad, tags=(oil,), span=span))["oil_reason"] == "bad_quality"
    void = samples(MODE, [0], [None], text=[None], quality=BAD)
    row = only(rows(slow("mode"), void, tags=(MODE,), span=span))
    assert (row["mode_last_state"], row["mode_share_running"], row["mode_reason"]) == (None, None, "bad_quality")


def test_codes_of_other_packages_are_kept_apart() -> None:
    """What a spec gives and nothing known explains is its own; of what gives nothing all one knows is the magnitude."""
    specs = [
        FeatureSpec("theirs", "", "x", "own", len, reasons=("no_speed", "other")),  # type: ignore[arg-type]
        FeatureSpec("plain", "", "x", "own", len),  # type: ignore[arg-type]
    ]
    values = {"theirs": np.array([np.nan, np.nan, 1, np.inf]), "plain": np.array([1, 2, np.nan, np.nan])}
    known: Mapping[Any, Any] = {code: np.arange(4) == place for place, code in ((0, "no_speed"), (3, "magnitude"))}
    flags = missing_flags(specs, values, known, 4)
    assert {code: holds.tolist() for code, holds in flags.items() if holds.any()} == {
        "no_speed": [True, False, False, False],
        "other": [False, True, True, False],
        "magnitude": [False, False, False, True],
    }


@st.composite
def troubled(draw: st.DrawFn) -> tuple[Tag, View, list[SampleBatch], tuple[Tag, ...]]:
    """A vibration point with every kind of trouble, and a speed that may be anything."""
    rate = draw(st.sampled_from([1000, 12_000]))
    bearing = draw(st.sampled_from([CWRU, None]))
    de_h = tag("de_h", sample_rate=rate, bearing=bearing, unit=draw(st.sampled_from(["g", "mm/s"])))
    wave = waveform(de_h, draw(st.sampled_from([1.0, 2.5])), seed=draw(st.integers(0, 9)))
    scale = draw(st.sampled_from([1.0, 0.0, 1e200, 1e-200]))
    keep = pl.int_range(pl.len()) != draw(st.integers(0, 3 * rate))
    quality = pl.when(pl.int_range(pl.len()) == draw(st.integers(0, 3 * rate))).then(BAD).otherwise(0).cast(pl.UInt32)
    wave = SampleBatch(wave.with_columns(value=pl.col("value") * scale, quality=quality).filter(keep))
    speeds = draw(st.lists(st.sampled_from([1500.0, 1510.0, 1800.0, 0.0]), min_size=1, max_size=8))
    features = draw(st.sampled_from([(), ("time", *TURNING), ("orders", "envelope"), ("spectrum", "kurtogram")]))
    return de_h, view("de_h", features=features, speed="speed"), [wave, dial(SPEED, speeds)], (de_h, SPEED)


@given(troubled())
@settings(max_examples=40)
def test_a_feature_is_missing_exactly_where_there_is_a_reason(
    case: tuple[Tag, View, list[SampleBatch], tuple[Tag, ...]],
) -> None:
    """The reason is null if and only if every feature is there, speed included; its codes are of the table."""
    de_h, asked, batches, tags = case
    found = rows(asked, *batches, tags=tags)
    names = [spec.name for group in point_groups(asked, de_h).values() for spec in group.specs]
    missing = found.select(pl.any_horizontal(pl.col(f"de_h_{name}").is_null() for name in (*names, "rpm"))).to_series()
    assert (found["de_h_reason"].is_not_null() == missing).all()
    given = {code for reason in found["de_h_reason"].drop_nulls() for code in reason.split(" ")}
    assert given <= set(REASONS) - {"other"}
