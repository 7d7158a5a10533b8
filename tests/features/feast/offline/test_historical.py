"""A retrieval over several views at once against brute force: whole, in parts, and in pieces."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.feast.offline.entity_frames import EntityFrame, from_columns
from features.feast.offline.feature_source import FeatureRows
from features.feast.offline.file_tables import FileTable
from features.feast.offline.historical import HistoricalRetrieval
from features.feast.offline.point_in_time import ROW
from features.feast.offline.view_join import ViewQuery, split

START = datetime(2026, 3, 1, tzinfo=UTC)
WHOLE = 2 << 30
UNITS = st.sampled_from(["us", "ns", "ms"])
ZONES = st.sampled_from([None, "UTC", "Europe/Berlin"])
KEYS = {"machine": ["machine"], "line": ["line"], "both": ["machine", "line"], "plant": []}
TTLS = [None, timedelta(0), timedelta(seconds=2), timedelta(days=1, seconds=3), timedelta.max]


def instants(seconds: list[int | None], unit: str, zone: str | None) -> pl.Series:
    """Times in seconds after START, in any of the forms a file may hold."""
    times = pl.Series(
        [None if s is None else START + timedelta(seconds=s) for s in seconds], dtype=pl.Datetime("us", "UTC")
    )
    times = times.dt.convert_time_zone(zone) if zone else times.dt.replace_time_zone(None)
    return times.dt.cast_time_unit("ns" if unit == "ns" else "ms" if unit == "ms" else "us")


def view(name: str, rows: list[tuple[Any, ...]], ttl: timedelta | None, unit: str, zone: str | None) -> ViewQuery:
    """A view over rows (machine, line, event, created, number)."""
    frame = pl.DataFrame(
        {
            "machine": pl.Series([row[0] for row in rows], dtype=pl.Int64),
            "line": pl.Series([row[1] for row in rows], dtype=pl.String),
            "at": instants([row[2] for row in rows], unit, zone),
            "made": instants([row[3] for row in rows], unit, zone),
            "value": pl.Series(range(len(rows)), dtype=pl.Int64),
        }
    )
    table = FileTable(frame.lazy().with_row_index(ROW), pa.schema([]), ())
    source = FeatureRows("rows", table, table.frame.collect_schema(), "at", "made")
    return ViewQuery(source, {key: key for key in KEYS[name]}, {f"{name}__value": "value"}, ttl)


def best(
    label: tuple[Any, ...],
    rows: list[tuple[Any, ...]],
    name: str,
    ttl: timedelta | None,
    *,
    by_created: bool,
) -> int | None:
    """The number of the row the definition selects, found by trying each."""
    serving = []
    for number, (machine, line, event, created) in enumerate(rows):
        same = [(machine, label[0])] * ("machine" in KEYS[name]) + [(line, label[1])] * ("line" in KEYS[name])
        if any(row is None or row != wanted for row, wanted in same) or None in (event, label[2]) or event > label[2]:
            continue
        if ttl and timedelta(seconds=label[2] - event) > ttl:
            continue
        if by_created and (created is None or created > label[2]):
            continue
        serving.append((event, created is not None, created or 0, number))
    return max(serving)[-1] if serving else None


KEYED = st.tuples(st.sampled_from([1, 2, None]), st.sampled_from(["a", "b", None]))
WHEN = st.one_of(st.integers(0, 8), st.none())
ROWS = st.lists(st.tuples(KEYED, WHEN, WHEN).map(lambda row: (*row[0], *row[1:])), max_size=20)
LABELS = st.lists(st.tuples(KEYED, WHEN).map(lambda row: (*row[0], row[1])), max_size=10)


@settings(max_examples=15)
@given(
    labels=LABELS,
    rows=st.tuples(*[ROWS] * len(KEYS)),
    ttls=st.tuples(*[st.sampled_from(TTLS)] * len(KEYS)),
    units=st.tuples(UNITS, UNITS),
    zones=st.tuples(ZONES, ZONES),
    by_created=st.booleans(),
)
def test_every_view_gives_what_brute_force_finds(
    labels: list[tuple[Any, ...]],
    rows: tuple[list[tuple[Any, ...]], ...],
    ttls: tuple[timedelta | None, ...],
    units: tuple[str, str],
    zones: tuple[str | None, str | None],
    *,
    by_created: bool,
) -> None:
    """The answer is right for any keys and units of time: whole, in parts or in pieces."""
    views = [view(name, of_view, ttl, units[0], zones[0]) for name, of_view, ttl in zip(KEYS, rows, ttls, strict=True)]
    frame = pl.DataFrame(
        {
            "machine": pl.Series([label[0] for label in labels], dtype=pl.Int64),
            "line": pl.Series([label[1] for label in labels], dtype=pl.String),
            "event_timestamp": instants([label[2] for label in labels], units[1], zones[1]),
        }
    )
    entity_rows = from_columns(frame)
    whole = HistoricalRetrieval(entity_rows, views, by_created, WHOLE).table()
    expected = {
        f"{name}__value": [best(label, of_view, name, ttl, by_created=by_created) for label in labels]
        for name, of_view, ttl in zip(KEYS, rows, ttls, strict=True)
    }
    assert {name: whole[name].to_pylist() for name in expected} == expected
    assert whole.select(entity_rows.table.column_names).equals(entity_rows.table)
    in_parts = HistoricalRetrieval(entity_rows, views, by_created, 1)
    assert in_parts.table().equals(whole)
    assert pa.concat_tables(in_parts.pieces(3)).equals(whole)


@pytest.mark.parametrize("count", [1, 3, 100])
def test_no_key_is_in_two_parts(count: int) -> None:
    """All labels are divided by the key with the most values, into at most the given number of parts."""
    labels = pl.DataFrame({"line": ["a", "b"] * 10, "machine": [*range(19), None], "n": range(20)})
    parts = list(split(labels, ["line", "machine"], count))
    assert len(parts) <= count
    assert sorted(pl.concat(parts)["n"].to_list()) == list(range(20))
    machines = [set(part["machine"].drop_nulls()) for part in parts]
    assert sum(map(len, machines)) == 19


def test_labels_of_arrow_types_pass_unchanged() -> None:
    """Their Arrow types are the same next to the features as before."""
    labels = pa.table(
        {
            "machine": pa.array([1], pa.int16()),
            "event_timestamp": pa.array([START]),
            "kind": pa.array(["x"]).dictionary_encode(),
            "tags": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
        }
    )
    found = HistoricalRetrieval(
        EntityFrame(labels, "event_timestamp"), [], created_by_label_time=False, memory_limit=WHOLE
    ).table()
    assert found.schema.equals(labels.schema)
    assert found.equals(labels)
