"""What a model gets online is what its training set holds for the same instant, missing values included."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from feast import FeatureStore
from polars.testing import assert_frame_equal

from features.feast.online.lookup import materialize
from features.feast.registry.feast_repo import apply, open_feature_store
from features.training.artefact import write_artefact
from features.training.formats import save
from features.training.known_names import names_of
from features.training.label_source import read_source
from features.training.model_input import model_input, read_signature
from features.training.prepare import plan_of, prepare
from features.training.request import Request
from features.training.training_set import Made
from features.training.training_set import make as make_training_set
from historian.errors import FeatureError, InvalidInput, UnknownFeature
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.times import format_instant
from tests.features.feature_rows import START

ASSETS = ("c101", "c102")


def at(seconds: float) -> datetime:
    """An instant in seconds after START."""
    return START + timedelta(seconds=seconds)


@pytest.fixture
def filled(plant: Plant, add_rows: Callable[..., None]) -> Plant:
    """Rows of two views: c101's oil is past its ttl of five minutes after 00:05:00; c102 has none, and an empty row."""
    add_rows("compressor_vibration", ("c101", 100, 101, 1.5), ("c101", 500, 501, 2.5), ("c102", 400, 401, None))
    add_rows("compressor_process", ("c101", 0, 1, 60.0))
    apply(plant)
    return plant


def made(plant: Plant, directory: Path, instant: datetime, **request: Any) -> Made:
    """A training set of all features, with a label of each asset at an instant."""
    rows = [f"{asset},{format_instant(instant)},1" for asset in ASSETS]
    (directory / "labels.csv").write_text("\n".join(["asset,event_timestamp,fails", *rows]) + "\n")
    wanted = Request(labels="labels.csv", target="fails", **request)
    source = read_source(wanted, directory, names_of(plant), now=instant)
    prepared = prepare(wanted, source, plan_of(open_feature_store(plant), plant, wanted, source))
    return make_training_set(prepared, plant, plant.root / "plant.toml", advance=lambda _: None)


def served(store: FeatureStore, path: Path, now: datetime) -> pl.DataFrame:
    """What a model gets at an instant, after all that was there had been written online."""
    materialize(store, end=now, advance=lambda _: None)
    return model_input(store, read_signature(path), ASSETS, now=now).frame


@pytest.mark.parametrize("seconds", [50.0, 100.0, 299.999999, 300.0, 300.000001, 450.0, 500.25])
@pytest.mark.parametrize("model_columns", [True, False])
def test_a_model_gets_online_what_it_was_trained_with(
    filled: Plant, tmp_path: Path, seconds: float, *, model_columns: bool
) -> None:
    """Values, order, types, ages and missing values are the same, from the manifest and from a file of rows."""
    found = made(filled, tmp_path, at(seconds), model_columns=model_columns, ages=True)
    write_artefact(found, tmp_path / "set")
    save(found.table, tmp_path / "rows.parquet")
    trained = pl.DataFrame(found.table).drop("asset", "event_timestamp", "fails")
    store = open_feature_store(filled)
    for path in (tmp_path / "set", tmp_path / "set" / "manifest.json", tmp_path / "rows.parquet"):
        assert_frame_equal(served(store, path, at(seconds)), trained)
    assert sum(trained.null_count().row(0)) > 0
    assert not any(audit.wrong for audit in found.audits.values())


def test_model_columns_are_numbers_of_the_machine(filled: Plant, tmp_path: Path) -> None:
    """Texts, flags and quality columns are left out, whatever their type; ages come last."""
    table = made(filled, tmp_path, at(500), model_columns=True, ages=True).table
    names = [name for name in table.column_names if "__" in name]
    assert {str(table.schema.field(name).type) for name in names} <= {"double", "int64"}
    assert names[-2:] == ["compressor_process__age_s", "compressor_vibration__age_s"]
    assert "compressor_vibration__de_h_rms_ac" in names
    endings = ("_reason", "_valid", "_n", "_coverage", "_clipped", "_df_hz", "_fs_hz")
    assert not [name for name in names if name.endswith(endings)]
    with pytest.raises(InvalidInput, match="none of compressor_vibration:de_h_reason is a number"):
        made(filled, tmp_path, at(500), model_columns=True, features=("compressor_vibration:de_h_reason",))


def test_why_a_value_is_missing(filled: Plant, tmp_path: Path) -> None:
    """Of c101 the oil is past its ttl; of c102 there is no oil, and a row without values; both rows have an age."""
    refs = ("compressor_vibration:de_h_rms_ac", "compressor_process:oil_temp_mean")
    write_artefact(made(filled, tmp_path, at(600), features=refs, ages=True), tmp_path / "set")
    store = open_feature_store(filled)
    materialize(store, end=at(600), advance=lambda _: None)
    found = model_input(store, read_signature(tmp_path / "set"), [*ASSETS, "c999"], now=at(600))
    assert found.status.rows() == [
        ("PRESENT", "OUTSIDE_MAX_AGE", "OUTSIDE_MAX_AGE", "PRESENT"),
        ("NULL_VALUE", "NOT_FOUND", "NOT_FOUND", "PRESENT"),
        ("NOT_FOUND", "NOT_FOUND", "NOT_FOUND", "NOT_FOUND"),
    ]
    assert found.frame.rows() == [(2.5, None, None, 100.0), (None, None, None, 200.0), (None, None, None, None)]


def test_the_ttl_is_that_of_training(filled: Plant, tmp_path: Path) -> None:
    """A longer one in the plant file does not let the model see older values than it was trained with."""
    write_artefact(made(filled, tmp_path, at(600), model_columns=True), tmp_path / "set")
    file = filled.root / "plant.toml"
    file.write_text(file.read_text().replace('ttl = "5m"', 'ttl = "1h"'))
    changed = load_plant(filled.root)
    apply(changed)
    assert (
        served(open_feature_store(changed), tmp_path / "set", at(600))["compressor_process__oil_temp_mean"][0] is None
    )


def test_a_feature_with_another_meaning_is_refused(filled: Plant, tmp_path: Path) -> None:
    """Another version or unit, and a feature that is gone; the message names what the model was trained with."""
    refs = ("compressor_process:oil_temp_mean",)
    write_artefact(made(filled, tmp_path, at(600), features=refs), tmp_path / "set")
    signature, store = read_signature(tmp_path / "set"), open_feature_store(filled)
    [column] = signature.inputs
    for change, message in (
        ({"version": "0"}, r"oil_temp_mean has version 1 \(was 0\) now\n.* retrain it$"),
        ({"unit": "K"}, r"oil_temp_mean has unit degC \(was K\) now\n"),
    ):
        other = signature.model_copy(update={"inputs": (column.model_copy(update=change),)})
        with pytest.raises(FeatureError, match=message):
            model_input(store, other, ["c101"], now=at(600))
    gone = signature.model_copy(update={"inputs": (column.model_copy(update={"feature": "oil_temp_mode"}),)})
    with pytest.raises(UnknownFeature, match=r"features that are not registered now: .* did you mean"):
        model_input(store, gone, ["c101"], now=at(600))


@pytest.mark.parametrize("name", ["none.parquet", "other.parquet", "none"])
def test_a_file_without_a_signature_is_refused(tmp_path: Path, name: str) -> None:
    """It may be absent or written by something else."""
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(InvalidInput, match=r"has no signature|there is no manifest"):
        read_signature(tmp_path / name)
