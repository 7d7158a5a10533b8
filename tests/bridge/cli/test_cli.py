"""The bridge's commands on a plant with a folder of files and a source that never connects."""

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
import typer

from bridge.cli.backfill import backfill
from bridge.cli.quarantine import export, purge, replay
from bridge.cli.stream import stream
from historian.errors import InvalidInput, SourceError
from historian.plant.load import load_plant
from historian.stores.open import open_store
from tests.one_pump import write_pump

PENSTOCK = Path(sys.executable).with_name("penstock")
T0 = datetime(2026, 3, 1, tzinfo=UTC)

ARCHIVE = """
[archives.history]
driver = "files"
path = "*_history.csv"
layout = "long"
tags = "tags.csv"
"""


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """Three hours of a temperature, once a minute; one value is out of range, and one contradicts another."""
    write_pump(tmp_path, ARCHIVE)
    (tmp_path / "tags.csv").write_text("tag,asset,point,address\np1.t,p1,temperature,T\n")
    lines = [f"{(T0 + timedelta(minutes=m)).isoformat()},T,{m % 100 + 1}" for m in range(180)]
    (tmp_path / "a_history.csv").write_text("\n".join(["timestamp,tag,value", *lines, ""]))
    late = (T0 + timedelta(seconds=90)).isoformat()
    (tmp_path / "b_history.csv").write_text(f"timestamp,tag,value\n{T0.isoformat()},T,50\n{late},T,500\n")
    return tmp_path


Answers = Callable[..., dict[str, Any]]


@pytest.fixture
def answers(plant: Path, capsys: pytest.CaptureFixture[str]) -> Answers:
    """Runs a command on the plant and returns its JSON output."""

    def run(command: Callable[..., None], *arguments: str | None, **options: Any) -> dict[str, Any]:
        capsys.readouterr()
        command(*arguments, plant=plant, as_json=True, **options)
        record: dict[str, Any] = json.loads(capsys.readouterr().out)
        return record

    return run


def test_a_backfill_is_planned_run_and_not_repeated(
    plant: Path, answers: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run writes nothing; a second run finds nothing to do; rejected samples are in quarantine, with reasons."""
    dry = answers(backfill, dry_run=True)
    # Both files are of the same time, and each is parsed once.
    assert (dry["samples_backfilled"], dry["archives"]["history"]["slices"]) == (0, 1)
    assert 150 <= dry["archives"]["history"]["estimate"]["samples"] <= 200

    first = answers(backfill, "history")
    counts = {key: first[key] for key in ("samples_backfilled", "quarantined", "conflicts", "failures")}
    assert counts == {"samples_backfilled": 180, "quarantined": 2, "conflicts": 1, "failures": []}

    second = answers(backfill, start="2026-03-01T00:00:00Z", end="now")
    assert (second["samples_backfilled"], second["archives"]["history"]["slices"]) == (0, 0)
    backfill(plant=plant)
    assert capsys.readouterr().out == "history: all of it is in the store already\n"


def penstock(plant: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command as a process."""
    command = [str(PENSTOCK), *arguments, "--plant", str(plant)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_quarantine_is_shown_exported_replayed_and_purged(plant: Path, answers: Answers) -> None:
    """After its range was widened, a tag's quarantined sample is replayed into the store."""
    answers(backfill)
    shown = json.loads(penstock(plant, "quarantine", "--json").stdout)
    reasons = {(reason["reason"], reason["rows"]) for reason in shown["reasons"]}
    assert reasons == {("another value has the same tag and time", 1), ("outside its range [0, 100] degC", 1)}
    assert answers(export, plant / "kept.csv")["rows"] == 2
    assert sorted(pl.read_csv(plant / "kept.csv")["value"]) == [50.0, 500.0]
    for option in ({"source": "x"}, {"reason": "x"}, {"tag": "x"}, {"before": "2026-01-01T00:00:00Z"}):
        assert answers(export, plant / "none.csv", **option)["rows"] == 0
    assert answers(replay) == {"replayed": 0, "rejected": 1, "waiting": 0}

    text = (plant / "plant.toml").read_text()
    (plant / "plant.toml").write_text(text.replace("[0, 100]", "[0, 1000]"))
    assert answers(replay) == {"replayed": 1, "rejected": 0, "waiting": 0}
    store = open_store(load_plant(plant))
    late = T0 + timedelta(seconds=90)
    [page] = store.read(["p1.t"], late, late + timedelta(seconds=1))
    assert page["value"].to_list() == [500.0]

    assert answers(replay, reason="another value has the same tag and time")["replayed"] == 1
    [page] = store.read(["p1.t"], T0, T0 + timedelta(seconds=1))
    assert page["value"].to_list() == [50.0]
    assert penstock(plant, "quarantine").stdout == "nothing is in quarantine\n"


def test_a_purge_needs_a_selection(plant: Path, answers: Answers) -> None:
    """Without a filter or --all nothing is deleted."""
    answers(backfill)
    with pytest.raises(InvalidInput, match="say which rows to delete"):
        answers(purge)
    assert answers(purge, reason="outside its range [0, 100] degC")["rows"] == 1
    assert answers(purge, everything=True)["rows"] == 1


def test_a_broken_file_is_named_at_the_end_and_stops_nothing_else(
    plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything else is stored; the command prints its result, then fails and names what it could not read."""
    (plant / "c_history.csv").write_text("nothing that anyone could read\n")
    with pytest.raises(SourceError, match=r"c_history\.csv"):
        backfill(plant=plant, as_json=True)
    assert json.loads(capsys.readouterr().out)["samples_backfilled"] == 180


def test_an_archive_that_cannot_be_read_is_not_reported_as_complete(
    plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the extent cannot be read, nothing is known to be stored."""
    for name in ("a_history.csv", "b_history.csv"):
        (plant / name).unlink()
    with pytest.raises(SourceError, match="no file matches"):
        backfill(plant=plant)
    assert capsys.readouterr().out == "history: nothing could be read\n"


def test_a_stream_that_never_connects_says_why(plant: Path) -> None:
    """The process keeps trying until it is stopped, and its exit code says that no source ever connected."""
    command = [str(PENSTOCK), "stream", "--plant", str(plant), "--source", "line1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        line = next(line for line in running.stderr if "cannot connect" in line)
        assert "source=line1" in line
        assert "opc.tcp://127.0.0.1:1" in line
        running.send_signal(signal.SIGTERM)
        printed, _ = running.communicate(timeout=30)
    assert running.returncode == 1
    assert printed.startswith("streamed 0 samples, stored 0, quarantined 0 in ")
    assert "line1: 0 samples, not connected: cannot connect to opc.tcp://127.0.0.1:1" in printed


def test_a_stream_ends_when_its_time_is_over(answers: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    """The output has the counts of every source."""
    with pytest.raises(typer.Exit):
        answers(stream, span="300ms")
    record = json.loads(capsys.readouterr().out)
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
        (export, {"file": Path("kept.xlsx")}, r"ends in .parquet or .csv"),
        (replay, {"source": "line2"}, r"the plant file has no source or archive 'line2'; did you mean line1\?"),
    ],
)
def test_mistakes_are_explained(
    plant: Path, command: Callable[..., None], options: dict[str, Any], message: str
) -> None:
    """The error says what is wrong, which item it concerns and what to do."""
    with pytest.raises(InvalidInput, match=message):
        command(plant=plant, **options)
