"""A row has a reason where a feature is missing, and none where all are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import hypothesis.strategies as st
import numpy as np
import polars as pl
from hypothesis import given, settings

from features.compute.rows.missing import missing_flags
from features.define.reasons import REASONS
from features.define.spec import FeatureSpec
from historian.plant.connections import Tag
from historian.plant.plant import View
from historian.quality import BAD
from historian.samples import SampleBatch
from tests.features.compute.rows.signals import (
    CWRU,
    SPEED,
    TURNING,
    dial,
    plan_of,
    rows,
    tag,
    view,
    waveform,
)


def test_codes_of_other_packages_are_kept_apart() -> None:
    """A code holds only where the spec has it; a missing feature without a known reason has the code `other`."""
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
def any_window(draw: st.DrawFn) -> tuple[Tag, View, list[SampleBatch], tuple[Tag, ...]]:
    """A vibration point with defects of any kind, and a speed of any kind."""
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


@given(any_window())
@settings(max_examples=40)
def test_a_feature_is_missing_exactly_where_there_is_a_reason(
    case: tuple[Tag, View, list[SampleBatch], tuple[Tag, ...]],
) -> None:
    """The reason is null if and only if every feature is there, speed included; its codes are of the table."""
    de_h, of_view, batches, tags = case
    found = rows(of_view, *batches, tags=tags)
    names = [spec.name for spec in plan_of(of_view, (de_h, SPEED)).tags[0].plan.features]
    missing = found.select(pl.any_horizontal(pl.col(f"de_h_{name}").is_null() for name in (*names, "rpm"))).to_series()
    assert (found["de_h_reason"].is_not_null() == missing).all()
    given = {code for reason in found["de_h_reason"].drop_nulls() for code in reason.split(" ")}
    assert given <= set(REASONS) - {"other"}
