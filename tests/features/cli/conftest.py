"""Two compressors, their failures, and the commands that users run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from historian.cli.main import app
from historian.plant.plant import Plant
from tests.features.feature_rows import append_rows, copied_plant

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


def run_on(plant: Plant, *arguments: str | Path, code: int = 0) -> Any:
    """Runs a command on the plant; its standard output, as JSON where that was requested."""
    environment = {"PENSTOCK_PLANT": str(plant.root)}
    done = CliRunner(env=environment).invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


@pytest.fixture
def penstock(plant: Plant) -> Callable[..., Any]:
    """Runs a command on the plant; see `run_on`."""
    return partial(run_on, plant)


@pytest.fixture(scope="session")
def history_made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that `history` copies, with the training set of its rule in `set`."""
    path = tmp_path_factory.mktemp("history")
    plant = copied_plant(path / "plant")
    rows = [
        (asset, second, second + 1, float(second % 17)) for asset in ("c101", "c102") for second in range(0, 240, 2)
    ]
    append_rows(plant, "compressor_vibration", *rows, ("c101", 20, 900, 99.0), ("c102", 41, 900, 99.0))
    process = [(asset, second, second, 50.0) for asset in ("c101", "c102") for second in (60, 120)]
    append_rows(plant, "compressor_process", *process)
    run_on(plant, "apply")
    (path / "rule.toml").write_text(RULE)
    (path / "failures.csv").write_text(EVENTS)
    run_on(plant, "training-set", path / "rule.toml", "--out", path / "set")
    return path


@pytest.fixture
def history(history_made_once: Path, penstock: Callable[..., Any], tmp_path: Path) -> Path:
    """Four minutes of two compressors, one correction and one late row; failures and a rule in the same directory."""
    shutil.copytree(history_made_once, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("set"))
    penstock("apply")  # the registry holds absolute paths
    return tmp_path


@pytest.fixture
def finished(history_made_once: Path, history: Path) -> Path:
    """The training set of `history`'s rule, an artefact that was made of a copy of the same plant."""
    shutil.copytree(history_made_once / "set", history / "set")
    return history / "set"
