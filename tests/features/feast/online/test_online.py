"""The newest features of an asset: written by materialize, never older than what was there, never past their ttl."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from feast import FeatureStore

from features.feast.online.lookup import Reading, materialize, online_response, readings
from features.feast.registry.feast_repo import apply, open_feature_store
from historian.errors import InvalidInput, StoreUnavailable, UnknownFeature
from historian.plant.plant import Plant

START = datetime(2026, 3, 1, tzinfo=UTC)
RMS = "compressor_vibration:de_h_rms_ac"
OIL = "compressor_process:oil_temp_mean"


def after(seconds: float) -> datetime:
    """An instant after START."""
    return START + timedelta(seconds=seconds)


def materialized(store: FeatureStore, end: float = 1000) -> dict[str, int | None]:
    """Materialises up to `end` seconds after START; returns the rows written of each view."""
    return materialize(store, end=after(end), advance=lambda _: None)


def value(store: FeatureStore, asset: str, ref: str = RMS, now: float = 1000) -> float | str | None:
    """The value in the online store."""
    return readings(store, [ref], asset, now=after(now))[0].value


def test_the_newest_row_of_each_asset_is_written(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """Their ages may differ much; views without a table are reported."""
    add_rows("compressor_vibration", ("c101", 0, 1, 1.0), ("c101", 10, 11, 2.0), ("c102", -9000, -8000, 5.0))
    assert materialized(store) == {"compressor_process": None, "compressor_vibration": 2, "pump_process": None}
    assert readings(store, [RMS], "c101", now=after(20)) == [Reading(RMS, 2.0, "g", after(10), "PRESENT")]
    assert value(store, "c102") == 5.0


def test_late_rows_never_replace_newer_ones(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """Neither late rows of older windows nor a run up to an earlier end replace them."""
    add_rows("compressor_vibration", ("c101", 10, 11, 2.0))
    materialized(store)
    add_rows("compressor_vibration", ("c101", 5, 500, 99.0))
    materialized(store)
    materialized(store, end=7)
    assert value(store, "c101") == 2.0


def test_late_rows_of_an_asset_that_had_none_are_written(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """They count although an earlier run has passed their time."""
    add_rows("compressor_vibration", ("c101", 100, 101, 2.0))
    materialized(store, end=200)
    add_rows("compressor_vibration", ("c102", 50, 300, 7.0))
    materialized(store, end=400)
    assert value(store, "c102") == 7.0


def test_a_correction_replaces_the_value(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """Of two rows of one window the one created last counts."""
    add_rows("compressor_vibration", ("c101", 10, 11, 2.0))
    materialized(store)
    add_rows("compressor_vibration", ("c101", 10, 60, 3.0))
    materialized(store)
    assert value(store, "c101") == 3.0


def test_rows_after_the_end_are_left_out(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """A row at the end itself is written."""
    add_rows("compressor_vibration", ("c101", 10, 11, 2.0), ("c101", 11, 12, 3.0))
    materialized(store, end=10)
    assert value(store, "c101") == 2.0


def test_materialize_adds_nothing_to_the_registry(
    plant: Plant, store: FeatureStore, add_rows: Callable[..., None]
) -> None:
    """It may therefore run every minute for years."""
    add_rows("compressor_vibration", ("c101", 10, 11, 2.0))
    registry = plant.state / "feast" / "registry.db"
    before = registry.read_bytes()
    materialized(store)
    assert registry.read_bytes() == before


def test_a_feature_past_its_ttl_is_missing(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """A value five minutes old is present, one a microsecond older is not; its time is still returned."""
    add_rows("compressor_process", ("c101", 0.25, 11, 60.0))
    materialized(store)
    last = after(300.25)
    assert readings(store, [OIL], "c101", now=last) == [Reading(OIL, 60.0, "degC", after(0.25), "PRESENT")]
    assert readings(store, [OIL], "c101", now=last + timedelta(microseconds=1)) == [
        Reading(OIL, None, "degC", after(0.25), "OUTSIDE_MAX_AGE")
    ]


def test_an_undefined_feature_and_an_absent_asset_are_distinguished(
    store: FeatureStore, add_rows: Callable[..., None]
) -> None:
    """Both are missing: one was computed and is null, the other was never computed."""
    add_rows("compressor_vibration", ("c101", 10, 11, None))
    materialized(store)
    found = [readings(store, [RMS], asset, now=after(20))[0] for asset in ("c101", "c102")]
    assert [(reading.value, reading.status) for reading in found] == [(None, "NULL_VALUE"), (None, "NOT_FOUND")]


def test_integers_and_flags_keep_their_type(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """This holds in a lookup with an asset for which they are missing."""
    add_rows("compressor_vibration", ("c101", 10, 11, 3.0), ("c102", 10, 11, None))
    materialized(store)
    refs = ["compressor_vibration:de_h_n", "compressor_vibration:de_h_valid"]
    assert [reading.value for reading in readings(store, refs, "c101", now=after(20))] == [3, True]


def test_unknown_features_are_named(store: FeatureStore) -> None:
    """Feast itself would answer with a KeyError."""
    with pytest.raises(UnknownFeature, match="unknown feature 'compressor_vibration:rms'"):
        online_response(store, ["compressor_vibration:rms"], ["c101"], full_feature_names=False, now=START)


def test_two_features_of_one_name_need_full_names(plant: Plant) -> None:
    """The short name of two views over one point would be ambiguous."""
    view = replace(plant.views["compressor_vibration"], name="compressor_slow")
    apply(replace(plant, views={**plant.views, view.name: view}))
    refs = [RMS, RMS.replace("compressor_vibration", "compressor_slow")]
    with pytest.raises(InvalidInput, match="set full_feature_names"):
        online_response(open_feature_store(plant), refs, ["c101"], full_feature_names=False, now=START)
    assert len(readings(open_feature_store(plant), refs, "c101", now=START)) == 2


def test_a_lost_online_store_is_unavailable(plant: Plant) -> None:
    """The file was deleted: the error says to run apply again."""
    apply(plant)
    (plant.state / "online.db").unlink()
    with pytest.raises(StoreUnavailable, match="run penstock apply"):
        readings(open_feature_store(plant), [RMS], "c101", now=START)
