"""Materialising writes only new rows, whole, with the offline values, into both online stores."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import polars as pl
from deltalake import DeltaTable, write_deltalake
from feast import FeatureStore
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Map, Value
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType
from hypothesis import given, settings
from hypothesis import strategies as st

from features.compute.run import compute
from features.feast.online.feast_bytes import entity_keys, joined_cells, varint
from features.feast.online.lookup import materialize, online_response
from features.feast.online.materialize import Cursor
from features.feast.registry.feast_repo import apply, open_feature_store
from features.tables.feature_table import FeatureTable, table_path, table_schema
from historian.plant.plant import Plant
from historian.samples import SampleBatch, normalise
from historian.stores.memory import MemoryStore
from tests.features.stretches import write

START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(days=1)
VIBRATION, PROCESS = "compressor_vibration", "compressor_process"


def after(seconds: float) -> datetime:
    """An instant after START."""
    return START + timedelta(seconds=seconds)


def materialized(store: FeatureStore, end: datetime = END, *, full: bool = False) -> dict[str, int | None]:
    """Runs materialize."""
    return materialize(store, end=end, advance=lambda _: None, full=full)


def online(store: FeatureStore, view: str, asset: str) -> dict[str, Any]:
    """All features of an asset and their event timestamps, as the SDK returns them."""
    refs = [f"{view}:{feature.name}" for feature in store.get_feature_view(view).features]
    answer = online_response(store, refs, [asset], full_feature_names=False, now=START)
    vectors = dict(zip(answer.metadata.feature_names.val, answer.results, strict=True))
    vectors.pop("asset")
    found = {}
    for name, vector in vectors.items():
        kind = vector.values[0].WhichOneof("val")
        found[name] = (getattr(vector.values[0], kind) if kind else None, vector.event_timestamps[0].ToDatetime(UTC))
    return found


DOUBLE = st.one_of(st.none(), st.floats())
KINDS = (ValueType.DOUBLE, ValueType.DOUBLE, ValueType.STRING, ValueType.DOUBLE)


@given(st.lists(st.tuples(DOUBLE, DOUBLE, st.text(max_size=200), DOUBLE), max_size=20), st.sets(st.integers(0, 3)))
@settings(max_examples=40)
def test_bulk_bytes_are_those_of_feasts_own_messages(rows: list[tuple[Any, ...]], left_out: set[int]) -> None:
    """Doubles of every kind, adjacent and apart, and text of every length, are encoded in the same bytes."""
    kept = [place for place in range(4) if place not in left_out] or [0]
    columns = [[row[place] for row in rows] for place in kept]
    kinds = [KINDS[place] for place in kept]
    types = {ValueType.DOUBLE: pl.Float64(), ValueType.STRING: pl.String()}
    series = [pl.Series(column, dtype=types[kind]) for column, kind in zip(columns, kinds, strict=True)]
    heads = [partial(head, place) for place in kept]
    messages = [python_values_to_proto_values(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    raw = [[message.SerializeToString() for message in column] for column in messages]
    expected = [
        b"".join(front(len(cell)) + cell for front, cell in zip(heads, row, strict=True))
        for row in zip(*raw, strict=True)
    ]
    assert joined_cells(series, kinds, heads) == expected


def head(place: int, length: int) -> bytes:
    """A head whose length depends on the column's number."""
    return b"|" * place + varint(length)


@given(st.lists(st.text(max_size=300), max_size=10), st.text(min_size=1, max_size=10))
@settings(max_examples=25)
def test_bulk_keys_are_feasts_own(names: list[str], join_key: str) -> None:
    """They have version 3, which is what Feast writes today."""
    keys = [EntityKey(join_keys=[join_key], entity_values=[Value(string_val=name)]) for name in names]
    assert entity_keys(join_key, names) == [serialize_entity_key(key, 3) for key in keys]


def test_only_new_rows_are_read(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """A second run writes what was appended since, and nothing if there is nothing."""
    add_rows(VIBRATION, ("c101", 10, 11, 1.0), ("c102", 10, 11, 2.0))
    assert materialized(store)[VIBRATION] == 2
    assert materialized(store)[VIBRATION] == 0
    add_rows(VIBRATION, ("c102", 20, 21, 3.0))
    assert materialized(store)[VIBRATION] == 1
    assert online(store, VIBRATION, "c102")["de_h_rms_ac"] == (3.0, after(20))
    assert materialized(store, full=True)[VIBRATION] == 2


def test_rows_left_out_by_the_end_are_found_later(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """A run up to a time in the past must not advance the cursor beyond it."""
    add_rows(VIBRATION, ("c101", 10, 11, 1.0), ("c101", 20, 21, 2.0))
    materialized(store, after(15))
    assert online(store, VIBRATION, "c101")["de_h_rms_ac"] == (1.0, after(10))
    materialized(store)
    assert online(store, VIBRATION, "c101")["de_h_rms_ac"] == (2.0, after(20))


def test_compaction_hides_nothing(stored: Plant, store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """Rows that were appended and then compacted into a larger file are still new."""
    add_rows(VIBRATION, ("c101", 10, 11, 1.0))
    materialized(store)
    add_rows(VIBRATION, ("c101", 20, 21, 2.0))
    DeltaTable(table_path(stored, VIBRATION)).optimize.compact()
    materialized(store)
    assert online(store, VIBRATION, "c101")["de_h_rms_ac"] == (2.0, after(20))


def test_a_recreated_table_is_read_whole(stored: Plant, store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """The stored cursor belongs to the previous table."""
    add_rows(VIBRATION, ("c101", 10, 11, 1.0))
    materialized(store)
    table_path(stored, VIBRATION).rename(stored.state / "moved")
    add_rows(VIBRATION, ("c101", 20, 21, 2.0), ("c102", 5, 6, 7.0))
    assert materialized(store)[VIBRATION] == 2


def test_a_changed_view_is_written_whole_and_the_others_are_not(
    stored: Plant, store: FeatureStore, add_rows: Callable[..., None]
) -> None:
    """A new feature of old rows becomes readable; unchanged views are not written again."""
    add_rows(VIBRATION, ("c101", 10, 11, 1.0))
    add_rows(PROCESS, ("c101", 10, 11, 1.0))
    materialized(store)
    view = store.get_feature_view(VIBRATION)
    known = Cursor(**json.loads(store.provider.online_store.cursor(store.config, view)))
    fewer = json.dumps({**vars(known), "features": known.features[:-1]})
    store.provider.online_store.move_cursor(store.config, view, fewer)
    assert materialized(store) == {PROCESS: 0, VIBRATION: 1, "pump_process": None}


def test_an_online_store_that_was_emptied_is_filled_again(plant: Plant, add_rows: Callable[..., None]) -> None:
    """The cursor is deleted with the rows."""
    apply(plant)
    add_rows(VIBRATION, ("c101", 10, 11, 1.0))
    materialized(open_feature_store(plant))
    (plant.state / "online.db").unlink()
    apply(plant)
    assert materialized(open_feature_store(plant))[VIBRATION] == 1


def test_feasts_own_materialisation_writes_the_same(
    stored: Plant, store: FeatureStore, add_rows: Callable[..., None]
) -> None:
    """`feast materialize` over our registry and our command give the SDK the same answer."""
    add_rows(VIBRATION, ("c101", 10, 11, 1.5), ("c101", 20, 21, None))
    add_rows(PROCESS, ("c101", 10, 11, 2.5))
    materialized(store)
    ours = [online(store, view, "c101") for view in (VIBRATION, PROCESS)]
    apply(replace(stored, views={}))
    apply(stored)
    theirs = open_feature_store(stored)
    theirs.materialize(START, END, feature_views=[VIBRATION, PROCESS])
    assert [online(theirs, view, "c101") for view in (VIBRATION, PROCESS)] == ours


def samples(tags: Iterator[str]) -> SampleBatch:
    """Three seconds of vibration at 1 kHz, and process values each second, some minutes long."""
    frames = []
    for number, tag in enumerate(tags):
        step, count = (1_000, 3_000) if tag.endswith("de_h") else (1_000_000, 780)
        times = pl.int_range(count, eager=True) * step + int(START.timestamp()) * 1_000_000
        values = ((times // step * (7 + number)) % 101).cast(pl.Float64()) / 10
        frames.append(
            pl.DataFrame({"tag": tag, "timestamp": times.cast(pl.Datetime("us", "UTC")), "value": values}).with_columns(
                text=pl.lit(None, pl.String()), quality=pl.lit(0, pl.UInt32())
            )
        )
    return normalise(pl.concat(frames)).batch


def test_online_equals_offline_for_every_feature_at_every_timestamp(stored: Plant, store: FeatureStore) -> None:
    """Features computed from samples are materialised up to each event timestamp and compared by column."""
    history = MemoryStore()
    write(
        history, samples(iter(stored.tags)), {name: 1_000.0 for name in stored.tags if name.endswith("de_h")}, now=START
    )
    compute(stored, history, lambda: END)
    tables = {name: pl.read_delta(str(table_path(stored, name))).sort("event_timestamp") for name in stored.views}
    compared = 0
    for event in pl.concat([rows["event_timestamp"] for rows in tables.values()]).unique().sort():
        materialized(store, event)
        for name, rows in tables.items():
            newest = rows.filter(pl.col("event_timestamp") <= event).unique("asset", keep="last")
            for row in newest.drop("created_timestamp").to_dicts():
                asset, known = row.pop("asset"), row.pop("event_timestamp")
                assert online(store, name, asset) == {feature: (value, known) for feature, value in row.items()}
                compared += len(row)
    assert compared > 500


def test_lookups_during_materialisation_never_see_half_a_row(stored: Plant, store: FeatureStore) -> None:
    """Two threads read while rows are written; all numbers of a row belong to the same second."""
    schema = table_schema(stored, stored.views[VIBRATION])
    numbers = [name for name, dtype in schema.items() if dtype in (pl.Float64(), pl.Int64())]
    FeatureTable(stored, stored.views[VIBRATION])
    going, seen, errors = threading.Event(), set[float](), list[BaseException]()

    def look() -> None:
        try:
            while not going.is_set():
                found = online(store, VIBRATION, "c101")
                values = {found[name][0] for name in numbers}
                events = {found[name][1] for name in numbers}
                assert len(values) == len(events) == 1, found
                value = values.pop()
                assert value is None or events.pop() == after(value)
                seen.add(value or 0)
        except BaseException as error:  # noqa: BLE001 - reported by the main thread
            errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for second in range(1, 9):
        row = {name: second if name in numbers else True for name in schema}
        times = {"event_timestamp": after(second), "created_timestamp": after(second + 1)}
        both = [{**row, **times, "asset": asset} for asset in ("c101", "c102")]
        write_deltalake(table_path(stored, VIBRATION), pl.DataFrame(both, schema=schema), mode="append")
        materialized(store)
    going.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(seen) > 1


def test_a_row_is_one_message(plant: Plant, add_rows: Callable[..., None]) -> None:
    """What bulk writing stores in SQLite can be parsed as Feast's `Map`."""
    apply(plant)
    add_rows(VIBRATION, ("c101", 10, 11, 1.5))
    store = open_feature_store(plant)
    view = store.get_feature_view(VIBRATION)
    head = store.provider.online_store.head(store.config, view, "de_h_rms_ac")
    value = Value(double_val=1.5).SerializeToString()
    assert dict(Map.FromString(head(len(value)) + value).val) == {"de_h_rms_ac": Value(double_val=1.5)}
