"""A plain Feast repository with one changed line, without a plant: every function of Feast works."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType
from feast.data_format import DeltaFormat
from feast.data_source import PushMode
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.monitoring.monitoring_service import MonitoringService
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Float64, Int64, String

# Feast calls some of its own parts experimental with every use.
pytestmark = [
    pytest.mark.filterwarnings("ignore:On demand feature view is an experimental feature:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:(Saving|Retrieving) datasets? is an experimental feature:RuntimeWarning"),
]

START = datetime(2026, 3, 1, tzinfo=UTC)
YAML = """
project: shop
provider: local
registry: registry.db
offline_store:
    type: features.feast.offline.store.PolarsOfflineStore
    memory_limit: 64MiB
online_store:
    type: sqlite
    path: online.db
entity_key_serialization_version: 3
"""
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
SHOP = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)


def at(*seconds: float) -> list[datetime]:
    """Instants, given in seconds after START."""
    return [START + timedelta(seconds=second) for second in seconds]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Drivers in a Parquet directory, shops in a Delta table, the weather of the town in a file."""
    (tmp_path / "feature_store.yaml").write_text(YAML)
    (tmp_path / "drivers").mkdir()
    drivers = pl.DataFrame(
        {
            "driver_id": pl.Series([1, 1, 2], dtype=pl.Int64),
            "rate": [0.1, 0.2, 0.9],
            "trips": pl.Series([[1, 2], [3], None], dtype=pl.List(pl.Int64)),
            "event_timestamp": at(0, 10, 5),
            "created": at(1, 11, 6),
        }
    )
    drivers.write_parquet(tmp_path / "drivers" / "part-0.parquet")
    shops = pl.DataFrame({"name": ["a", "b"], "sales": [5, 6], "seen": at(2, 20)})
    write_deltalake(tmp_path / "shops", shops)
    pl.DataFrame({"rain": ["dry", "wet"], "event_timestamp": at(0, 12)}).write_parquet(tmp_path / "weather.parquet")
    feast = FeatureStore(str(tmp_path))
    feast.apply([DRIVER, SHOP, *_views()])
    return feast


def _views() -> list[Any]:
    driver = FeatureView(
        name="driver_stats",
        entities=[DRIVER],
        ttl=timedelta(seconds=8),
        schema=[
            Field(name="driver_id", dtype=Int64),
            Field(name="rate", dtype=Float64),
            Field(name="trips", dtype=Array(Int64)),
        ],
        source=PushSource(
            name="driver_push",
            batch_source=FileSource(
                name="drivers", path="drivers", timestamp_field="event_timestamp", created_timestamp_column="created"
            ),
        ),
    )
    shop = FeatureView(
        name="shop_stats",
        entities=[SHOP],
        schema=[Field(name="shop", dtype=String), Field(name="sales", dtype=Int64)],
        source=FileSource(
            name="shops",
            path="shops",
            file_format=DeltaFormat(),
            timestamp_field="seen",
            field_mapping={"name": "shop"},
        ),
    )
    weather = FeatureView(
        name="weather",
        entities=[],
        schema=[Field(name="rain", dtype=String)],
        source=FileSource(name="sky", path="weather.parquet", timestamp_field="event_timestamp"),
    )
    return [driver, shop, weather, _doubled(driver)]


def _doubled(driver: FeatureView) -> Any:
    @on_demand_feature_view(sources=[driver], schema=[Field(name="twice", dtype=Float64)])  # type: ignore[untyped-decorator]  # Feast ships no types
    def doubled(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"twice": inputs["rate"] * 2})

    return doubled


REFS = ["driver_stats:rate", "driver_stats:trips", "shop_stats:sales", "weather:rain", "doubled:twice"]
LABELS = pd.DataFrame(
    {
        "driver_id": [1, 2, 1, 1],
        "shop": ["b", "a", "a", "z"],
        "event_timestamp": at(18, 13, 4, 4),
        "order": [7, 8, 9, 9],
    }
)
ANSWER = {
    "driver_id": [1, 2, 1, 1],
    "shop": ["b", "a", "a", "z"],
    "event_timestamp": at(18, 13, 4, 4),
    "order": [7, 8, 9, 9],
    "rate": [0.2, 0.9, 0.1, 0.1],
    "trips": [[3], None, [1, 2], [1, 2]],
    "sales": [None, 5, 5, None],
    "rain": ["wet", "wet", "dry", "dry"],
    "twice": [0.4, 1.8, 0.2, 0.2],
}


def test_views_of_all_kinds_are_joined_at_once(store: FeatureStore) -> None:
    """Integer and string keys, no key, field mapping, ttl, lists, on demand: each label once, in order."""
    found = store.get_historical_features(LABELS, REFS).to_arrow()
    assert found.to_pydict() == ANSWER
    assert found.schema.field("trips").type == pa.list_(pa.int64())


def test_full_names_name_the_view(store: FeatureStore) -> None:
    """They have the form Feast uses."""
    found = store.get_historical_features(LABELS, REFS, full_feature_names=True).to_arrow()
    assert found.column_names[4:] == [ref.replace(":", "__") for ref in REFS]


@pytest.mark.parametrize("rows", [None, 1, 3])
def test_batches_are_the_table_in_order(store: FeatureStore, rows: int | None) -> None:
    """Batches of any size include on-demand views, and Arrow's reader gives the same."""
    job = store.get_historical_features(LABELS, REFS)
    assert pa.Table.from_batches(list(job.to_arrow_batches(rows))).to_pydict() == ANSWER
    reader = job.to_reader(rows)
    assert reader.schema.field("twice").type == pa.float64()
    assert reader.read_all().to_pydict() == ANSWER


def test_frames_need_not_be_pandas(store: FeatureStore) -> None:
    """Polars and Arrow give what pandas gives."""
    labels = pl.DataFrame(LABELS)
    for frame in (labels, labels.to_arrow()):
        assert store.get_historical_features(frame, REFS[:4]).to_arrow().num_rows == 4


def test_labels_may_be_a_query_over_what_is_registered(store: FeatureStore) -> None:
    """Views have Feast's names and columns, sources their own; other files are read by path."""
    by_view = "SELECT shop, seen AS event_timestamp FROM shop_stats ORDER BY shop"
    found = store.get_historical_features(by_view, ["shop_stats:sales"]).to_arrow()
    assert found.to_pydict() == {"shop": ["a", "b"], "event_timestamp": at(2, 20), "sales": [5, 6]}
    by_source = "SELECT driver_id, MAX(event_timestamp) AS event_timestamp FROM drivers GROUP BY driver_id ORDER BY 1"
    assert store.get_historical_features(by_source, REFS[:1]).to_arrow()["rate"].to_pylist() == [0.2, 0.9]


@pytest.mark.parametrize("files", ["read_parquet('entity_df.parquet')", "read_csv('entity_df.csv')"])
def test_a_query_may_read_other_files(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: str
) -> None:
    """Paths are relative to the working directory; registered views can be used in the same query."""
    monkeypatch.chdir(tmp_path)
    entity_df = pl.DataFrame({"shop": ["a", "b"]})
    entity_df.write_parquet("entity_df.parquet")
    entity_df.write_csv("entity_df.csv")
    query = "SELECT f.shop, s.seen AS event_timestamp FROM FILES f JOIN shop_stats s ON f.shop = s.shop ORDER BY f.shop"
    found = store.get_historical_features(query.replace("FILES", files), ["shop_stats:sales"]).to_arrow()
    assert found.to_pydict() == {"shop": ["a", "b"], "event_timestamp": at(2, 20), "sales": [5, 6]}


@pytest.mark.usefixtures("store")
def test_the_example_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of docs/feast.md runs unchanged in the repository."""
    page = (Path(__file__).parents[4] / "docs" / "feast.md").read_text()
    monkeypatch.chdir(tmp_path)
    exec(page.split("```python\n")[1].split("```")[0], {})  # noqa: S102 - our own page
    found = pl.read_parquet("set.parquet").sort("driver_id", "event_timestamp")
    assert found.select("driver_id", "rate").rows() == [(1, 0.1), (1, 0.2), (2, 0.9)]


def test_without_labels_every_row_of_the_range_is_one(store: FeatureStore) -> None:
    """Both ends are included; features of a view without such a key are missing."""
    start, end = at(5, 10)
    found = store.get_historical_features(None, REFS[:1], start_date=start, end_date=end).to_arrow()
    assert found.to_pydict() == {"driver_id": [2, 1], "event_timestamp": at(5, 10), "rate": [0.9, 0.2]}
    both = store.get_historical_features(None, [REFS[0], REFS[2]], start_date=START, end_date=end).to_arrow()
    assert both.to_pydict() == {
        "driver_id": [1, None, 2, 1],
        "shop": [None, "a", None, None],
        "event_timestamp": at(0, 2, 5, 10),
        "rate": [0.1, None, 0.9, 0.2],
        "sales": [None, 5, None, None],
    }


def test_the_range_starts_the_longest_ttl_before_the_end(store: FeatureStore) -> None:
    """It is thirty days where no view has a ttl."""
    found = store.get_historical_features(None, REFS[:1], end_date=at(12)[0])
    assert (found.metadata.min_event_timestamp, found.metadata.max_event_timestamp) == (at(4)[0], at(12)[0])
    assert found.to_arrow()["driver_id"].to_pylist() == [2, 1]
    unlimited = store.get_historical_features(None, ["shop_stats:sales"], end_date=at(12)[0])
    assert unlimited.metadata.min_event_timestamp == at(12)[0] - timedelta(days=30)


@pytest.mark.parametrize("layout", ["file", "delta"])
def test_a_saved_dataset_is_read_back(store: FeatureStore, tmp_path: Path, layout: str) -> None:
    """It is a file or a Delta table."""
    job = store.get_historical_features(LABELS, REFS[:1])
    storage = (
        SavedDatasetFileStorage(path="saved")
        if layout == "file"
        else SavedDatasetFileStorage(path="saved", file_format=DeltaFormat())
    )
    store.create_saved_dataset(job, "set", storage)
    assert sorted(store.get_saved_dataset("set").to_df()["rate"]) == [0.1, 0.1, 0.2, 0.9]
    store.create_saved_dataset(job, "set", storage, allow_overwrite=True)
    assert len(store.get_saved_dataset("set").to_df()) == 4


def test_a_push_is_appended_and_found(store: FeatureStore, tmp_path: Path) -> None:
    """It is found online and offline; the directory has one file more."""
    row = {"driver_id": [2], "rate": [0.5], "trips": [[4]], "event_timestamp": at(15), "created": at(16)}
    store.push("driver_push", pd.DataFrame(row), to=PushMode.ONLINE_AND_OFFLINE)
    assert len(list((tmp_path / "drivers").iterdir())) == 2
    entity_df = pd.DataFrame({"driver_id": [2], "event_timestamp": at(17)})
    assert store.get_historical_features(entity_df, REFS[:1]).to_arrow()["rate"].to_pylist() == [0.5]
    assert store.get_online_features(REFS[:1], [{"driver_id": 2}]).to_dict()["rate"] == [0.5]


def test_rows_written_to_a_delta_source_are_a_commit(store: FeatureStore) -> None:
    """Its path is relative to the repository, which Feast's own check of a Delta table ignores."""
    store.write_to_offline_store("shop_stats", pd.DataFrame({"name": ["b"], "sales": [9], "seen": at(30)}))
    entity_df = pd.DataFrame({"shop": ["b"], "event_timestamp": at(31)})
    assert store.get_historical_features(entity_df, ["shop_stats:sales"]).to_arrow()["sales"].to_pylist() == [9]


def test_materialised_values_are_the_newest(store: FeatureStore) -> None:
    """Feast's own materialisation reads our rows."""
    store.materialize(START, at(60)[0])
    found = store.get_online_features(REFS[:4], [{"driver_id": 1, "shop": "b"}]).to_dict()
    assert (found["rate"], found["sales"], found["rain"]) == ([0.2], [6], ["wet"])


@pytest.mark.parametrize("partition_by", [None, ["__log_date"]])
def test_served_features_are_logged_and_read_back(
    store: FeatureStore, tmp_path: Path, partition_by: list[str] | None
) -> None:
    """All columns of Feast's log schema, whether the directory is partitioned or not."""
    service = FeatureService(
        name="served",
        features=[store.get_feature_view("driver_stats")[["rate"]]],
        logging_config=LoggingConfig(FileLoggingDestination(path="logs", partition_by=partition_by)),
    )
    store.apply([service])
    log = pa.table(
        {
            "driver_id": pa.array([1, 2], pa.int64()),
            "driver_stats__rate": [0.1, None],
            "driver_stats__rate__timestamp": pa.array(at(0, 5), pa.timestamp("us", "UTC")),
            "driver_stats__rate__status": pa.array([2, 0], pa.int32()),
            "__log_timestamp": pa.array(at(1, 90_000), pa.timestamp("us", "UTC")),
            "__log_date": pa.array([date(2026, 3, 1), date(2026, 3, 2)], pa.date32()),
            "__request_id": ["x", "y"],
        }
    )
    store.write_logged_features(log, service)
    pq.write_table(log, tmp_path / "buffer.parquet")
    (tmp_path / "buffer").mkdir()
    (tmp_path / "buffer.parquet").rename(tmp_path / "buffer" / "0.parquet")
    store.write_logged_features(tmp_path / "buffer", service)
    read = store._provider.retrieve_feature_service_logs(service, START, at(99_999)[0], store.config, store.registry)
    found = read.to_arrow().select(log.column_names)
    assert sorted(found.to_pylist(), key=str) == sorted(log.to_pylist() * 2, key=str)


def test_feasts_monitoring_works(store: FeatureStore) -> None:
    """Metrics are computed, stored, marked as baseline and read back through Feast's own service."""
    service = MonitoringService(store)
    result = service.compute_baseline("shop", "driver_stats")
    assert result
    kept = service.get_feature_metrics("shop", feature_view_name="driver_stats", feature_name="rate")
    assert {(row["row_count"], row["is_baseline"]) for row in kept} == {(3, True)}


def test_a_source_that_is_no_file_is_refused(store: FeatureStore) -> None:
    """The error names its kind."""
    with pytest.raises(ValueError, match="reads FileSource, not NoneType"):
        store.provider.offline_store.pull_all_from_table_or_query(store.config, None, [], [], "event_timestamp")
