"""Payload of any type comes through a retrieval as it is stored."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from feast import FileSource
from feast.data_format import DeltaFormat, ParquetFormat

from features.feast.offline.arrow_types import plain
from features.feast.offline.entity_frames import from_columns
from features.feast.offline.feature_source import open_rows
from features.feast.offline.historical import HistoricalRetrieval
from features.feast.offline.view_join import ViewQuery

START = datetime(2026, 3, 1, tzinfo=UTC)
PAYLOAD = {
    "map": pa.array([[("a", 1.5)], None, []], pa.map_(pa.string(), pa.float64())),
    "struct": pa.array([{"x": 1, "y": ["a"]}, None, {"x": None, "y": None}]),
    "list": pa.array([[1.0, None], None, []], pa.list_(pa.float64())),
    "maps": pa.array([[[("a", 1)]], None, []], pa.list_(pa.map_(pa.string(), pa.int64()))),
    "binary": pa.array([b"\x00", None, b""]),
    "decimal": pa.array([Decimal("1.50"), None, Decimal("-2.25")], pa.decimal128(9, 2)),
    "date": pa.array([date(2026, 1, 1), None, date(1969, 1, 1)]),
    "flag": pa.array([True, None, False]),
    "narrow": pa.array([1, None, -1], pa.int8()),
    "single": pa.array([1.5, None, float("nan")], pa.float32()),
    "text": pa.array(["ä", None, ""]),
}
ONLY_PARQUET = {
    "category": pa.array(["a", None, "b"]).dictionary_encode(),
    "large": pa.array(["a", None, "b"], pa.large_string()),
    "three": pa.array([[1, 2, 3], None, [4, 5, 6]], pa.list_(pa.int32(), 3)),
    "duration": pa.array([1, None, 3], pa.duration("us")),
}


@pytest.mark.parametrize("layout", ["file", "delta"])
def test_payload_is_gathered_without_change(tmp_path: Path, layout: str) -> None:
    """Rows picked, repeated and missed: same values, plain types."""
    payload = PAYLOAD if layout == "delta" else PAYLOAD | ONLY_PARQUET
    stored = pa.table({"key": [1, 2, 3], "event_timestamp": pa.array([START] * 3), **payload})
    if layout == "delta":
        write_deltalake(tmp_path / "rows", stored)
    else:
        pq.write_table(stored, tmp_path / "rows")
    source = FileSource(
        path=str(tmp_path / "rows"), file_format=DeltaFormat() if layout == "delta" else ParquetFormat()
    )
    rows = open_rows(source, None, event="event_timestamp", created=None)
    query = ViewQuery(rows, {"key": "key"}, {name: name for name in payload}, None)
    labels = from_columns(pa.table({"key": [3, 9, 1, 1, 2], "event_timestamp": pa.array([START] * 5)}))
    found = HistoricalRetrieval(labels, [query], created_by_label_time=False, memory_limit=2 << 30).table()
    for name, values in payload.items():
        assert found.schema.field(name).type.equals(plain(values.type)), name
        expected = values.cast(plain(values.type)).take(pa.array([2, None, 0, 0, 1]))
        assert str(found[name].to_pylist()) == str(expected.to_pylist()), name
