"""Feast's checks of a source: whether it is valid, its columns, and its newest event timestamp."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from feast import BigQuerySource, Entity, FeatureStore, FeatureView, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.monitoring.metrics_calculator import MetricsCalculator
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, Map, String, UnixTimestamp

from historian.errors import AbsentColumn

START = datetime(2026, 3, 1, tzinfo=UTC)
ASSET = Entity(name="asset", join_keys=["asset"], value_type=ValueType.STRING)
Layout = Literal["file", "directory", "delta"]
LAYOUTS = ["file", "directory", "delta"]


def at(*seconds: float) -> list[datetime]:
    """Instants, given in seconds after START."""
    return [START + timedelta(seconds=second) for second in seconds]


def source(table: pa.Table, path: Path, layout: Layout = "file", **named: Any) -> FileSource:
    """A table as a source with its path, relative to the repository, as name."""
    if layout == "delta":
        write_deltalake(path, table)
    elif layout == "directory":
        path.mkdir()
        pq.write_table(table, path / "0.parquet")
    else:
        pq.write_table(table, path)
    file_format = DeltaFormat() if layout == "delta" else None
    return FileSource(path=path.name, file_format=file_format, **({"timestamp_field": "seen"} | named))


ROWS = pa.table(
    {
        "machine": ["a", "a", "b", "c"],
        "rms": [1.0, 2.0, None, 8.0],
        "spectrum": [[1.0], [2.0], None, []],
        "seen": pa.array(at(0, 10, 5, 20), pa.timestamp("us", "UTC")),
        "made": pa.array(at(1, 11, 6, 21), pa.timestamp("us", "UTC")),
    }
)


def validate(store: FeatureStore, checked: Any) -> None:
    """Validates the source of every view, as `feast plan` and `feast apply` do."""
    store.provider.validate_data_source(store.config, checked)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_valid_source_passes_without_a_warning(
    tmp_path: Path, feast: Callable[..., FeatureStore], caplog: pytest.LogCaptureFixture, layout: Layout
) -> None:
    """This holds for any layout, with time columns named as in the file or as mapped."""
    sound = source(ROWS, tmp_path / "rows", layout, created_timestamp_column="made")
    mapped = FileSource(
        name="mapped",
        path="rows",
        file_format=sound.file_format,
        timestamp_field="event_timestamp",
        field_mapping={"seen": "event_timestamp"},
    )
    for one in (sound, mapped):
        validate(feast(), one)
    assert caplog.messages == []


def test_a_glob_passes(tmp_path: Path, feast: Callable[..., FeatureStore], caplog: pytest.LogCaptureFixture) -> None:
    """Feast's own check reports it as a missing file."""
    source(ROWS, tmp_path / "rows", "directory")
    validate(feast(), FileSource(path="rows/*.parquet", timestamp_field="seen"))
    assert caplog.messages == []


@pytest.mark.parametrize("file_format", [None, DeltaFormat()])
def test_a_source_that_does_not_exist_yet_gives_a_warning(
    tmp_path: Path,
    feast: Callable[..., FeatureStore],
    caplog: pytest.LogCaptureFixture,
    file_format: DeltaFormat | None,
) -> None:
    """As with Feast's own stores, views may be registered before their first row is computed."""
    validate(feast(), FileSource(path="none", timestamp_field="seen", file_format=file_format))
    (message,) = caplog.messages
    assert message.startswith("feature source none cannot be read yet: there ")
    assert str(tmp_path / "none") in message


@pytest.mark.parametrize(
    ("named", "error", "message"),
    [
        ({"timestamp_field": "at"}, AbsentColumn, "feature source rows has no column at; it has machine, rms"),
        ({"created_timestamp_column": "born"}, AbsentColumn, "feature source rows has no column born; it has"),
        ({"timestamp_field": "rms"}, ValueError, "column rms of the feature source holds Float64, not timestamps"),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_source_that_can_never_be_read_is_refused(
    tmp_path: Path,
    feast: Callable[..., FeatureStore],
    layout: Layout,
    named: dict[str, str],
    error: type[Exception],
    message: str,
) -> None:
    """It has no time column, or one of another type; Feast's own stores fail only at the first retrieval."""
    with pytest.raises(error, match=message):
        validate(feast(), source(ROWS, tmp_path / "rows", layout, **named))


def test_a_source_of_another_kind_is_refused(feast: Callable[..., FeatureStore]) -> None:
    """No module of a warehouse is imported before."""
    with pytest.raises(ValueError, match="reads FileSource, not BigQuerySource"):
        validate(feast(), BigQuerySource(name="warehouse", table="rows", timestamp_field="seen"))


def test_logs_are_not_written_to_an_object_store(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """No local directory with the name of its address is made either."""
    store = feast()
    logging_config = LoggingConfig(FileLoggingDestination(path="s3://bucket/logs"))
    with pytest.raises(ValueError, match="s3://bucket/logs lies in an object store: log to a directory on disk"):
        store.provider.offline_store.write_logged_features(store.config, ROWS, None, logging_config, store.registry)
    assert not (tmp_path / "s3:").exists()


TYPES = {
    "number": (pa.float64(), Float64),
    "single": (pa.float32(), Float32),
    "whole": (pa.int64(), Int64),
    "small": (pa.int8(), Int32),
    "flag": (pa.bool_(), Bool),
    "text": (pa.string(), String),
    "time": (pa.timestamp("us", "UTC"), UnixTimestamp),
    "map": (pa.map_(pa.string(), pa.string()), Map),
    "list": (pa.list_(pa.float64()), Array(Float64)),
    "words": (pa.list_(pa.string()), Array(String)),
    "bytes": (pa.binary(), Bytes),
}
ONLY_PARQUET = {
    "large_text": (pa.large_string(), String),
    "category": (pa.dictionary(pa.int32(), pa.string()), String),
    "large_list": (pa.large_list(pa.field("element", pa.float64())), Array(Float64)),
    "large_words": (pa.large_list(pa.large_string()), Array(String)),
    "three": (pa.list_(pa.int32(), 3), Array(Int32)),
    "large_bytes": (pa.large_binary(), Bytes),
}


@pytest.mark.parametrize("layout", ["file", "delta"])
def test_a_schema_is_inferred_from_the_source(
    tmp_path: Path, feast: Callable[..., FeatureStore], layout: Layout
) -> None:
    """Names are the mapped ones, for files of any writer: Feast's own stores take text written by Polars for JSON."""
    types = TYPES if layout == "delta" else TYPES | ONLY_PARQUET
    columns = {name: pa.array([None], dtype) for name, (dtype, _) in types.items()}
    table = pa.table({"asset": ["a"], "seen": pa.array(at(0)), **columns})
    inferred = source(table, tmp_path / "rows", layout, field_mapping={"list": "spectrum"})
    store = feast(ASSET, FeatureView(name="vib", entities=[ASSET], source=inferred))
    found = {field.name: field.dtype for field in store.get_feature_view("vib").features}
    expected = {name: dtype for name, (_, dtype) in types.items()}
    expected["spectrum"] = expected.pop("list")
    assert found == expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_newest_event_timestamp_is_returned(
    tmp_path: Path, feast: Callable[..., FeatureStore], layout: Layout
) -> None:
    """It is in UTC for any zone, and None for a table without rows or one that does not exist."""
    store = feast()
    newest = store.provider.offline_store.get_monitoring_max_timestamp
    zoned = ROWS.set_column(3, "seen", ROWS["seen"].cast(pa.timestamp("us", "UTC")))
    if layout != "delta":
        zoned = ROWS.set_column(3, "seen", ROWS["seen"].cast(pa.timestamp("ms", "Asia/Tokyo")))
    found = newest(store.config, source(zoned, tmp_path / "rows", layout), "seen")
    assert (found, found.tzinfo) == (at(20)[0], UTC)
    assert newest(store.config, source(ROWS.slice(0, 0), tmp_path / "empty", layout), "seen") is None
    assert newest(store.config, FileSource(path="none", file_format=DeltaFormat()), "seen") is None
    with pytest.raises(AbsentColumn, match="has no column at"):
        newest(store.config, source(ROWS, tmp_path / "again", layout), "at")


@pytest.mark.parametrize(
    ("start", "end", "taken"), [(None, None, 4), (5, 10, 2), (6, None, 2), (None, 5, 2), (50, 60, 0)]
)
def test_statistics_are_those_of_the_range(
    tmp_path: Path, feast: Callable[..., FeatureStore], start: float | None, end: float | None, taken: int
) -> None:
    """Both dates count; columns have mapped names; lists and missing columns are left out."""
    store = feast()
    first, last = (None if second is None else at(second)[0] for second in (start, end))
    found = store.provider.offline_store.compute_monitoring_metrics(
        store.config,
        source(ROWS, tmp_path / "rows", field_mapping={"rms": "level"}),
        [("level", "numeric"), ("spectrum", "numeric"), ("absent", "numeric"), ("machine", "categorical")],
        "seen",
        first,
        last,
        histogram_bins=2,
        top_n=1,
    )
    within = pl.DataFrame(ROWS).filter(pl.col("seen").is_between(first or at(0)[0], last or at(99)[0]))
    assert [metric["row_count"] for metric in found] == [taken, taken]
    feasts = MetricsCalculator(2, 1)
    expected = [
        feasts.compute_numeric(within["rms"].to_arrow()) | {"feature_name": "level"},
        feasts.compute_categorical(within["machine"].to_arrow()) | {"feature_name": "machine"},
    ]
    assert found == expected


def test_the_statistics_of_a_day_are_the_days(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """Feast's web page requests them by dates."""
    store = feast()
    days = ROWS.set_column(3, "seen", pa.array(at(0, 86_399, 86_400, 200_000), pa.timestamp("us", "UTC")))
    compute = store.provider.offline_store.compute_monitoring_metrics
    first = datetime.combine(date(2026, 3, 1), datetime.min.time())  # without a zone, as Feast's dates may come
    found = compute(
        store.config, source(days, tmp_path / "rows"), [("rms", "numeric")], "seen", first, first + timedelta(days=1)
    )
    assert (found[0]["row_count"], found[0]["null_count"]) == (3, 1)
