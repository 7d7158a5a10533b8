"""The bridge's commands on a plant with a folder of files and a source that nobody answers for."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bridge.cli.bridge import backfill, quarantine, stream
from historian.errors import InvalidInput, SourceError

PENSTOCK = Path(sys.executable).with_name("penstock")
T0 = datetime(2026, 3, 1, tzinfo=UTC)

PLANT = """
[site]
name = "test"
[classes.pump.points]
temperature = { kind = "process", unit = "degC", range = [0, 100] }
[assets.p1]
class = "pump"
[archives.history]
driver = "files"
path = "*_history.csv"
layout = "long"
tags = "tags.csv"
[sources.line1]
driver = "opcua"
endpoint = "opc.tcp://127.0.0.1:1"
tags = "live.csv"
"""


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """Three hours of a temperature, once a minute; one value is out of range, and one contradicts another."""
    (tmp_path / "plant.toml").write_text(PLANT)
    (tmp_path / "tags.csv").write_text("tag,asset,point,address\np1.t,p1,temperature,T\n")
    (tmp_path / "live.csv").write_text("tag,asset,point,address\np1.t,p1,temperature,ns=2;s=T\n")
    lines = [f"{(T0 + timedelta(minutes=m)).isoformat()},T,{m % 100 + 1}" for m in range(180)]
    (tmp_path / "a_history.csv").write_text("\n".join(["timestamp,tag,value", *lines, ""]))
    late = (T0 + timedelta(seconds=90)).isoformat()
    (tmp_path / "b_history.csv").write_text(f"timestamp,tag,value\n{T0.isoformat()},T,50\n{late},T,500\n")
    return tmp_path


Told = Callable[..., dict[str, Any]]


@pytest.fixture
def told(plant: Path, capsys: pytest.CaptureFixture[str]) -> Told:
    """Runs a command on the plant and gives its JSON answer."""

    def run(command: Callable[..., None], *arguments: str | None, **options: Any) -> dict[str, Any]:
        capsys.readouterr()
        command(*arguments, plant=plant, as_json=True, **options)
        record: dict[str, Any] = json.loads(capsys.readouterr().out)
        return record

    return run


def test_a_backfill_is_planned_made_and_not_made_again(
    plant: Path, told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run touches nothing; a second run finds nothing to do; what was refused is in quarantine, with reasons."""
    dry = told(backfill, dry_run=True)
    assert (dry["samples_backfilled"], dry["archives"]["history"]["slices"]) == (0, 3)

    first = told(backfill, "history")
    counts = {key: first[key] for key in ("samples_backfilled", "quarantined", "conflicts", "waiting", "failures")}
    assert counts == {"samples_backfilled": 180, "quarantined": 2, "conflicts": 1, "waiting": 0, "failures": []}

    second = told(backfill, start="2026-03-01T00:00:00Z", end="now")
    assert (second["samples_backfilled"], second["archives"]["history"]["slices"]) == (0, 0)
    backfill(plant=plant)
    assert capsys.readouterr().out == "history: everything asked for is in the store already\n"

    kept = told(quarantine, export=plant / "kept.csv")
    reasons = {(reason["reason"], reason["rows"]) for reason in kept["reasons"]}
    assert reasons == {("another value has the same tag and time", 1), ("outside its range [0, 100] degC", 1)}
    assert sorted(pl.read_csv(plant / "kept.csv")["value"]) == [50.0, 500.0]


def test_a_broken_file_is_told_at_the_end_and_stops_nothing_else(
    plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest is in the store; the command answers, and then fails with what it could not read."""
    (plant / "c_history.csv").write_text("nothing that anyone could read\n")
    with pytest.raises(SourceError, match=r"c_history\.csv"):
        backfill(plant=plant, as_json=True)
    assert json.loads(capsys.readouterr().out)["samples_backfilled"] == 180


def test_a_stream_without_an_answer_says_what_is_the_matter(plant: Path) -> None:
    """As a process: it keeps trying for as long as it was told to run, then ends well when told to, in words."""
    command = [str(PENSTOCK), "stream", "--plant", str(plant), "--source", "line1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert "line1: cannot connect to opc.tcp://127.0.0.1:1" in running.stderr.readline()
        running.send_signal(signal.SIGTERM)
        said, _ = running.communicate(timeout=30)
    assert running.returncode == 0
    assert said.startswith("streamed 0 samples, stored 0, quarantined 0 in ")
    assert "line1: 0 samples, not connected: cannot connect to opc.tcp://127.0.0.1:1" in said


def test_a_stream_ends_when_its_time_is_over(told: Told) -> None:
    """With the counts of every source."""
    record = told(stream, span="300ms")
    assert (record["samples_streamed"], record["samples_stored"]) == (0, 0)
    assert record["sources"]["line1"]["connections"] == 0
    assert 0.3 <= record["seconds"] < 10


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        (stream, {"source": ["line2"]}, r"the plant file has no \[sources.line2\]; did you mean line1\?"),
        (stream, {"span": "soon"}, "--for: 'soon' is not a duration"),
        (backfill, {"archive": "histroy"}, r"the plant file has no \[archives.histroy\]; did you mean history\?"),
        (backfill, {"start": "2026-03-01"}, "has no zone"),
        (quarantine, {"export": Path("kept.xlsx")}, r"ends in .parquet or .csv"),
    ],
)
def test_mistakes_are_told(plant: Path, command: Callable[..., None], options: dict[str, Any], message: str) -> None:
    """What, which, what to do."""
    with pytest.raises(InvalidInput, match=message):
        command(plant=plant, **options)
