"""Rows pulled from a source for materialisation, and a retrieval that is saved."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal

import polars as pl
import pytest
from feast import FeatureStore
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from polars.testing import assert_frame_equal

from tests.features.feast.offline.sources import ASSET, START, Layout, labels, rows, save, view

# Feast calls two of its own parts experimental with every use.
pytestmark = [
    pytest.mark.filterwarnings("ignore:On demand feature view is an experimental feature:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:(Saving|Retrieving) datasets? is an experimental feature:RuntimeWarning"),
]


def pull(
    store: FeatureStore, what: Literal["all", "latest"], start: datetime | None, end: datetime | None
) -> pl.DataFrame:
    """The rows that materialisation and saved datasets read from the store."""
    offline = store.provider.offline_store
    call = offline.pull_latest_from_table_or_query if what == "latest" else offline.pull_all_from_table_or_query
    job = call(
        config=store.config,
        data_source=store.get_feature_view("vib").batch_source,
        join_key_columns=["asset"],
        feature_name_columns=["rms"],
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
        start_date=start,
        end_date=end,
    )
    return pl.DataFrame(job.to_arrow())


@pytest.mark.parametrize("layout", ["file", "delta"])
def test_both_ends_of_a_pulled_range_count(tmp_path: Path, feast: Callable[..., FeatureStore], layout: Layout) -> None:
    """The range may have another zone, or an open end."""
    history = rows("1212", [0, 1, 2, 3], [9, 9, 9, 9], [1.0, 2.0, 3.0, 4.0])
    store = feast(ASSET, view(save(history, tmp_path / "rows", layout)))
    later = timedelta(seconds=1)
    zone = timedelta(hours=1)
    start, end = START + later, (START + 2 * later).astimezone(timezone(zone))
    columns = ["asset", "rms", "event_timestamp", "created_timestamp"]
    assert_frame_equal(pull(store, "all", start, end), history[1:3].select(columns))
    assert_frame_equal(pull(store, "all", None, None), history.select(columns))
    assert_frame_equal(pull(store, "latest", start, end), history[1:3].select(columns))
    assert_frame_equal(pull(store, "latest", None, None), history[2:4].select(columns))


def test_the_latest_of_two_versions_is_the_one_created_last(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """The order of the rows in the file does not matter."""
    store = feast(ASSET, view(save(rows("111", [0, 0, -5], [9, 2, 20], [1.0, 2.0, 3.0]), tmp_path / "rows")))
    assert pull(store, "latest", None, None)["rms"].to_list() == [1.0]


def test_a_retrieval_can_be_saved_and_read_back(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """A saved dataset is written whole, is only overwritten on request, and is read with all its rows."""
    store = feast(ASSET, view(save(rows("11", [0, 10], [0, 10], [1.0, 2.0]), tmp_path / "rows")))
    job = store.get_historical_features(labels("111", [5, 15, 15]), ["vib:rms"])
    storage = SavedDatasetFileStorage(path=str(tmp_path / "saved" / "set.parquet"))
    store.create_saved_dataset(job, "set", storage)
    assert store.get_saved_dataset("set").to_df()["rms"].tolist() == [1.0, 2.0, 2.0]
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)
    job.persist(storage, allow_overwrite=True)
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["set.parquet"]
