"""`penstock verify`, and every command of docs/verify.md, in order."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.run.verify import verify_manifest
from historian.cli.main import app
from historian.plant.load import load_plant
from historian.stores.open import open_store
from tests.bridge.run.verify.scene import DAY, T0
from tests.commands import as_in_a_process

PAGE = (Path(__file__).parents[3] / "docs" / "verify.md").read_text(encoding="utf-8")
_PLANT = """
site = { name = "test" }
[classes.pump.points]
temperature = { kind = "process", unit = "degC", range = [-50, 150] }
running = { kind = "state" }
[assets.c101]
class = "pump"
[archives.history]
driver = "files"
path = "history.csv"
layout = "long"
quality = { column = "quality", kind = "opc-da" }
tags = "tags.csv"
"""


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """A plant whose archive is a file, with a sample that is out of range."""
    (tmp_path / "plant.toml").write_text(_PLANT)
    tags = "tag,asset,point,address,scale\nc101.temperature,c101,temperature,C101.Temperature,0.1\n"
    (tmp_path / "tags.csv").write_text(tags + "c101.running,c101,running,C101.Running,\n")
    rows = [f"C101.Temperature,2026-03-01T22:{minute:02}:00Z,{200 + minute},192\n" for minute in range(60)]
    rows += ["C101.Temperature,2026-03-02T00:00:00Z,9999,192\n", "C101.Running,2026-03-02T01:00:00Z,1,192\n"]
    (tmp_path / "history.csv").write_text("tag,timestamp,value,quality\n" + "".join(rows))
    return tmp_path


def run(*line: str) -> tuple[int, str]:
    """The exit code of a command, and what it prints on standard output."""
    with as_in_a_process():
        done = CliRunner().invoke(app, line)
    return done.exit_code, done.stdout


def commands() -> list[list[str]]:
    """The commands of the page, each as its words."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == PAGE.count("```sh")
    return [shlex.split(line) for line in "".join(blocks).replace("\\\n", "").splitlines()]


def test_every_command_of_the_page_works(plant: Path) -> None:
    """The history is verified, the auditor's program agrees, and a proposal is written."""
    with contextlib.chdir(plant):
        for program, *words in commands():
            if program == "python3":
                export_store(plant)
                assert verify_manifest.main(words[1:]) == 0
            else:
                code, shown = run(*words)
                assert (program, code) == ("penstock", 0), (words, shown)
    manifest = json.loads((plant / ".penstock" / "verify" / "history" / "manifest.json").read_text())
    assert [(day["tag"], day["day"], day["source"]["count"], day["quarantined"]) for day in manifest["days"]] == [
        ("c101.running", "2026-03-02", 1, 0),
        ("c101.temperature", "2026-03-01", 60, 0),
        ("c101.temperature", "2026-03-02", 0, 1),
    ]
    assert (plant / "proposal" / "tags.csv").read_text().splitlines()[1:] == [
        "c101.running,c101,running,C101.Running",
        "c101.temperature,c101,temperature,C101.Temperature",
    ]


def export_store(plant: Path) -> None:
    """What another program would write of the store."""
    with (plant / "store.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["tag", "timestamp", "value", "text", "quality"])
        for page in open_store(load_plant(plant)).read(["c101.temperature", "c101.running"], T0 - DAY, T0 + DAY):
            out.writerows(
                [tag, time.isoformat(), value, text, quality] for tag, time, value, text, quality in page.rows()
            )


def test_what_differs_is_shown_and_is_the_exit_code(plant: Path) -> None:
    """As text and as JSON; a dry run changes nothing, and an unreadable file proves nothing."""
    code, shown = run("verify", "-p", str(plant), "--policy", "keep-first", "--dry-run")
    assert code == 1
    assert shown.splitlines() == [
        "history: NOT equal: 61 samples on 3 days of tags, of which 2 differ: "
        "61 missing, 0 changed, 0 only in the store, 1 in quarantine",
        "  would read again: 2026-03-01T22:00:00Z to 2026-03-01T22:59:00.000001Z, c101.temperature",
        "  would read again: 2026-03-02T01:00:00Z to 2026-03-02T01:00:00.000001Z, c101.running",
        f"  report: {plant / '.penstock' / 'verify' / 'history' / 'report.html'}",
    ]
    code, shown = run("verify", "history", "-p", str(plant), "--policy", "keep-first", "--json")
    record = json.loads(shown)["archives"]["history"]
    assert (code, record["equal"], record["missing"], len(record["read_again"])) == (0, True, 0, 2)
    (plant / "history.csv").write_bytes(b"tag,timestamp,value,quality\nC101.Temperature,2026-03-01T22:00:00Z,200,192\n")
    code, shown = run("verify", "-p", str(plant))
    assert code == 1
    assert "60 only in the store" in shown
    assert "  not read: archive history: tags.csv row 3: no file has C101.Running" in shown
    (plant / "history.csv").unlink()
    code, shown = run("verify", "-p", str(plant), "--json")
    assert code == 1
    assert json.loads(shown)["failures"] == [f"archive history: no file matches 'history.csv' in {plant}; check path"]
