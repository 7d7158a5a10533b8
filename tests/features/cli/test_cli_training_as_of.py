"""`penstock training-set --as-of`: training sets from what was known on a day."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable

from features.tables.feature_table import table_path
from historian.plant.plant import Plant
from tests.features.delta_commits import set_commit_times

RMS = "compressor_vibration:de_h_rms_ac"
BOTH = ("-f", RMS, "-f", "compressor_process:oil_temp_mean")


def test_as_of_uses_only_what_was_known_on_a_day(history: Path, penstock: Callable[..., Any]) -> None:
    """Rows computed later are missing, failures reported later have not happened, nothing later is observed."""
    out = history / "set"
    command = ("training-set", history / "rule.toml", "--out", out, "-f", RMS, "--json", "--as-of")
    answer = penstock(*command, "2026-03-01T00:01:50Z")
    assert answer["target"]["balance"] == {"all": {"false": 79}}
    answer = penstock(*command, "2026-03-01T00:02:00Z")
    assert answer["target"]["balance"]["all"]["true"] == 15
    assert penstock("training-set", "verify", out, "--json")["verified"]


def test_as_of_reads_the_version_that_was_there(history: Path, plant: Plant, penstock: Callable[..., Any]) -> None:
    """A row withdrawn since is labelled and used; the manifest names its version, and verify reads it."""
    path, out = table_path(plant, "compressor_vibration"), history / "set"
    DeltaTable(path).delete("asset = 'c101' AND event_timestamp = '2026-03-01T00:00:40Z'")
    set_commit_times(path, dict(enumerate(datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2, 9))))
    set_commit_times(table_path(plant, "compressor_process"), {0: datetime(2026, 3, 5, tzinfo=UTC)})

    penstock("training-set", history / "rule.toml", "--out", out, *BOTH, "--as-of", "2026-03-08T00:00:00Z")
    manifest = json.loads((out / "manifest.json").read_text())
    tables = manifest["tables"].values()
    assert [(table["version"], table["as_of"]) for table in tables] == [(0, "committed"), (1, "committed")]
    seconds = pl.col("event_timestamp").dt.epoch("s") - 1772323200
    row = pl.read_parquet(out / "data" / "*.parquet").filter(seconds == 40, asset="c101")
    assert row["compressor_vibration__de_h_rms_ac"].to_list() == [40 % 17]
    assert "<td>as of</td><td>2026-03-08T00:00:00Z</td>" in (out / "report.html").read_text()
    assert penstock("training-set", "verify", out, "--json")["verified"]
    DeltaTable(path).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    answer = penstock("training-set", "verify", out, "--json", code=1)
    assert "rows times: 241 -> 240" in answer["differences"]
    assert "compressor_vibration: version 1 is gone; of version" in answer["moved_on"][1]


def test_as_of_by_created_timestamps_alone_gives_a_warning(
    history: Path, plant: Plant, penstock: Callable[..., Any]
) -> None:
    """The warning is in every output and in the report."""
    set_commit_times(table_path(plant, "compressor_process"), {0: datetime(2026, 3, 5, tzinfo=UTC)})
    set_commit_times(table_path(plant, "compressor_vibration"), {0: datetime(2026, 3, 1, tzinfo=UTC)})
    labels, out = history / "labels.csv", history / "set"
    labels.write_text("asset,event_timestamp\nc101,2026-03-01T00:01:00Z\n")
    command = ("training-set", labels, *BOTH, "--as-of", "2026-03-04T00:00:00Z", "--out")
    predates = "compressor_process: the table's first version was committed after as_of"

    answer = penstock(*command, out, "--json")
    assert [warning.split(";")[0] for warning in answer["warnings"]] == [predates]
    assert predates in unescape((out / "report.html").read_text())
    assert f"\n  {predates}; " in penstock(*command, history / "set.csv")
    assert f"\n  {predates}; " in penstock(*command, out, "--dry-run")
    assert penstock(*command, out, "--dry-run", "--json")["warnings"] == answer["warnings"]
