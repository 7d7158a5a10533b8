"""`penstock training-set`, as a person runs it: from labels or failures to a training set that can be made again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from threading import Thread
from typing import Any, get_args

import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from features.rows.tables import table_path, table_schema
from features.training.formats import Format
from historian.cli import app
from historian.errors import HistorianError
from historian.plant import Plant
from tests.features.delta_commits import set_commit_times

RMS = "compressor_vibration:de_h_rms_ac"
RULE = """events = "failures.csv"

[target]
kind = "horizon"
failures = ["failure"]
horizon = "30s"
column = "fails"

[times]
view = "compressor_vibration"

[[exclude]]
kinds = ["repair"]
after = "5s"

[episodes]
restart = ["repair"]
"""
EVENTS = """asset,kind,happened_at,known_at,end
c101,failure,2026-03-01T00:01:40Z,2026-03-01T00:02:00Z,
c101,repair,2026-03-01T00:01:45Z,,2026-03-01T00:02:00Z
c102,failure,2026-03-01T00:03:00Z,,
"""


@pytest.fixture
def penstock(plant: Plant) -> Callable[..., Any]:
    """Runs a command on the plant; its standard output, as JSON where that was asked for."""

    def run(*arguments: str | Path, code: int = 0) -> Any:
        environment = {"PENSTOCK_PLANT": str(plant.root)}
        done = CliRunner(env=environment).invoke(app, list(map(str, arguments)), catch_exceptions=False)
        assert done.exit_code == code, done.output
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    return run


@pytest.fixture
def history(add_rows: Callable[..., None], penstock: Callable[..., Any], tmp_path: Path) -> Path:
    """Four minutes of two compressors, one correction and one late row; failures and a rule beside them."""
    rows = [
        (asset, second, second + 1, float(second % 17)) for asset in ("c101", "c102") for second in range(0, 240, 2)
    ]
    add_rows("compressor_vibration", *rows, ("c101", 20, 900, 99.0), ("c102", 41, 900, 99.0))
    add_rows(
        "compressor_process", *((asset, second, second, 50.0) for asset in ("c101", "c102") for second in (60, 120))
    )
    penstock("apply")
    (tmp_path / "rule.toml").write_text(RULE)
    (tmp_path / "failures.csv").write_text(EVENTS)
    return tmp_path


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_a_file_is_labels_and_features_and_nothing_else(
    tmp_path: Path, add_rows: Callable[..., None], penstock: Callable[..., Any]
) -> None:
    """One row a label; with --json nothing else is on standard output. What a CSV has as `03` stays so.

    The newest correction counts unless --known-then asks for what was computed by then.
    """
    add_rows("compressor_vibration", ("c101", 0, 1, 1.5), ("c101", 10, 11, 2.5), ("c101", 0, 900, 9.5))
    penstock("apply")
    labels, out = tmp_path / "labels.csv", tmp_path / "set.parquet"
    labels.write_text("asset,event_timestamp,rul\nc101,2026-03-01T00:00:05Z,03\nc102,2026-03-01T00:00:05Z,4\n")
    made = penstock("training-set", labels, "--out", out, "--feature", RMS, "--json")
    assert made == {
        "training_rows": 2,
        "features": [RMS],
        "null_rate": 0.5,
        "null_rates": {RMS: 0.5},
        "known_then": False,
        "warnings": [],
        "out": str(out),
    }
    assert pl.read_parquet(out).drop("event_timestamp").rows() == [("c101", "03", 9.5), ("c102", "4", None)]
    text = penstock("training-set", labels, "-o", out, "-f", RMS, "--known-then", "--target", "rul")
    assert text == f"{out}: 2 rows, 1 features, 50.0% of their values missing\n"
    assert pl.read_parquet(out).drop("event_timestamp").rows() == [("c101", 3, 1.5), ("c102", 4, None)]


def test_from_a_failure_list_to_a_verified_training_set(history: Path, penstock: Callable[..., Any]) -> None:
    """Events, rule, labels, features, split, artefact, verification: one command makes it, one proves it."""
    out = history / "set"
    told = penstock(
        "training-set", history / "rule.toml", "--out", out, "--split", "asset", "--shares", "80,0,20",
        "--hold-out", "c102", "--json",
    )  # fmt: skip
    data = pl.read_parquet(out / "data" / "**" / "*.parquet", hive_partitioning=True)
    # Failed at second 100 and 180, repaired from 105 to 120, and seen until 238; rows at even seconds, one came late.
    labelled = {
        "c101": [*range(0, 100, 2), *range(126, 210, 2)],
        "c102": [*range(0, 180, 2), 41, *range(182, 210, 2)],
    }
    seconds = pl.col("event_timestamp").dt.epoch("s") - 1772323200
    for asset, expected in labelled.items():
        assert data.filter(asset=asset).select(seconds.sort()).to_series().to_list() == sorted(expected)
    assert data.filter(asset="c101")["split"].unique().to_list() == ["train"]
    assert data.filter(asset="c102")["split"].unique().to_list() == ["test"]
    assert data.filter("fails")["event_timestamp"].len() == 15 + 15
    assert set(data["episode"]) == {"c101/1", "c101/2", "c102/1"}

    assert told["leakage"]["values_not_known_at_their_label"] == 0
    assert told["corrections"]["values_that_differ"] > 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["tables"]["compressor_vibration"]["version"] >= 1
    assert manifest["columns"]["compressor_vibration__de_h_rms_ac"]["tags"] == "c101=c101.de_h, c102=c102.de_h"
    assert "<svg" in (out / "report.html").read_text()
    assert "http-equiv" not in (out / "report.html").read_text()

    verified = penstock("training-set", "verify", out, "--json")
    assert verified == {"verified": True, "rows": data.height, "differences": [], "moved_on": []}


def test_what_the_docs_show_of_a_failure_list_is_one_command(
    history: Path, penstock: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its list, its rule and its command, as they stand there: a verified training set, an asset held out."""
    docs = Path(__file__).parents[3] / "docs"
    page = (docs / "feast.md").read_text(encoding="utf-8")
    [events] = re.findall(r"```\n(asset,kind,happened_at\n.*?)```", page, flags=re.DOTALL)
    [rule] = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    [command] = re.findall(r"^penstock (training-set .*)$", page, flags=re.MULTILINE)
    assert f"\npenstock {command}\n" in (docs / "training-sets.md").read_text(encoding="utf-8")
    monkeypatch.chdir(history)
    Path("failures.csv").write_text(events)
    Path("rule.toml").write_text(rule)
    told = penstock(*command.split(), "--json")
    assert (told["verified"], told["differences"]) == (True, [])
    assert told["rows"]["split"] == {"train": 50, "validation": 0, "test": 91}


def test_rows_excluded_for_their_quality_are_told_with_their_reason(
    plant: Plant, history: Path, penstock: Callable[..., Any]
) -> None:
    """The reason is a column that can be asked for, and manifest and report count the label rows it excluded."""
    schema = table_schema(plant, plant.views["compressor_vibration"])
    at = datetime(2026, 3, 1, 0, 1, tzinfo=UTC)
    row = {"asset": "c101", "event_timestamp": at, "created_timestamp": at + timedelta(hours=1)}
    bad = pl.DataFrame([row | {"de_h_valid": False, "de_h_reason": "gap constant"}], schema=schema)
    write_deltalake(table_path(plant, "compressor_vibration"), bad, mode="append")
    labels, out = history / "labels.csv", history / "set"
    labels.write_text(
        "asset,event_timestamp,rul\n" + "".join(f"c101,2026-03-01T00:0{at}Z,7\n" for at in ("1:01", "2:01"))
    )

    reason = "compressor_vibration:de_h_reason"
    penstock("training-set", labels, "--out", out, "-f", RMS, "-f", reason, "--target", "rul")

    rows = pl.read_parquet(out / "data" / "**" / "*.parquet").sort("event_timestamp")
    assert rows["rul"].to_list() == [7, 7]
    assert rows["compressor_vibration__de_h_reason"].to_list() == ["gap constant", "gap"]
    assert rows["compressor_vibration__de_h_rms_ac"].null_count() == 1
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["quality_exclusions"] == {"compressor_vibration": {"de_h": {"gap constant": 1}}}
    report = (out / "report.html").read_text()
    assert "excluded because" in report
    assert "<td>gap constant</td>" in report


def test_the_same_request_gives_the_same_bytes(history: Path, penstock: Callable[..., Any]) -> None:
    """All of them: data, manifest, report."""
    for out in ("one", "two"):
        penstock("training-set", history / "rule.toml", "--out", history / out, "--split", "time")
    assert contents(history / "one") == contents(history / "two")
    same = penstock("training-set", "diff", history / "one", history / "two", "--json")
    assert same == {"same_content": True, "differences": []}


READERS: dict[str, Callable[[Path], pa.Table]] = {
    "parquet": pq.read_table,
    "arrow": lambda path: pa.ipc.open_file(path).read_all(),
    "arrows": lambda path: pa.ipc.open_stream(path.read_bytes()).read_all(),
    "csv": lambda path: pl.read_csv(path, schema_overrides={"episode": pl.String}, try_parse_dates=True).to_arrow(),
}


def test_an_artefact_is_the_same_in_every_format(history: Path, penstock: Callable[..., Any]) -> None:
    """The same parts with the same rows and content hash; it can be made again, and says what its columns mean."""
    for as_format in get_args(Format):
        asked = ["--split", "asset", "--hold-out", "c102", "--shares", "100,0,0", "-f", RMS, "--format", as_format]
        penstock("training-set", history / "rule.toml", "--out", history / as_format, *asked)
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
    told = penstock("training-set", "diff", history / "parquet", history / "csv", "--json")
    assert told["same_content"]
    assert told["differences"][0] == 'request format: "parquet" -> "csv"'
    for as_format in ("arrows", "csv"):
        verified = penstock("training-set", "verify", history / as_format, "--json")
        assert (verified["verified"], verified["moved_on"]) == (True, [])


@pytest.mark.parametrize("split", [True, False])
def test_parts_by_asset_are_read_back_as_one(history: Path, penstock: Callable[..., Any], *, split: bool) -> None:
    """The path tells split and asset, as Polars and Arrow read it; a part keeps the labels' order."""
    rows = [f"{asset},2026-03-01T00:0{at}:30Z,{at}" for at in (3, 1, 2) for asset in ("c102", "c101")]
    (history / "labels.csv").write_text("\n".join(["asset,event_timestamp,at", *rows]) + "\n")
    asked = ["--split", "time", "--shares", "60,0,40", "--horizon", "0", "-f", RMS] if split else ["-f", RMS]
    for out, more in (("whole", []), ("parts", ["--partition-by", "asset", "--verify"])):
        penstock("training-set", history / "labels.csv", "--out", history / out, *asked, *more)
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


def test_lists_in_the_labels_and_csv_are_told(history: Path, penstock: Callable[..., Any]) -> None:
    """Before anything is written: a set made earlier stays."""
    out, at = history / "set", datetime(2026, 3, 1, 0, 1, tzinfo=UTC)
    pl.DataFrame({"asset": ["c101"], "event_timestamp": [at], "notes": [["a"]]}).write_parquet(history / "l.parquet")
    penstock("training-set", history / "l.parquet", "--out", out, "--format", "arrow")
    before = contents(out)
    with pytest.raises(HistorianError, match="CSV has no room for what notes holds; write Parquet or Arrow"):
        penstock("training-set", history / "l.parquet", "--out", out, "--format", "csv")
    assert contents(out) == before


def test_an_older_manifest_lacks_the_options_that_have_come_since(history: Path, penstock: Callable[..., Any]) -> None:
    """What it was made from is the same, so it is verified."""
    manifest = history / "set" / "manifest.json"
    penstock("training-set", history / "rule.toml", "--out", manifest.parent)
    told = json.loads(manifest.read_text())
    del told["request"]["format"]
    manifest.write_text(json.dumps(told))
    assert penstock("training-set", "verify", manifest, "--json")["verified"]


def test_one_command_says_when_what_it_has_written_is_not_what_it_makes(
    history: Path, penstock: Callable[..., Any]
) -> None:
    """Someone changes a part between the writing and the proof: told in words, with exit code 1."""
    out = history / "set"
    part = out / "data" / "part-0.csv"

    def meddle() -> None:
        while not part.exists():
            time.sleep(0.001)
        part.write_text("asset\n")

    meddler = Thread(target=meddle)
    meddler.start()
    told = penstock("training-set", history / "rule.toml", "--out", out, "--format", "csv", "--verify", code=1)
    meddler.join()
    assert "\n  197 rows made again, not what is written\n  files on disk data/part-0.csv: " in told
    made = penstock("training-set", history / "rule.toml", "--out", out, "--verify")
    assert made.endswith("  197 rows made again, the same\n")


def test_it_is_made_again_though_its_tables_have_moved_on(
    history: Path, add_rows: Callable[..., None], penstock: Callable[..., Any]
) -> None:
    """From the versions they had; the new state gives another set, and diff says why."""
    penstock("training-set", history / "rule.toml", "--out", history / "one")
    add_rows("compressor_vibration", ("c101", 20, 2000, -1.0))
    verified = penstock("training-set", "verify", history / "one" / "manifest.json", "--json")
    assert (verified["verified"], verified["differences"]) == (True, [])
    assert verified["moved_on"] == ["compressor_vibration: the table has come to version 2; version 1 was read"]
    penstock("training-set", history / "rule.toml", "--out", history / "two")
    told = penstock("training-set", "diff", history / "one", history / "two")
    assert told.startswith("other rows or values\ntables compressor_vibration version: 1 -> 2\n")
    assert "columns compressor_vibration__de_h_rms_ac changed_later: " not in told


def test_a_vacuumed_version_is_told_by_when_its_rows_were_created(
    history: Path, plant: Plant, add_rows: Callable[..., None], penstock: Callable[..., Any]
) -> None:
    """The files of the version are gone; its rows are not."""
    penstock("training-set", history / "rule.toml", "--out", history / "one")
    add_rows("compressor_vibration", ("c101", 20, 2000, -1.0))
    table = DeltaTable(table_path(plant, "compressor_vibration"))
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    verified = penstock("training-set", "verify", history / "one", "--json")
    assert verified["verified"], verified["differences"]
    assert "version 1 is gone; of version" in verified["moved_on"][0]


def test_a_plant_file_that_has_changed_is_told_and_does_no_harm(
    history: Path, plant: Plant, penstock: Callable[..., Any]
) -> None:
    """The rows are the same; with another version of a library their bytes need not be."""
    penstock("training-set", history / "rule.toml", "--out", history / "set")
    with (plant.root / "plant.toml").open("a") as file:
        file.write("# a word of explanation\n")
    manifest = history / "set" / "manifest.json"
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**told, "software": {**told["software"], "pyarrow": "1.0"}}))
    verified = penstock("training-set", "verify", manifest, "--json")
    assert verified["verified"]
    assert [text.split(":")[0] for text in verified["moved_on"]] == ["plant files plant.toml", "software pyarrow"]


def test_tampering_is_found(history: Path, penstock: Callable[..., Any]) -> None:
    """A changed file, a changed plant and a changed input are named."""
    out = history / "set"
    penstock("training-set", history / "rule.toml", "--out", out)
    [part] = (out / "data").rglob("*.parquet")
    pl.read_parquet(part).head(3).write_parquet(part)
    told = penstock("training-set", "verify", out, code=1)
    assert "not what is written\nfiles on disk data/part-0.parquet: " in told
    inputs = out / "inputs" / "failures.csv"
    inputs.write_text(inputs.read_text().replace("00:03:00", "00:02:00"))
    assert "\ninputs failures.csv: " in penstock("training-set", "verify", out, code=1)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"threshold"', '"thresh0ld"', "not as it was written.*thresh0ld"),
        ('"created_until"', '"created_unti1"', "not as it was written.*created_until"),
        ('"created_until": "2026-', '"created_until": "2026+', "not as it was written.*2026+"),
        ('"version": 1', '"version": -1', "not as it was written.*version -1"),
        ('"software"', '"softwar3"', "no manifest of format 1"),
    ],
)
def test_a_manifest_that_was_tampered_with_is_told(
    history: Path, penstock: Callable[..., Any], old: str, new: str, told: str
) -> None:
    """Where what it says can no longer be done: no stack trace."""
    file = history / "set" / "manifest.json"
    penstock("training-set", history / "rule.toml", "--out", file.parent)
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(HistorianError, match=told):
        penstock("training-set", "verify", file)


def test_what_was_known_on_a_day_is_asked_with_as_of(history: Path, penstock: Callable[..., Any]) -> None:
    """Rows computed later are not there, failures reported later have not happened, nothing later has been seen."""
    out = history / "set"
    told = penstock("training-set", history / "rule.toml", "--out", out, "--as-of", "2026-03-01T00:01:50Z", "--json")
    assert told["target"]["balance"] == {"all": {"false": 79}}
    told = penstock("training-set", history / "rule.toml", "--out", out, "--as-of", "2026-03-01T00:02:00Z", "--json")
    assert told["target"]["balance"]["all"]["true"] == 15
    assert penstock("training-set", "verify", out, "--json")["verified"]


def test_as_of_reads_the_version_that_was_there(history: Path, plant: Plant, penstock: Callable[..., Any]) -> None:
    """A row withdrawn since is labelled and serves; the manifest says which version it is from, and verify reads it."""
    path, out = table_path(plant, "compressor_vibration"), history / "set"
    DeltaTable(path).delete("asset = 'c101' AND event_timestamp = '2026-03-01T00:00:40Z'")
    set_commit_times(path, dict(enumerate(datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2, 9))))
    set_commit_times(table_path(plant, "compressor_process"), {0: datetime(2026, 3, 5, tzinfo=UTC)})

    penstock("training-set", history / "rule.toml", "--out", out, "--as-of", "2026-03-08T00:00:00Z")
    manifest = json.loads((out / "manifest.json").read_text())
    tables = manifest["tables"].values()
    assert [(table["version"], table["as_of"]) for table in tables] == [(0, "committed"), (1, "committed")]
    seconds = pl.col("event_timestamp").dt.epoch("s") - 1772323200
    row = pl.read_parquet(out / "data" / "*.parquet").filter(seconds == 40, asset="c101")
    assert row["compressor_vibration__de_h_rms_ac"].to_list() == [40 % 17]
    assert "<td>as of</td><td>2026-03-08T00:00:00Z</td>" in (out / "report.html").read_text()
    assert penstock("training-set", "verify", out, "--json")["verified"]
    DeltaTable(path).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    told = penstock("training-set", "verify", out, "--json", code=1)
    assert "rows times: 241 -> 240" in told["differences"]
    assert "compressor_vibration: version 1 is gone; of version" in told["moved_on"][1]


def test_where_as_of_is_told_by_created_timestamps_alone_there_is_a_warning(
    history: Path, plant: Plant, penstock: Callable[..., Any]
) -> None:
    """In every answer, and in the report."""
    set_commit_times(table_path(plant, "compressor_process"), {0: datetime(2026, 3, 5, tzinfo=UTC)})
    set_commit_times(table_path(plant, "compressor_vibration"), {0: datetime(2026, 3, 1, tzinfo=UTC)})
    labels, out = history / "labels.csv", history / "set"
    labels.write_text("asset,event_timestamp\nc101,2026-03-01T00:01:00Z\n")
    asked = ("training-set", labels, "--as-of", "2026-03-04T00:00:00Z", "--out")
    younger = "compressor_process: the table's first version was committed after as_of"

    told = penstock(*asked, out, "--json")
    assert [warning.split(";")[0] for warning in told["warnings"]] == [younger]
    assert younger in unescape((out / "report.html").read_text())
    assert f"\n  {younger}; " in penstock(*asked, history / "set.csv")
    assert f"\n  {younger}; " in penstock(*asked, out, "--dry-run")
    assert penstock(*asked, out, "--dry-run", "--json")["warnings"] == told["warnings"]


def test_a_dry_run_counts_and_writes_nothing(history: Path, penstock: Callable[..., Any]) -> None:
    """Labels, what became of the others, the splits and their gap."""
    out = history / "set"
    told = penstock(
        "training-set", history / "rule.toml", "--out", out, "--split", "time", "--shares", "50,0,50",
        "--dry-run", "--json",
    )  # fmt: skip
    assert not out.exists()
    assert told["gap"] == "10m30s" or told["gap"] == "630s"
    assert told["counts"]["times"] == 241
    assert sum(told["splits"].values()) == told["labels"]


def test_a_column_written_with_hindsight_is_a_suspect(history: Path, penstock: Callable[..., Any]) -> None:
    """In the answer and in the report."""
    labels = history / "labels.csv"
    rows = [f"c101,2026-03-01T00:{n // 60:02}:{n % 60:02}Z,{int(n > 60)},{120 - n}" for n in range(120)]
    labels.write_text("\n".join(["asset,event_timestamp,fails,days_left", *rows]) + "\n")
    frame = pl.read_csv(labels).with_columns(pl.col("event_timestamp").str.to_datetime(time_zone="UTC"))
    frame.write_parquet(history / "labels.parquet")
    told = penstock("training-set", history / "labels.parquet", "--out", history / "set", "--target", "fails", "--json")
    assert {"column": "days_left", "measure": "auc", "value": 1.0} in told["leakage"]["suspects"]
    assert "days_left alone tells the target" in (history / "set" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["labels.csv", "--out", "set.xlsx"], "has no known suffix"),
        (["nowhere.csv", "--out", "set.csv"], "there is no label file nowhere.csv"),
        (["nowhere.toml", "--out", "set"], "there is no rule file nowhere.toml"),
        (["rule.toml", "--out", "set", "--split", "random"], r"arXiv 2509\.22267"),
        (["rule.toml", "--out", "set", "--horizon", "1h"], "says itself what the target is"),
        (["rule.toml", "--out", "set", "--split", "time", "--shares", "1,2"], "write 70,15,15"),
        (["rule.toml", "--out", "set", "--threshold", "0.2"], "--threshold: "),
        (["rule.toml", "--out", "set", "--as-of", "yesterday"], "'yesterday' is not a time"),
        (["labels.csv", "--out", "set", "--split", "time"], "say it with --horizon"),
        (["labels.csv", "--out", "set", "--hold-out", "c101"], "add --split asset"),
        (["labels.csv", "--out", "."], "holds something other than a training set"),
        (["verify", "."], "there is no manifest manifest.json"),
        (
            ["labels.csv", "--out", "set.csv", "--format", "csv"],
            "set.csv is a file, .*; for --format give .* --out set",
        ),
        (
            ["labels.csv", "--out", "set.csv", "--partition-by", "asset", "--verify"],
            "for --partition-by and --verify give",
        ),
    ],
)
def test_mistakes_end_with_advice(
    history: Path, penstock: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    """Before anything is written."""
    monkeypatch.chdir(history)
    Path("labels.csv").write_text("asset,event_timestamp\nc101,2026-03-01T00:01:00Z\n")
    with pytest.raises(HistorianError, match=told):
        penstock("training-set", *arguments)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('horizon = "30s"\n', "", "rule.toml line 3: target: horizon belongs to kind horizon, and is needed there"),
        ('"30s"', '"soon"', "rule.toml line 6: target.horizon: 'soon' is not a duration"),
        ("[episodes]", "[epochs]", "rule.toml line 16: epochs: "),
        ("compressor_vibration", "compressor_vibrations", "rule.toml line 10: unknown feature view"),
        ("failures.csv", "../failures.csv", "events must lie beside the rule file"),
        ('["failure"]', '["failrue"]', "no event is of the kind failrue: nothing ever fails; did you mean failure"),
    ],
)
def test_a_wrong_rule_is_told_with_its_line(
    history: Path, penstock: Callable[..., Any], old: str, new: str, told: str
) -> None:
    """As the plant file is."""
    (history / "rule.toml").write_text(RULE.replace(old, new, 1))
    with pytest.raises(HistorianError) as raised:
        penstock("training-set", history / "rule.toml", "--out", history / "set")
    assert told in str(raised.value)


def test_a_rule_that_labels_nothing_says_why(history: Path, penstock: Callable[..., Any]) -> None:
    """Also where negatives were to be drawn from what is left."""
    zones = 'kinds = ["failure", "repair"]\nbefore = "1h"\nafter = "1h"'
    rule = RULE.replace('kinds = ["repair"]\nafter = "5s"', zones) + "[negatives]\nper_positive = 5\nseed = 7\n"
    (history / "rule.toml").write_text(rule)
    with pytest.raises(HistorianError, match=r"rule\.toml labels nothing: 241 times, 241 excluded, 0 censored"):
        penstock("training-set", history / "rule.toml", "--out", history / "set")


def test_wrong_events_are_told_with_their_row(history: Path, penstock: Callable[..., Any]) -> None:
    """Every one of them."""
    rows = ["c109,failure,2026-03-01T00:00:00Z,,", "c101,,2026-03-01T00:00:00Z,,", "c101,failure,2026-03-01,never,"]
    rows += ["c101,failure,2026-03-01T00:00:00Z,,2026-02-01T00:00:00Z"]
    (history / "failures.csv").write_text("\n".join(["asset,kind,happened_at,known_at,end", *rows]) + "\n")
    with pytest.raises(HistorianError) as raised:
        penstock("training-set", history / "rule.toml", "--out", history / "set")
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == [
        "failures.csv row 2", "failures.csv row 3", "failures.csv row 4", "failures.csv row 4", "failures.csv row 5",
    ]  # fmt: skip


def test_a_training_set_replaces_an_older_one_whole(history: Path, penstock: Callable[..., Any]) -> None:
    """Nothing of the older one stays behind."""
    out = history / "set"
    penstock("training-set", history / "rule.toml", "--out", out, "--split", "time", "--shares", "50,0,50")
    penstock("training-set", history / "rule.toml", "--out", out)
    assert [path.relative_to(out).as_posix() for path in sorted((out / "data").rglob("*.parquet"))] == [
        "data/part-0.parquet"
    ]


@pytest.mark.parametrize("foreign", ["manifest.json", "set/notes.md"])
def test_a_directory_with_anything_else_in_it_is_left_alone(
    history: Path, penstock: Callable[..., Any], foreign: str
) -> None:
    """Other programs write a manifest.json too, and people put their notes beside what they made them from."""
    out = history / foreign
    if foreign == "manifest.json":
        out = history / "web" / foreign
        (out.parent / "data").mkdir(parents=True)
    else:
        penstock("training-set", history / "rule.toml", "--out", out.parent)
    out.write_text('{"format": "of another program"}')
    with pytest.raises(HistorianError, match="holds something other than a training set"):
        penstock("training-set", history / "rule.toml", "--out", out.parent)
    assert out.exists()


@pytest.mark.parametrize(("column", "values"), [("rows", ["yes", "no", "yes"]), ("left_s", ["inf", "2.5", "1.5"])])
def test_a_target_may_have_any_name_and_be_infinite(
    history: Path, penstock: Callable[..., Any], column: str, values: list[str]
) -> None:
    """A remaining life that nobody knows; no trace of how classes are counted."""
    rows = [f"c101,2026-03-01T00:01:0{number}Z,{value}" for number, value in enumerate(values)]
    (history / "labels.csv").write_text("\n".join([f"asset,event_timestamp,{column}", *rows]) + "\n")
    told = penstock("training-set", history / "labels.csv", "--out", history / "set", "--target", column, "--json")
    balance = {"no": 1, "yes": 2} if column == "rows" else {"p0": 1.5, "p100": 2.5}
    assert balance.items() <= told["target"]["balance"]["all"].items()


def test_a_split_of_ones_own_is_kept_if_it_is_one(history: Path, penstock: Callable[..., Any]) -> None:
    """Of train, validation and test; not a path, nor anything else."""
    for names, wrong in (
        (["train", "test"], None),
        (["../x", "train"], "holds ../x, not just train, validation, test"),
    ):
        rows = [f"c101,2026-03-01T00:01:0{number}Z,{name}" for number, name in enumerate(names)]
        (history / "labels.csv").write_text("\n".join(["asset,event_timestamp,split", *rows]) + "\n")
        if wrong:
            with pytest.raises(HistorianError, match=wrong):
                penstock("training-set", history / "labels.csv", "--out", history / "set")
        else:
            penstock("training-set", history / "labels.csv", "--out", history / "set")
            assert {path.name for path in (history / "set" / "data").iterdir()} == {"split=train", "split=test"}


def test_the_drift_of_an_artefact_is_that_of_its_data(history: Path, penstock: Callable[..., Any]) -> None:
    """Its labels, which lie in the same directory, may be Parquet too."""
    times = pl.Series(["2026-03-01T00:01:00Z"] * 9).str.to_datetime(time_zone="UTC")
    pl.DataFrame({"asset": "c101", "event_timestamp": times}).write_parquet(history / "labels.parquet")
    for as_format in ("parquet", "csv"):
        penstock("training-set", history / "labels.parquet", "--out", history / "set", "-f", RMS, "--format", as_format)
        told = penstock("drift", history / "set", "--since", "2027-01-01T00:00:00Z", "--json")
        assert [each["training"] for each in told["features"]] == [9]


def test_drift_of_a_feature_that_no_row_has_yet_is_told(history: Path, penstock: Callable[..., Any]) -> None:
    """One that `apply` has registered and `compute` has not made."""
    pl.DataFrame({"compressor_vibration__de_h_rms_ac": [1.0]}).write_parquet(history / "set.parquet")
    (table,) = history.rglob("compressor_vibration/_delta_log")
    rows = pl.read_delta(str(table.parent)).drop("de_h_rms_ac")
    rows.write_delta(table.parent, mode="overwrite", delta_write_options={"schema_mode": "overwrite"})
    with pytest.raises(HistorianError, match="the rows of compressor_vibration have no de_h_rms_ac yet; run penstock"):
        penstock("drift", history / "set.parquet", "--since", "2026-03-01T00:00:00Z")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray leaves sockets and processes to the garbage collector
def test_a_cluster_of_two_nodes_gives_the_same_bytes(
    history: Path, penstock: Callable[..., Any], ray_address: str
) -> None:
    """All of them: nothing tells where a training set was made, and this machine verifies what the others made."""
    asked = ["training-set", "make", history / "rule.toml", "--split", "time", "--out"]
    on_ray = ["--engine", "ray", "--address", ray_address]
    penstock(*asked, history / "here")
    penstock(*asked, history / "there", *on_ray, "--memory", "64MiB")
    assert contents(history / "there") == contents(history / "here")
    verified = penstock("training-set", "verify", history / "there", "--json")
    assert (verified["verified"], verified["differences"], verified["moved_on"]) == (True, [], [])


def test_a_cluster_that_does_not_answer_is_told(history: Path, penstock: Callable[..., Any]) -> None:
    """Nothing is written."""
    asked = ["training-set", history / "rule.toml", "--out", history / "set", "--engine", "ray"]
    with pytest.raises(HistorianError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"):
        penstock(*asked, "--address", "127.0.0.1:1")
    assert not (history / "set").exists()


@pytest.mark.slow
def test_one_machine_does_not_load_ray(history: Path, plant: Plant) -> None:
    """`penstock training-set` without --engine ray, with the whole artefact."""
    code = (
        "import sys; from historian.cli import app;"
        f"app(['training-set', {str(history / 'rule.toml')!r}, '--plant', {str(plant.root)!r},"
        f" '--out', {str(history / 'set')!r}], standalone_mode=False); assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100, stdout=subprocess.DEVNULL)
    assert (history / "set" / "manifest.json").exists()
