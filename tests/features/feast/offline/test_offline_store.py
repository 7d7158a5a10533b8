"""Feast's historical retrieval: which row is selected for a label, and the form of the answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.errors import FeastEntityDFMissingColumnsError
from feast.types import Array, Float64, Int64, String
from polars.testing import assert_frame_equal

from historian.errors import FeatureError
from tests.features.feast.offline.sources import ASSET, START, Layout, at, labels, retrieved, rows, save, view

# Feast calls two of its own parts experimental with every use.
pytestmark = [
    pytest.mark.filterwarnings("ignore:On demand feature view is an experimental feature:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:(Saving|Retrieving) datasets? is an experimental feature:RuntimeWarning"),
]


def test_every_label_comes_back_once_and_in_order(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """Repeated labels, labels of unknown assets and labels before any row stay, with their other columns."""
    store = feast(ASSET, view(save(rows("11", [0, 10], [1, 11], [1.0, 2.0]), tmp_path / "rows")))
    entity_df = labels("19111", [10, 10, 10, -1, 5], rul=[3, 4, 3, 5, 6], note=["a", None, "a", "b", "c"])
    expected = pl.DataFrame(
        {
            "asset": ["c1", "c9", "c1", "c1", "c1"],
            "event_timestamp": at(10, 10, 10, -1, 5),
            "rul": [3, 4, 3, 5, 6],
            "note": ["a", None, "a", "b", "c"],
            "rms": [2.0, None, 2.0, None, 1.0],
        }
    )
    assert_frame_equal(retrieved(store, entity_df, "vib:rms"), expected)


def test_the_callers_frame_is_not_changed(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """Times without a zone are UTC in the answer and unchanged in the given frame."""
    store = feast(ASSET, view(save(rows("1", [0], [0], [1.0]), tmp_path / "rows")))
    entity_df = labels("1", [5]).assign(event_timestamp=[pd.Timestamp("2026-03-01 00:00:05")])
    before = entity_df.copy(deep=True)
    assert retrieved(store, entity_df, "vib:rms")["event_timestamp"].to_list() == at(5).to_list()
    pd.testing.assert_frame_equal(entity_df, before)


@pytest.mark.parametrize("layout", ["file", "directory", "delta"])
@pytest.mark.parametrize("by_created", [False, True])
def test_random_histories_agree_with_brute_force(
    tmp_path: Path, feast: Callable[..., FeatureStore], layout: Layout, *, by_created: bool
) -> None:
    """Three versions of many values, labels at any time, two views of different ttl: no value is wrong."""
    random = np.random.default_rng(7)
    events = random.integers(0, 60, 300).tolist()
    created = [event + int(random.integers(0, 40)) for event in events]
    history = rows("".join(map(str, random.integers(0, 4, 300))), events, created, random.normal(size=300).tolist())
    history = history.unique(["asset", "event_timestamp", "created_timestamp"], maintain_order=True)
    source = save(history, tmp_path / "rows", layout)
    ttl = timedelta(seconds=3)
    store = feast(ASSET, view(source, name="short", ttl=ttl), view(source, name="long"))
    entity_df = labels("".join(map(str, random.integers(0, 5, 80))), random.integers(-5, 110, 80).tolist())
    found = retrieved(
        store,
        entity_df,
        "short:rms",
        "long:rms",
        full_feature_names=True,
        filter_by_created_timestamp=by_created,
    )
    for name, limit in (("short__rms", ttl), ("long__rms", None)):
        assert found[name].to_list() == brute_force(entity_df, history, limit, by_created=by_created)


def brute_force(
    entity_df: pd.DataFrame, history: pl.DataFrame, ttl: timedelta | None, *, by_created: bool
) -> list[float | None]:
    """For each label the value of the best of all rows that could be selected."""
    answer = []
    for label in pl.DataFrame(entity_df).to_dicts():
        when = label["event_timestamp"]
        serving = [
            (row["event_timestamp"], row["created_timestamp"], row["rms"])
            for row in history.to_dicts()
            if row["asset"] == label["asset"] and row["event_timestamp"] <= when
            if ttl is None or row["event_timestamp"] >= when - ttl
            if not by_created or row["created_timestamp"] <= when
        ]
        answer.append(max(serving)[2] if serving else None)
    return answer


def test_a_correction_made_after_the_label_counts_unless_it_is_cut_off(
    tmp_path: Path, feast: Callable[..., FeatureStore]
) -> None:
    """The corrected value is returned by default; filter_by_created_timestamp returns the earlier one."""
    store = feast(ASSET, view(save(rows("11", [0, 0], [1, 60], [1.0, 9.0]), tmp_path / "rows", "delta")))
    entity_df = labels("1", [30])
    assert retrieved(store, entity_df, "vib:rms")["rms"].to_list() == [9.0]
    assert retrieved(store, entity_df, "vib:rms", filter_by_created_timestamp=True)["rms"].to_list() == [1.0]


def test_a_source_without_created_timestamps_is_not_cut_off(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """Without created timestamps the flag changes nothing."""
    source = save(rows("1", [0], [60], [1.0]), tmp_path / "rows")
    source.created_timestamp_column = ""
    found = retrieved(feast(ASSET, view(source)), labels("1", [5]), "vib:rms", filter_by_created_timestamp=True)
    assert found["rms"].to_list() == [1.0]


@pytest.mark.parametrize("dtype", [pl.Datetime("ns"), pl.Datetime("ms", "Europe/Berlin"), pl.Datetime("ns", "UTC")])
def test_any_kind_of_timestamp_means_the_same_instant(
    tmp_path: Path, feast: Callable[..., FeatureStore], dtype: pl.Datetime
) -> None:
    """Times without a zone are UTC; others are converted; both ends of the ttl stay exact."""
    frame = rows("11", [0, 10], [0, 10], [1.0, 2.0])
    times = pl.col("event_timestamp", "created_timestamp")
    times = times.dt.convert_time_zone(dtype.time_zone) if dtype.time_zone else times.dt.replace_time_zone(None)
    source = save(frame.with_columns(times.dt.cast_time_unit(dtype.time_unit)), tmp_path / "rows")
    store = feast(ASSET, view(source, ttl=timedelta(seconds=4)))
    entity_df = labels("11111", [0, 4, 4.000001, 9.999999, 10])
    assert retrieved(store, entity_df, "vib:rms")["rms"].to_list() == [1.0, 1.0, None, None, 2.0]


def test_types_are_those_feast_knows(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """Plain strings and lists, timestamps with UTC; categories are strings."""
    frame = rows("1", [0], [0], [1.0]).with_columns(
        state=pl.lit("on"), spectrum=pl.lit([1.0, 2.0]), mode=pl.lit("a", pl.Categorical()), count=pl.lit(3, pl.Int64)
    )
    types = {"state": String, "spectrum": Array(Float64), "mode": String, "count": Int64}
    store = feast(ASSET, view(save(frame, tmp_path / "rows"), **types))
    table = store.get_historical_features(labels("1", [5]), [f"vib:{name}" for name in types]).to_arrow()
    assert {name: table.schema.field(name).type for name in ("asset", *types)} == {
        "asset": pa.string(),
        "state": pa.string(),
        "spectrum": pa.list_(pa.float64()),
        "mode": pa.string(),
        "count": pa.int64(),
    }
    assert table.schema.field("event_timestamp").type.tz == "UTC"
    assert table.to_pylist()[0]["spectrum"] == [1.0, 2.0]


@pytest.mark.parametrize("given", [[2.0, 1.5, None, 1.0], ["2", "02", None, "1"]])
def test_integer_keys_survive_a_frame_that_made_them_something_else(
    tmp_path: Path, feast: Callable[..., FeatureStore], given: list[Any]
) -> None:
    """Pandas turns whole numbers with a gap into floats, a CSV into text; 1.5 and 02 are no keys, nor is a gap."""
    unit = Entity(name="unit", join_keys=["unit"], value_type=ValueType.INT64)
    frame = rows("11", [0, 0], [0, 0], [1.0, 2.0]).with_columns(unit=pl.Series([1, 2], dtype=pl.Int32)).drop("asset")
    by_unit = FeatureView(
        name="vib",
        entities=[unit],
        schema=[Field(name="unit", dtype=Int64), Field(name="rms", dtype=Float64)],
        source=save(frame, tmp_path / "rows"),
    )
    entity_df = labels("1111", [5] * 4).drop(columns="asset").assign(unit=given)
    assert retrieved(feast(unit, by_unit), entity_df, "vib:rms")["rms"].to_list() == [2.0, None, None, 1.0]


def test_a_view_without_entities_serves_every_label(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """The newest row of the plant is used whatever the label's asset, also when it is materialised."""
    whole = FeatureView(
        name="plant",
        entities=[],
        schema=[Field(name="rms", dtype=Float64)],
        source=save(rows("11", [0, 10], [0, 10], [1.0, 2.0]).drop("asset"), tmp_path / "rows"),
    )
    store = feast(ASSET, whole)
    assert retrieved(store, labels("12", [5, 15]), "plant:rms")["rms"].to_list() == [1.0, 2.0]
    store.materialize(START, START + timedelta(seconds=60))
    assert store.get_online_features(["plant:rms"], [{"asset": "c1"}]).to_dict()["rms"] == [2.0]


def test_no_labels_give_no_rows_but_all_columns(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """The answer is empty and has the right types."""
    store = feast(ASSET, view(save(rows("1", [0], [0], [1.0]), tmp_path / "rows")))
    found = retrieved(store, labels("1", [5]).head(0), "vib:rms")
    assert (found.height, found.schema["rms"]) == (0, pl.Float64())


@pytest.mark.parametrize(
    ("entity_df", "error", "message"),
    [
        ("SELECT * FROM labels", ValueError, "no query that Polars can answer: .*labels"),
        (labels("1", [5]).drop(columns="asset"), FeastEntityDFMissingColumnsError, "asset"),
        (labels("1", [5], rms=[1.0]), ValueError, "columns called as features are: rms; rename them"),
        (
            labels("1", [5]).assign(asset=[["c1"]]),
            ValueError,
            "join key asset of the labels holds list.*one value a row",
        ),
        (
            labels("11", [5, 6]).assign(asset=["c1", 1]),
            ValueError,
            "not hold values of one kind: .*column asset.*astype",
        ),
        (
            labels("11", [5, 6]).assign(asset=[1, "c1"]),
            ValueError,
            "not hold values of one kind: .*column asset.*astype",
        ),
        (labels("11", [5, 6]).assign(note=["", 1.5]), ValueError, "not hold values of one kind: .*column note.*astype"),
    ],
)
def test_labels_that_cannot_be_joined_are_refused(
    tmp_path: Path, feast: Callable[..., FeatureStore], entity_df: Any, error: type[Exception], message: str
) -> None:
    """An unknown query, a missing join key or a list as one, a feature's name as a column, text among numbers."""
    store = feast(ASSET, view(save(rows("1", [0], [0], [1.0]), tmp_path / "rows")))
    with pytest.raises(error, match=message):
        store.get_historical_features(entity_df, ["vib:rms"])


def test_a_column_the_source_lacks_is_named(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """The error says what to do, for a plain Feast repository and for a plant."""
    store = feast(ASSET, view(save(rows("1", [0], [0], [1.0]), tmp_path / "rows"), peak=Float64))
    message = (
        r"feature source \S*rows.parquet has no column peak; it has asset,.* run feast apply; or, .* penstock compute"
    )
    with pytest.raises(FeatureError, match=message):
        store.get_historical_features(labels("1", [5]), ["vib:peak"]).to_arrow()


def test_a_delta_table_that_is_not_there_is_named(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """A retrieval before anything was computed says so."""
    source = FileSource(path=str(tmp_path / "nowhere"), file_format=DeltaFormat(), timestamp_field="event_timestamp")
    with pytest.raises(FileNotFoundError, match="no features have been computed yet"):
        feast(ASSET, view(source)).get_historical_features(labels("1", [5]), ["vib:rms"])
