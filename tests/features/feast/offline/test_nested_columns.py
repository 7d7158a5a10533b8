"""Maps, structs and lists on every way through the store but the as-of join, which test_feature_types has."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType
from feast.data_format import DeltaFormat
from feast.data_source import PushMode
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.types import Array, Float64, Int64, Map, String, Struct

from features.feast.offline.arrow_types import maps_of

pytestmark = pytest.mark.filterwarnings("ignore:(Saving|Retrieving) datasets? is an experimental:RuntimeWarning")

START = datetime(2026, 3, 1, tzinfo=UTC)
ASSET = Entity(name="asset", join_keys=["asset"], value_type=ValueType.STRING)
LAYOUTS = ["file", "directory", "delta"]
FEATURES = ["bag", "place", "spectrum"]
REFS = [f"vib:{name}" for name in FEATURES]
STORED = ["bag", "place", "bins"]


def at(*seconds: float) -> list[datetime]:
    """Instants, given in seconds after START."""
    return [START + timedelta(seconds=second) for second in seconds]


ROWS = pa.table(
    {
        "machine": ["a", "a", "b"],
        "bag": pa.array([[("x", "1")], [("y", "2"), ("z", None)], []], pa.map_(pa.string(), pa.string())),
        "place": pa.array([{"x": 1, "y": ["q"]}, None, {"x": None, "y": []}]),
        "bins": pa.array([[1.0], [2.0, None], None], pa.list_(pa.float64())),
        "seen": pa.array(at(0, 10, 5), pa.timestamp("us", "UTC")),
        "made": pa.array(at(1, 11, 6), pa.timestamp("us", "UTC")),
    }
)


@pytest.fixture(params=LAYOUTS)
def store(request: pytest.FixtureRequest, tmp_path: Path, feast: Callable[..., FeatureStore]) -> FeatureStore:
    """The rows in each layout in turn; key and list have other names in Feast."""
    if request.param == "delta":
        write_deltalake(tmp_path / "rows", ROWS)
    elif request.param == "directory":
        (tmp_path / "rows").mkdir()
        pq.write_table(ROWS, tmp_path / "rows" / "0.parquet")
    else:
        pq.write_table(ROWS, tmp_path / "rows")
    rows = FileSource(
        name="rows",
        path="rows",
        file_format=DeltaFormat() if request.param == "delta" else None,
        timestamp_field="seen",
        created_timestamp_column="made",
        field_mapping={"machine": "asset", "bins": "spectrum"},
    )
    types = {"asset": String, "bag": Map, "place": Struct({"x": Int64, "y": Array(String)}), "spectrum": Array(Float64)}
    view = FeatureView(
        name="vib",
        entities=[ASSET],
        schema=[Field(name=name, dtype=dtype) for name, dtype in types.items()],
        source=PushSource(name="pushed", batch_source=rows),
    )
    return feast(ASSET, view)


def features_of(store: FeatureStore, asset: str, second: float) -> dict[str, Any]:
    """The features of one label."""
    labels = pd.DataFrame({"asset": [asset], "event_timestamp": at(second)})
    (found,) = store.get_historical_features(labels, REFS).to_arrow().select(FEATURES).to_pylist()
    return dict(found)


def pulled(store: FeatureStore, *, latest: bool) -> pa.Table:
    """The rows that materialisation or a saved dataset reads from the store."""
    offline = store.provider.offline_store
    pull = offline.pull_latest_from_table_or_query if latest else offline.pull_all_from_table_or_query
    source = store.get_feature_view("vib").batch_source
    return pull(store.config, source, ["machine"], STORED, "seen", "made", START, at(99)[0]).to_arrow()


def test_they_are_pulled_as_they_are_stored(store: FeatureStore) -> None:
    """All rows and the newest of each key have the stored values and types."""
    assert pulled(store, latest=False).equals(ROWS)
    assert pulled(store, latest=True).equals(ROWS.slice(1, 2))


def test_what_is_appended_reads_like_what_was_there(store: FeatureStore) -> None:
    """An Arrow table of the same types is appended."""
    later = ROWS.slice(0, 1).set_column(4, "seen", pa.array(at(30), pa.timestamp("us", "UTC")))
    view = store.get_feature_view("vib")
    written: list[int] = []
    store.provider.offline_store.offline_write_batch(store.config, view, later, written.append)
    assert written == [1]
    assert features_of(store, "a", 40) == {"bag": [("x", "1")], "place": {"x": 1, "y": ["q"]}, "spectrum": [1.0]}
    assert pulled(store, latest=False).num_rows == 4


def test_dicts_are_pushed_to_maps(store: FeatureStore) -> None:
    """Each dict of a pandas frame has its own keys, or none; columns have the names of the source."""
    bags: list[dict[str, str] | None] = [{"x": "5", "y": "6"}, {"x": "7"}, {}, None]
    frame = pd.DataFrame(
        {
            "machine": ["a", "b", "c", "d"],
            "bag": bags,
            "place": [{"x": 9, "y": ["k"]}] * 4,
            "bins": [[7.0, 8.0]] * 4,
            "seen": at(*[30] * 4),
            "made": at(*[31] * 4),
        }
    )
    store.push("pushed", frame, to=PushMode.OFFLINE)
    found = [features_of(store, asset, 40) for asset in "abcd"]
    assert [row["bag"] for row in found] == [[("x", "5"), ("y", "6")], [("x", "7")], [], None]
    assert [row["place"] for row in found] == [{"x": 9, "y": ["k"]}] * 4
    assert [row["spectrum"] for row in found] == [[7.0, 8.0]] * 4


@pytest.mark.parametrize("bags", [[{}, None], [None, None]])
def test_dicts_without_any_key_are_pushed(store: FeatureStore, bags: list[dict[str, str] | None]) -> None:
    """They do not show the type of their values; the stored type is used."""
    frame = pulled(store, latest=True).to_pandas().assign(bag=bags, seen=at(30, 30))
    store.write_to_offline_store("vib", frame)
    assert [features_of(store, asset, 40)["bag"] for asset in "ab"] == [None if bag is None else [] for bag in bags]


@pytest.mark.parametrize("file_format", [None, DeltaFormat()])
def test_a_saved_dataset_keeps_them(store: FeatureStore, file_format: DeltaFormat | None) -> None:
    """A saved dataset is read with the retrieved values and types."""
    labels = pd.DataFrame({"asset": ["a", "b", "c"], "event_timestamp": at(3, 12, 12)})
    job = store.get_historical_features(labels, REFS)
    storage = SavedDatasetFileStorage(path="saved", file_format=file_format)
    store.create_saved_dataset(job, "set", storage)
    again = store.get_saved_dataset("set").to_arrow().sort_by("asset")
    retrieved = job.to_arrow().select(again.column_names)
    assert again.to_pylist() == retrieved.to_pylist()
    assert again.select(FEATURES).schema.equals(retrieved.select(FEATURES).schema)
    assert again["bag"].to_pylist() == [[("x", "1")], [], None]


def test_numbers_of_dicts_become_numbers_of_the_map() -> None:
    """Numbers of any type are converted, in several chunks and with keys of any type."""
    dtype = pa.map_(pa.large_string(), pa.float32())
    numbers = pa.struct({"a": pa.int64(), "b": pa.int64()})
    structs = pa.chunked_array([[{"a": 1, "b": None}, None], [{"a": None, "b": 4}]], numbers)
    assert maps_of(structs, dtype).equals(pa.array([[("a", 1)], None, [("b", 4)]], dtype))
    assert maps_of(structs.slice(0, 0), dtype).equals(pa.array([], dtype))
