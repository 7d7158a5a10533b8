"""The packages that a command imports before it can work, as unused ones cost seconds of start-up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.simulator.plant import write_plant

TESTS = Path(__file__).parents[2]
HEAVY = {
    "feast",
    "numba",
    "polars",
    "numpy",
    "pandas",
    "scipy",
    "pyarrow",
    "deltalake",
    "fastapi",
    "asyncua",
    "influxdb_client",
}

COMMAND = """
import json, sys
from historian.cli.main import main
sys.argv = ["penstock", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def run(script: str, *arguments: str | Path) -> str:
    """Returns what a new Python process writes to standard error."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS / "plugins")}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stderr


def imported_by(*arguments: str | Path) -> set[str]:
    """The packages that are imported when a `penstock` command has ended."""
    return set(json.loads(run(COMMAND, *arguments).splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=" ".join)
def test_commands_are_listed_without_importing_them(arguments: list[str]) -> None:
    """The packages they need are not imported either."""
    imported = imported_by(*arguments)
    assert imported & HEAVY == set()
    ours = {name for name in imported if name.split(".")[0] in ("historian", "bridge", "features", "api")}
    assert ours == {"historian", "historian.cli", "historian.cli.main", "historian.errors"}


def test_a_plant_is_checked_without_anything_heavy(tmp_path: Path) -> None:
    """The libraries of our drivers are imported only when a connection is opened."""
    write_plant(tmp_path, host="127.0.0.1", opcua_port=4840, modbus_port=1502)
    assert imported_by("check", "--plant", tmp_path) & HEAVY == set()


def test_computing_does_not_import_what_only_order_tracking_needs() -> None:
    """It takes as long as everything else that the kernels import."""
    assert "scipy.interpolate" not in imported_by("compute", "--help")


@pytest.mark.slow
def test_feast_is_imported_without_typeguards_instrumentation() -> None:
    """Whoever of us imports Feast, typeguard does not rewrite its classes first (docs/decisions/0006)."""
    for module in ("api.feast_backend", "benchmarks.materialize"):
        script = f"import sys, {module}, feast; print(feast.Entity.__init__.__code__.co_names, file=sys.stderr)"
        names = run(script)
        assert "ValueError" in names
        assert "check_argument_types_internal" not in names


def test_a_command_on_a_lake_does_not_import_the_client_of_influxdb(tmp_path: Path) -> None:
    """It would take half of the time that the command takes."""
    write_plant(tmp_path, host="127.0.0.1", opcua_port=4840, modbus_port=1502)
    imported = imported_by("store", "init", "--plant", tmp_path)
    assert "deltalake" in imported
    assert "influxdb_client" not in imported
