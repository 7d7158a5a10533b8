"""Two compressors, their failures, and the commands a person runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from historian.cli.main import app
from historian.plant.plant import Plant

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
