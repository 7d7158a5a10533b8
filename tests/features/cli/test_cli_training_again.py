"""A training set is made again from its manifest, and what has changed is reported."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any, get_args

import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from features.cli.training_answers import artefact_written, has_failed, made_again
from features.tables.feature_table import table_path
from features.training.formats import Format
from features.training.verify import Verified
from historian.errors import HistorianError
from historian.plant.plant import Plant
from tests.features.files import contents

RMS = "compressor_vibration:de_h_rms_ac"


def test_the_same_request_gives_the_same_bytes(history: Path, finished: Path, penstock: Callable[..., Any]) -> None:
    """Data, manifest and report are identical although the other was made in another directory."""
    penstock("training-set", history / "rule.toml", "--out", history / "two")
    assert contents(finished) == contents(history / "two")
    same = penstock("training-set", "diff", finished, history / "two", "--json")
    assert same == {"same_content": True, "differences": []}


READERS: dict[str, Callable[[Path], pa.Table]] = {
    "parquet": pq.read_table,
    "arrow": lambda path: pa.ipc.open_file(path).read_all(),
    "arrows": lambda path: pa.ipc.open_stream(path.read_bytes()).read_all(),
    "csv": lambda path: pl.read_csv(path, schema_overrides={"episode": pl.String}, try_parse_dates=True).to_arrow(),
}


def test_an_artefact_is_the_same_in_every_format(history: Path, penstock: Callable[..., Any]) -> None:
    """The parts have the same rows and content hash; it can be made again, and has the meaning of its columns."""
    for as_format in get_args(Format):
        options = ["--split", "asset", "--hold-out", "c102", "--shares", "100,0,0", "-f", RMS, "--format", as_format]
        penstock("training-set", history / "rule.toml", "--out", history / as_format, *options)
    manifests = {name: json.loads((history / name / "manifest.json").read_text()) for name in READERS}
    assert len({manifest["content_hash"] for manifest in manifests.values()}) == 1
    for split in ("train", "test"):
        names = {name: f"data/split={split}/part-0.{name}" for name in READERS}
        assert all(names[name] in manifests[name]["files"] for name in READERS)
        parts = {name: read(history / name / names[name]) for name, read in READERS.items()}
        assert parts["parquet"].num_rows == manifests["parquet"]["rows"]["split"][split] > 0
        assert all(parts["parquet"].equals(parts[name], check_metadata=True) for name in ("arrow", "arrows"))
        assert_frame_equal(pl.DataFrame(parts["csv"]), pl.DataFrame(parts["parquet"]), check_dtypes=False)
    whole = pl.scan_parquet(history / "parquet" / "data", hive_partitioning=True).collect()
    assert_frame_equal(pl.scan_ipc(history / "arrow" / "data", hive_partitioning=True).collect(), whole)
    csv = pyarrow.dataset.dataset(history / "csv" / "data", format="csv", partitioning="hive").to_table()
    assert_frame_equal(pl.DataFrame(csv), whole, check_dtypes=False)
    unit = manifests["csv"]["columns"]["compressor_vibration__de_h_rms_ac"]["unit"]
    assert parts["arrows"].schema.field("compressor_vibration__de_h_rms_ac").metadata[b"unit"].decode() == unit == "g"
    answer = penstock("training-set", "diff", history / "parquet", history / "csv", "--json")
    assert answer["same_content"]
    assert answer["differences"][0] == 'request format: "parquet" -> "csv"'
    for as_format in ("arrows", "csv"):
        verified = penstock("training-set", "verify", history / as_format, "--json")
        assert (verified["verified"], verified["moved_on"]) == (True, [])


@pytest.mark.parametrize("split", [True, False])
def test_parts_by_asset_are_read_back_as_one(history: Path, penstock: Callable[..., Any], *, split: bool) -> None:
    """The path gives split and asset, as Polars and Arrow read it; a part keeps the labels' order."""
    rows = [f"{asset},2026-03-01T00:0{at}:30Z,{at}" for at in (3, 1, 2) for asset in ("c102", "c101")]
    (history / "labels.csv").write_text("\n".join(["asset,event_timestamp,at", *rows]) + "\n")
    options = ["--split", "time", "--shares", "60,0,40", "--horizon", "0", "-f", RMS] if split else ["-f", RMS]
    for out, more in (("whole", []), ("parts", ["--partition-by", "asset", "--verify"])):
        penstock("training-set", history / "labels.csv", "--out", history / out, *options, *more)
    manifest = json.loads((history / "parts" / "manifest.json").read_text())
    splits = ["split=test/", "split=train/"] if split else [""]
    paths = [f"data/{name}asset={asset}/part-0.parquet" for name in splits for asset in ("c101", "c102")]
    assert list(manifest["files"]) == paths
    parts = {path: pl.read_parquet(history / "parts" / path, hive_partitioning=False) for path in paths}
    assert all({"asset", "split"}.isdisjoint(part.columns) for part in parts.values())
    order = [1, 2] if split else [3, 1, 2]  # the rows at 3:30 are the test set
    assert parts[paths[-1]]["at"].to_list() == order
    whole = pl.read_parquet(history / "whole" / "data" / "**" / "*.parquet", hive_partitioning=True)
    data = history / "parts" / "data"
    polars = pl.scan_parquet(data, hive_partitioning=True).collect()
    arrow = pl.DataFrame(pyarrow.dataset.dataset(data, partitioning="hive").to_table())
    for found in (polars, arrow):
        assert_frame_equal(found, whole, check_row_order=False, check_column_order=False)


def test_lists_in_the_labels_cannot_be_written_as_csv(history: Path, penstock: Callable[..., Any]) -> None:
    """The error is raised before anything is written: a set made earlier stays."""
    out, at = history / "set", datetime(2026, 3, 1, 0, 1, tzinfo=UTC)
    pl.DataFrame({"asset": ["c101"], "event_timestamp": [at], "notes": [["a"]]}).write_parquet(history / "l.parquet")
    command = ("training-set", history / "l.parquet", "--out", out, "-f", RMS, "--format")
    penstock(*command, "arrow")
    before = contents(out)
    with pytest.raises(HistorianError, match="CSV has no room for what notes holds; write Parquet or Arrow"):
        penstock(*command, "csv")
    assert contents(out) == before


def test_a_manifest_without_newer_options_is_verified(finished: Path, penstock: Callable[..., Any]) -> None:
    """What it was made from is the same."""
    manifest = finished / "manifest.json"
    content = json.loads(manifest.read_text())
    del content["request"]["format"]
    manifest.write_text(json.dumps(content))
    assert penstock("training-set", "verify", manifest, "--json")["verified"]


def test_verify_reports_files_changed_after_writing(history: Path, penstock: Callable[..., Any]) -> None:
    """A part is changed between writing and verification: the output says so, and the exit code is 1."""
    out = history / "set"
    part = out / "data" / "part-0.csv"

    def overwrite() -> None:
        while not part.exists():
            time.sleep(0.001)
        part.write_text("asset\n")

    writer = Thread(target=overwrite)
    writer.start()
    command = ("training-set", history / "rule.toml", "--out", out, "-f", RMS, "--verify")
    output = penstock(*command, "--format", "csv", code=1)
    writer.join()
    assert "\n  197 rows made again, not what is written\n  files on disk data/part-0.csv: " in output
    assert penstock(*command).endswith("  197 rows made again, the same\n")


def test_it_is_made_again_although_its_tables_have_newer_versions(
    history: Path, finished: Path, add_rows: Callable[..., None], penstock: Callable[..., Any]
) -> None:
    """Verification reads the versions of that time; the present state gives another set, and diff says why."""
    add_rows("compressor_vibration", ("c101", 20, 2000, -1.0))
    verified = penstock("training-set", "verify", finished / "manifest.json", "--json")
    assert (verified["verified"], verified["differences"]) == (True, [])
    assert verified["moved_on"] == ["compressor_vibration: the table is now at version 2; version 1 was read"]
    penstock("training-set", history / "rule.toml", "--out", history / "two")
    output = penstock("training-set", "diff", finished, history / "two")
    assert output.startswith("other rows or values\ntables compressor_vibration version: 1 -> 2\n")
    assert "columns compressor_vibration__de_h_rms_ac changed_later: " not in output


def test_the_rows_of_a_vacuumed_version_are_selected_by_when_they_were_created(
    finished: Path, plant: Plant, add_rows: Callable[..., None], penstock: Callable[..., Any]
) -> None:
    """The version's files are deleted, but the table still has its rows."""
    add_rows("compressor_vibration", ("c101", 20, 2000, -1.0))
    table = DeltaTable(table_path(plant, "compressor_vibration"))
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    verified = penstock("training-set", "verify", finished, "--json")
    assert verified["verified"], verified["differences"]
    assert "version 1 is gone; of version" in verified["moved_on"][0]


def test_a_changed_plant_file_is_reported_and_does_no_harm(
    finished: Path, plant: Plant, penstock: Callable[..., Any]
) -> None:
    """The rows are the same; with another version of a library their bytes may differ."""
    with (plant.root / "plant.toml").open("a") as file:
        file.write("# a word of explanation\n")
    manifest = finished / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "software": {**content["software"], "pyarrow": "1.0"}}))
    verified = penstock("training-set", "verify", manifest, "--json")
    assert verified["verified"]
    assert [text.split(":")[0] for text in verified["moved_on"]] == ["plant files plant.toml", "software pyarrow"]


def test_tampering_is_found(finished: Path, penstock: Callable[..., Any]) -> None:
    """A changed file and a changed input are named."""
    [part] = (finished / "data").rglob("*.parquet")
    pl.read_parquet(part).head(3).write_parquet(part)
    output = penstock("training-set", "verify", finished, code=1)
    assert "not what is written\nfiles on disk data/part-0.parquet: " in output
    inputs = finished / "inputs" / "failures.csv"
    inputs.write_text(inputs.read_text().replace("00:03:00", "00:02:00"))
    assert "\ninputs failures.csv: " in penstock("training-set", "verify", finished, code=1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"threshold"', '"thresh0ld"', "not as it was written.*thresh0ld"),
        ('"created_until"', '"created_unti1"', "not as it was written.*created_until"),
        ('"created_until": "2026-', '"created_until": "2026+', "not as it was written.*2026+"),
        ('"version": 1', '"version": -1', "not as it was written.*version -1"),
        ('"software"', '"softwar3"', "no manifest of format 3"),
    ],
)
def test_a_manifest_that_was_tampered_with_is_reported(
    finished: Path, penstock: Callable[..., Any], old: str, new: str, message: str
) -> None:
    """A request that can no longer be carried out gives an error without a stack trace."""
    file = finished / "manifest.json"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(HistorianError, match=message):
        penstock("training-set", "verify", file)


def test_a_version_its_table_never_had_is_a_difference(finished: Path, penstock: Callable[..., Any]) -> None:
    """The manifest was changed or the table replaced; this is reported even if the rows are the same."""
    file = finished / "manifest.json"
    file.write_text(file.read_text().replace('"version": 1', '"version": 99', 1))
    verified = penstock("training-set", "verify", file, "--json", code=1)
    [difference] = verified["differences"]
    assert difference.startswith("manifest names version 99 of compressor_process; the table is at 1: ")
    assert (verified["verified"], verified["moved_on"]) == (False, [])


def test_a_set_with_values_of_the_future_has_failed(finished: Path) -> None:
    """Making and verifying fail; the join never gives such values, so the record is written by hand."""
    manifest = json.loads((finished / "manifest.json").read_text())
    assert not has_failed(artefact_written(manifest, finished, None)[0])
    leakage = {**manifest["leakage"], "values_not_known_at_their_label": 3, "columns": {"rms": 3}}
    again = Verified(rows=1, leakage=leakage, differences=(), moved_on=())
    for record, text in (
        artefact_written({**manifest, "leakage": leakage}, finished, None),
        made_again(finished, again),
    ):
        assert has_failed(record)
        assert "3 values were not known at their label's time: rms" in text.splitlines()[-1]
