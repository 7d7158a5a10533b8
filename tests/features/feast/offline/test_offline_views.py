"""Feature views with field mappings, versions, two joins and on-demand transformations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from feast import FeatureService, FeatureStore, Field, FileSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64

from tests.features.feast.offline.sources import ASSET, labels, retrieved, rows, save, view

# Feast calls two of its own parts experimental with every use.
pytestmark = [
    pytest.mark.filterwarnings("ignore:On demand feature view is an experimental feature:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:(Saving|Retrieving) datasets? is an experimental feature:RuntimeWarning"),
]


def test_field_mapping_applies_to_features_keys_and_times(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """A source may use other names for all of them."""
    frame = rows("12", [0, 0], [1, 1], [1.0, 2.0]).rename({"asset": "machine", "rms": "value", "event_timestamp": "at"})
    frame.write_parquet(tmp_path / "rows.parquet")
    source = FileSource(
        path="rows.parquet",  # relative to the repository
        timestamp_field="at",
        created_timestamp_column="created_timestamp",
        field_mapping={"machine": "asset", "value": "rms"},
    )
    assert retrieved(feast(ASSET, view(source)), labels("21", [3, 3]), "vib:rms")["rms"].to_list() == [2.0, 1.0]


def test_times_may_be_called_as_they_are_mapped(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """Both time columns may have the name in the file or the mapped one."""
    frame = rows("11", [0, 0], [1, 9], [1.0, 2.0]).rename({"event_timestamp": "at", "created_timestamp": "made"})
    frame.write_parquet(tmp_path / "rows.parquet")
    mapping = {"at": "event_timestamp", "made": "created_timestamp"}
    for event, created in (mapping.keys(), mapping.values()):
        source = FileSource(
            path="rows.parquet", timestamp_field=event, created_timestamp_column=created, field_mapping=mapping
        )
        store = feast(ASSET, view(source))
        found = retrieved(store, labels("11", [5, 15]), "vib:rms", filter_by_created_timestamp=True)
        assert found["rms"].to_list() == [1.0, 2.0]


def test_a_version_of_a_view_can_be_requested(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """Feast's `view@v0:feature` reads each version from the source it had."""
    feast()
    config = json.loads((tmp_path / "feature_store.yaml").read_text())
    config["registry"] = {"path": "registry.db", "enable_online_feature_view_versioning": True}
    (tmp_path / "feature_store.yaml").write_text(json.dumps(config))
    store = FeatureStore(str(tmp_path))
    for value in (1.0, 2.0):
        source = save(rows("1", [0], [0], [value]), tmp_path / f"rows{value}")
        store.apply([ASSET, view(source, **{"rms": Float64, f"new_in_{value:.0f}": Float64})])
    found = retrieved(store, labels("1", [5]), "vib:rms", "vib@v0:rms", "vib@v1:rms", full_feature_names=True)
    assert found.select("vib__rms", "vib@v0__rms", "vib@v1__rms").rows() == [(2.0, 1.0, 2.0)]


def test_one_view_can_be_joined_twice_under_two_names(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """With a join-key map one label gets the features of two assets."""
    vibration = view(save(rows("12", [0, 0], [1, 1], [1.0, 2.0]), tmp_path / "rows"))
    store = feast(ASSET, vibration)
    service = FeatureService(
        name="pair",
        features=[
            vibration.with_name("left").with_join_key_map({"asset": "left_asset"}),
            vibration.with_name("right").with_join_key_map({"asset": "right_asset"}),
        ],
    )
    store.apply([service])
    entity_df = labels("1", [5]).assign(left_asset=["c2"], right_asset=["c1"])
    found = pl.DataFrame(store.get_historical_features(entity_df, service, full_feature_names=True).to_arrow())
    assert found.select("left__rms", "right__rms").row(0) == (2.0, 1.0)


def test_on_demand_views_are_computed_from_the_joined_rows(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """Feast's own transformation runs on our rows."""
    vibration = view(save(rows("1", [0], [1], [3.0]), tmp_path / "rows"))

    @on_demand_feature_view(sources=[vibration], schema=[Field(name="squared", dtype=Float64)])  # type: ignore[untyped-decorator]  # Feast ships no types
    def derived(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"squared": inputs["rms"] ** 2})

    store = feast(ASSET, vibration, derived)
    assert retrieved(store, labels("1", [5]), "derived:squared")["squared"].to_list() == [9.0]
