"""Training sets from a label file."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from feast import FeatureStore
from polars.testing import assert_frame_equal

from features.feast.feature_refs import refs_of_assets
from features.tables.feature_table import table_path
from features.training.formats import Format, format_of, save, write
from features.training.plan import resolve
from features.training.training_set import null_rates, training_set
from historian.errors import FeatureError, InvalidInput, NotEnoughData, UnknownFeature
from historian.plant.plant import Plant

START = datetime(2026, 3, 1, tzinfo=UTC)
RMS = "compressor_vibration:de_h_rms_ac"
OIL = "compressor_process:oil_temp_mean"


def labels(*rows: tuple[str, float], **columns: list[object]) -> pl.DataFrame:
    """Checked labels: asset, seconds after START, and further columns."""
    times = pl.Series([START + timedelta(seconds=seconds) for _, seconds in rows], dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame({"asset": [asset for asset, _ in rows], "event_timestamp": times, **columns})


def test_a_label_gets_the_features_known_at_its_time(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """All label columns stay as they are, whatever their type; a feature column is called view__feature."""
    add_rows("compressor_vibration", ("c101", 0, 1, 1.0), ("c101", 10, 11, 2.0), ("c102", 0, 1, 5.0))
    add_rows("compressor_process", ("c101", 0, 1, 60.0))
    label_rows = labels(("c102", 5), ("c101", 5), ("c101", 400), rul=[None, 7, 6], note=["x", None, "y"])
    found = pl.DataFrame(training_set(label_rows, resolve(store, [OIL, RMS])))
    expected = label_rows.with_columns(
        compressor_process__oil_temp_mean=pl.Series([None, 60.0, None]),  # expired after five minutes
        compressor_vibration__de_h_rms_ac=pl.Series([5.0, 1.0, 2.0]),
    )
    assert_frame_equal(found, expected)


def test_without_features_those_of_the_assets_classes_are_used(plant: Plant, store: FeatureStore) -> None:
    """Labels of two classes get the features of both services."""
    of_one = refs_of_assets(store, plant, ["p201"])
    of_two = refs_of_assets(store, plant, ["p201", "c101"])
    assert {ref.partition(":")[0] for ref in of_one} == {"pump_process"}
    assert {ref.partition(":")[0] for ref in of_two} == set(plant.views)


def test_a_correction_made_later_is_left_out_on_request(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """`created_by_label_time` gives what a model in service would have received."""
    add_rows("compressor_vibration", ("c101", 0, 1, 1.0), ("c101", 0, 60, 9.0))
    values = [
        training_set(labels(("c101", 30)), resolve(store, [RMS], created_by_label_time=then))[2].to_pylist()
        for then in (True, False)
    ]
    assert values == [[1.0], [9.0]]


def test_a_table_older_than_the_registered_view_is_named(
    plant: Plant, store: FeatureStore, add_rows: Callable[..., None]
) -> None:
    """It lacks a column: the error says what to do, without a traceback."""
    add_rows("compressor_vibration", ("c101", 0, 1, 1.0))
    path = table_path(plant, "compressor_vibration")
    older = pl.read_delta(str(path)).drop("de_h_rms_ac")
    write_deltalake(path, older, mode="overwrite", schema_mode="overwrite")
    with pytest.raises(FeatureError, match=r"no column de_h_rms_ac; it has .* penstock compute"):
        training_set(labels(("c101", 5)), resolve(store, [RMS]))


def test_the_same_request_gives_the_same_bytes(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """This holds in every format, also after rows were added that the request does not use."""
    add_rows("compressor_vibration", ("c101", 0, 1, 1.0), ("c102", 0, 1, 5.0))
    label_rows = labels(("c102", 5), ("c101", 5))

    def contents() -> list[bytes]:
        table = training_set(label_rows, resolve(store, [RMS]))
        sinks = [io.BytesIO() for _ in get_args(Format)]
        for sink, as_format in zip(sinks, get_args(Format), strict=True):
            write(table, sink, as_format)
        return [sink.getvalue() for sink in sinks]

    before = contents()
    add_rows("compressor_vibration", ("c101", 20, 21, 7.0))
    assert contents() == before


def test_every_format_holds_the_same_rows(store: FeatureStore, add_rows: Callable[..., None], tmp_path: Path) -> None:
    """Parquet and Arrow keep types and meaning; CSV is text with times in UTC."""
    add_rows("compressor_vibration", ("c101", 0, 1, 1.5))
    table = training_set(labels(("c101", 5), ("c102", 5)), resolve(store, [RMS], created_by_label_time=True))
    for suffix in (".parquet", ".arrow", ".arrows", ".csv"):
        save(table, tmp_path / "made" / f"set{suffix}")
    assert pq.read_table(tmp_path / "made" / "set.parquet").equals(table)
    assert pa.ipc.open_file(tmp_path / "made" / "set.arrow").read_all().equals(table, check_metadata=True)
    with pa.OSFile(str(tmp_path / "made" / "set.arrows")) as stream:
        assert pa.ipc.open_stream(stream).read_all().equals(table, check_metadata=True)
    assert (tmp_path / "made" / "set.csv").read_text().splitlines() == [
        "asset,event_timestamp,compressor_vibration__de_h_rms_ac",
        "c101,2026-03-01T00:00:05.000000Z,1.5",
        "c102,2026-03-01T00:00:05.000000Z,",
    ]
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [
        "set.arrow",
        "set.arrows",
        "set.csv",
        "set.parquet",
    ]


def test_the_schema_says_what_a_column_means(
    store: FeatureStore, add_rows: Callable[..., None], tmp_path: Path
) -> None:
    """Unit, formula, version and the tags it comes from survive in a Parquet file."""
    add_rows("compressor_vibration", ("c101", 0, 1, 1.5))
    save(training_set(labels(("c101", 5)), resolve(store, [RMS], created_by_label_time=True)), tmp_path / "set.parquet")
    schema = pq.read_schema(tmp_path / "set.parquet")
    meaning = schema.field("compressor_vibration__de_h_rms_ac").metadata
    assert meaning[b"unit"] == b"g"
    assert meaning[b"tags"] == b"c101=c101.de_h, c102=c102.de_h"
    assert {b"formula", b"version", b"point"} < meaning.keys()
    assert json.loads(schema.metadata[b"penstock"]) == {"features": [RMS], "created_by_label_time": True}


def test_the_share_of_missing_values_is_counted(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """Missing means null: nothing was known, or the feature was undefined."""
    add_rows("compressor_vibration", ("c101", 0, 1, None), ("c102", 0, 1, 5.0))
    plan = resolve(store, [RMS])
    table = training_set(labels(("c101", 5), ("c102", 5), ("c102", -5), ("c102", 9)), plan)
    assert null_rates(table, plan) == {RMS: 0.5}


def test_unknown_features_are_all_named_with_near_misses(store: FeatureStore) -> None:
    """All of them are in one error."""
    with pytest.raises(UnknownFeature) as raised:
        training_set(labels(("c101", 5)), resolve(store, [RMS, "compressor_vibration:de_h_rms", "nothing"]))
    lines = str(raised.value).splitlines()
    assert lines[0].startswith("unknown feature 'compressor_vibration:de_h_rms'; did you mean ")
    assert RMS in lines[0]
    assert lines[1] == "unknown feature 'nothing'"


def test_a_label_column_with_a_features_name_is_refused(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """The answer would have two columns of one name."""
    add_rows("compressor_vibration", ("c101", 0, 1, 1.0))
    label_rows = labels(("c101", 5), compressor_vibration__de_h_rms_ac=[1.0])
    with pytest.raises(InvalidInput, match="compressor_vibration__de_h_rms_ac; rename"):
        training_set(label_rows, resolve(store, [RMS]))


def test_a_view_never_computed_says_what_to_do(store: FeatureStore) -> None:
    """It has no table to join."""
    with pytest.raises(NotEnoughData, match="no features have been computed yet; run penstock compute"):
        training_set(labels(("c101", 5)), resolve(store, [RMS]))


def test_an_unknown_file_suffix_is_refused() -> None:
    """The error is raised before any work is done."""
    with pytest.raises(InvalidInput, match=r"set\.xlsx has no known suffix; end it in one of \.parquet"):
        format_of(Path("set.xlsx"))


def test_a_path_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """The path of a directory is that of a file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="cannot be written to"):
        save(pa.table({"a": [1]}), tmp_path / "file" / "set.parquet")


def test_as_of_leaves_out_what_was_computed_later(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """It applies to every label, in addition to `created_by_label_time`."""
    add_rows("compressor_vibration", ("c101", 0, 1, 1.0), ("c101", 0, 60, 9.0), ("c101", 10, 70, 2.0))
    label_rows = labels(("c101", 5), ("c101", 65), ("c101", 80))
    instants = {0: None, **{seconds: START + timedelta(seconds=seconds) for seconds in (1, 59, 60, 70)}}
    found = {
        (then, seconds): training_set(label_rows, resolve(store, [RMS], created_by_label_time=then, as_of=at))[
            2
        ].to_pylist()
        for then in (False, True)
        for seconds, at in instants.items()
    }
    assert found == {
        (False, 0): [9.0, 2.0, 2.0],
        (False, 1): [1.0, 1.0, 1.0],
        (False, 59): [1.0, 1.0, 1.0],
        (False, 60): [9.0, 9.0, 9.0],
        (False, 70): [9.0, 2.0, 2.0],
        (True, 0): [1.0, 9.0, 2.0],
        (True, 1): [1.0, 1.0, 1.0],
        (True, 59): [1.0, 1.0, 1.0],
        (True, 60): [1.0, 9.0, 9.0],
        (True, 70): [1.0, 9.0, 2.0],
    }
    made = training_set(
        label_rows, resolve(store, [RMS], created_by_label_time=True, as_of=START + timedelta(seconds=70))
    )
    request = {"features": [RMS], "created_by_label_time": True, "as_of": "2026-03-01T00:01:10Z"}
    assert json.loads(made.schema.metadata[b"penstock"]) == request


@pytest.mark.parametrize("created_by_label_time", [False, True])
def test_it_is_what_feast_itself_answers(
    store: FeatureStore, add_rows: Callable[..., None], *, created_by_label_time: bool
) -> None:
    """Feast's historical retrieval over the same tables gives the same values."""
    add_rows("compressor_vibration", *(("c101", second, second + 5 * (second % 3), second) for second in range(40)))
    add_rows("compressor_process", *(("c102", 60 * minute, 60 * minute, minute) for minute in range(10)))
    label_rows = labels(*((asset, second) for asset in ("c101", "c102") for second in range(0, 900, 7)))
    ours = training_set(label_rows, resolve(store, [RMS, OIL], created_by_label_time=created_by_label_time))
    feast = store.get_historical_features(
        label_rows.to_pandas(), [RMS, OIL], full_feature_names=True, filter_by_created_timestamp=created_by_label_time
    ).to_arrow()
    names = ["compressor_vibration__de_h_rms_ac", "compressor_process__oil_temp_mean"]
    assert_frame_equal(pl.DataFrame(ours.select(names)), pl.DataFrame(feast.select(names)))


def test_csv_refuses_lists(store: FeatureStore, add_rows: Callable[..., None], tmp_path: Path) -> None:
    """The error is raised before anything is written, and no file is left behind."""
    add_rows("compressor_vibration", ("c101", 0, 1, 1.0))
    made = training_set(labels(("c101", 5), notes=[["a", "b"]]), resolve(store, [RMS]))
    with pytest.raises(InvalidInput, match=r"no room for what notes holds; write Parquet"):
        save(made, tmp_path / "out" / "set.csv")
    assert not list((tmp_path / "out").iterdir())
