"""The command as a process: help, check, store maintenance, and errors without stack traces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from historian.cli.main import COMMANDS, SUMMARIES, app, load_command
from historian.samples import SCHEMA, sample_batch
from historian.stores.lake.store import LakeStore

TESTS = Path(__file__).parents[2]
PENSTOCK = Path(sys.executable).with_name("penstock")


def penstock(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the command with the test drivers installed."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS / "plugins"), "COLUMNS": "120"}
    return subprocess.run([PENSTOCK, *arguments], capture_output=True, text=True, env=environment, check=False)


def test_help_lists_every_command_with_a_sentence() -> None:
    """`make check` compares the help with each command's own."""
    shown = " ".join(penstock("--help").stdout.replace("│", " ").split())
    summaries: dict[str, str] = json.loads(SUMMARIES.read_text(encoding="utf-8"))
    assert summaries.keys() == entry_points(group=COMMANDS).names
    assert [f"{name} {text}" for name, text in summaries.items() if f" {name} {text} " not in shown] == []
    for name in ("check", "store"):
        assert summaries[name] == load_command(name).help
    assert penstock("--version").stdout.startswith("penstock ")


def test_a_command_of_another_package_is_listed_and_runs() -> None:
    """It is found by its entry point and has its own help."""
    shown = " ".join(penstock("--help").stdout.split())
    assert "acme-hello Greet the reader." in shown.replace("│ ", "")
    assert penstock("acme-hello").stdout == "hello\n"


def test_check_prints_text_and_json() -> None:
    """Both have the same facts."""
    plant = TESTS / "cases" / "plant" / "valid"
    assert penstock("check", "--plant", plant).stdout == (
        "north-works: 1 assets, 3 tags (1 process, 1 state, 1 vibration), no problems\n"
    )
    record = json.loads(penstock("check", "--plant", plant, "--json").stdout)
    assert record["views"] == ["compressor_process", "compressor_vibration"]
    assert record["tags"] == 3


def test_a_mistake_gives_a_message_and_exit_code_2() -> None:
    """There is no stack trace: the message says what, which and what to do."""
    failed = penstock("check", "--plant", TESTS / "cases" / "plant" / "no_tag_list")
    assert failed.returncode == 2
    assert failed.stderr.splitlines() == [
        "penstock: plant.toml line 12: the tag list absent.csv does not exist",
        "plant.toml line 16: the tag list empty.csv has no tags",
    ]


def test_an_unknown_command_is_a_mistake_too() -> None:
    """Typer's own message is printed, without a trace."""
    failed = penstock("chekc")
    assert failed.returncode == 2
    assert "chekc" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_schema_is_printed() -> None:
    """Editors use it."""
    assert json.loads(penstock("schema").stdout)["title"] == "PlantFile"


@pytest.mark.parametrize("as_json", [True, False])
def test_maintenance_of_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, as_json: bool) -> None:
    """Compact merges files, vacuum lists them first and then deletes; a bad --keep is explained."""

    def run(*arguments: str) -> Result:
        return CliRunner(env={"PENSTOCK_PLANT": str(tmp_path)}).invoke(app, ["store", *arguments])

    monkeypatch.syspath_prepend(TESTS / "plugins")
    for file in (TESTS / "cases" / "plant" / "valid").iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    store = LakeStore(tmp_path / ".penstock" / "lake")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(3):
        row = [("a", now.replace(minute=number), 1.0, None, 0)]
        store.write(sample_batch(pl.DataFrame(row, schema=SCHEMA, orient="row")), source="s", now=now)
    flags = ["--json"] * as_json
    merged = run("compact", *flags).stdout
    assert merged == ('{"files_before": 6, "files_after": 2}\n' if as_json else "6 files became 2\n")
    listed = run("vacuum", "--keep", "0", "--dry-run", *flags).stdout
    assert len(json.loads(listed)["files"]) == 6 if as_json else listed.startswith("would delete 6 files\nsamples/")
    assert run("vacuum", "--keep", "0").stdout.startswith("deleted 6 files")
    assert "is not a duration" in str(run("vacuum", "--keep", "x").exception)


def checked(url: str, token: str) -> subprocess.CompletedProcess[str]:
    """`penstock check` of the valid plant with another store."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS / "plugins"), "PENSTOCK_HISTORIAN": url}
    command = [str(PENSTOCK), "check", "--plant", str(TESTS / "cases" / "plant" / "valid")]
    environment["PENSTOCK_HISTORIAN_TOKEN"] = token
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_check_finds_a_missing_token_of_influxdb_2(tmp_path: Path) -> None:
    """The error has file and line and names the variable; InfluxDB 1 needs no token."""
    for file in (TESTS / "cases" / "plant" / "valid").iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    plant = tmp_path / "plant.toml"
    plant.write_text(plant.read_text() + '\n[historian]\nurl = "influxdb://influx:8086/north?bucket=raw"\n')
    line = len(plant.read_text().splitlines())
    failed = penstock("check", "--plant", tmp_path)
    assert failed.returncode == 2
    assert failed.stderr.startswith(f"penstock: plant.toml line {line}: historian.url is an InfluxDB 2.x")
    assert "PENSTOCK_HISTORIAN_TOKEN" in failed.stderr
    assert checked("influxdb://influx:8086/north", "").returncode == 0
    assert checked("influxdb://influx:8086/north?bucket=raw", "opensesame\n").returncode == 0


@pytest.mark.parametrize(
    ("url", "token", "words"),
    [
        ("influxdb://influx:8086/north?bucket=raw", "", "answers no request without a token"),
        ("influxdb://influx:8086/north?bucket=raw", "opensesame opensesame", "as if more than the token"),
        ("influxdb://me:opensesame@influx:8086/north", "", "has a password in it"),
        ("influxdb://influx:8086", "", "lacks a host or a name"),
        ("postgres://influx/north", "", "use file:///PATH"),
    ],
)
def test_check_finds_a_store_that_could_not_be_opened(url: str, token: str, words: str) -> None:
    """If the url comes from the environment, the error names the variable; secrets are not shown."""
    failed = checked(url, token)
    assert failed.returncode == 2
    assert failed.stderr.startswith("penstock: PENSTOCK_HISTORIAN: ")
    assert words in failed.stderr
    assert "opensesame" not in failed.stderr


def test_a_token_from_a_file_may_end_in_a_line_end(tmp_path: Path) -> None:
    """`${NAME}` in the plant file is replaced without the line end, which TOML would refuse."""
    for file in (TESTS / "cases" / "plant" / "valid").iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    url = "influxdb://influx:8086/north?bucket=raw"
    with (tmp_path / "plant.toml").open("a") as plant:
        plant.write(f'\n[historian]\nurl = "{url}"\ntoken = "${{INFLUX_TOKEN}}"\n')
    environment = {**os.environ, "PYTHONPATH": str(TESTS / "plugins"), "INFLUX_TOKEN": "opensesame\n"}
    command = [str(PENSTOCK), "check", "--plant", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, env=environment, check=False).returncode == 0


def test_maintenance_is_for_the_embedded_store(tmp_path: Path) -> None:
    """InfluxDB maintains its own files; a copy needs a source that exists."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS / "plugins"), "PENSTOCK_HISTORIAN": "influxdb://influx/north"}
    command = [str(PENSTOCK), "store", "compact", "--plant", str(TESTS / "cases" / "plant" / "valid")]
    failed = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (failed.returncode, "InfluxDB compacts and deletes by itself" in failed.stderr) == (2, True)
    absent, target = f"file://{tmp_path}/absent", f"file://{tmp_path}/target"
    failed = penstock("store", "copy", absent, target)
    assert (failed.returncode, failed.stderr) == (2, f"penstock: there is no lake at {tmp_path}/absent\n")
