"""Feast's own programs work in the repository that `penstock apply` makes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from feast.cli.cli import cli

from features.feast.online.lookup import materialize, readings
from features.feast.registry.feast_repo import apply, open_feature_store, registered, repo_path
from historian.plant.plant import Plant
from tests.servers import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

START = datetime(2026, 3, 1, tzinfo=UTC)
RMS = "compressor_vibration:de_h_rms_ac"
FEAST = str(Path(sys.executable).with_name("feast"))


def feast(plant: Plant, *arguments: str) -> str:
    """Runs the program in the repository, within this process; its standard output."""
    done = CliRunner().invoke(cli, ["--chdir", str(repo_path(plant)), *arguments])
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    return done.stdout


@contextmanager
def running(program: Path, plant: Plant, *arguments: str) -> Iterator[str]:
    """Runs one of its servers on a free port of loopback until it answers; returns its address."""
    port = free_port()
    command = [str(program), *arguments, "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, cwd=repo_path(plant), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(240):
                assert process.poll() is None, process.stderr and process.stderr.read().decode()
                try:
                    httpx.get(url, timeout=5)
                    break
                except httpx.TransportError:
                    time.sleep(0.25)
            yield url
        finally:
            process.terminate()
            process.communicate(timeout=30)


def test_the_program_lists_what_is_registered(plant: Plant) -> None:
    """Entities, feature views and feature services."""
    apply(plant)
    assert "A machine of the plant." in feast(plant, "entities", "list")
    views = feast(plant, "feature-views", "list")
    assert [name for name in plant.views if name in views] == list(plant.views)
    services = feast(plant, "feature-services", "list")
    assert "compressor" in services
    assert "pump" in services


def test_applying_with_feasts_own_program_changes_nothing(plant: Plant) -> None:
    """`feast apply` finds the registered objects defined, and would otherwise delete everything."""
    apply(plant)
    before = registered(repo_path(plant))
    done = subprocess.run([FEAST, "apply"], cwd=repo_path(plant), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Deleted" not in done.stdout
    assert registered(repo_path(plant)) == before


def test_materialising_with_feasts_own_program(plant: Plant, add_rows: Callable[..., None]) -> None:
    """`feast materialize-incremental` writes to our online store, and never anything older than what is there."""
    add_rows("compressor_vibration", ("c101", 10, 11, 2.5))
    add_rows("compressor_process", ("c101", 10, 11, 60.0))
    add_rows("pump_process", ("p201", 10, 11, 4.0))
    apply(plant)
    feast(plant, "materialize", "2026-03-01T00:00:00", "2026-03-02T00:00:00")
    store = open_feature_store(plant)
    later = START + timedelta(seconds=20)
    assert readings(store, [RMS], "c101", now=later)[0].value == 2.5
    add_rows("compressor_vibration", ("c101", 20, 21, 3.5))
    materialize(store, end=later, advance=lambda _: None)
    feast(plant, "materialize", "2026-03-01T00:00:00", "2026-03-01T00:00:15")
    assert readings(store, [RMS], "c101", now=later)[0].value == 3.5
    feast(plant, "materialize-incremental", "2026-03-03T00:00:00")
    assert readings(store, [RMS], "c101", now=later)[0].value == 3.5


def test_feasts_own_feature_server_serves_what_we_materialise(
    stored: Plant, warm: Path, add_rows: Callable[..., None]
) -> None:
    """Values without a ttl are returned; those past their ttl have no value and the status for it."""
    add_rows("compressor_vibration", ("c101", 10, 11, 2.5))
    add_rows("compressor_process", ("c101", 10, 11, 60.0))
    apply(stored)
    materialize(open_feature_store(stored), end=START + timedelta(days=1), advance=lambda _: None)
    body = {"features": [RMS, "compressor_process:oil_temp_mean"], "entities": {"asset": ["c101"]}}
    with running(warm / "feast", stored, "serve") as url:
        answer = httpx.post(f"{url}/get-online-features", json=body, timeout=30).json()
    names = answer["metadata"]["feature_names"]
    found = {
        name: (vector["values"], vector["statuses"]) for name, vector in zip(names, answer["results"], strict=True)
    }
    assert found == {
        "asset": (["c101"], ["PRESENT"]),
        "de_h_rms_ac": ([2.5], ["PRESENT"]),
        "oil_temp_mean": ([None], ["OUTSIDE_MAX_AGE"]),
    }


def test_feasts_own_page_shows_the_registry(plant: Plant, warm: Path) -> None:
    """`feast ui` starts on loopback and serves its page. It needs gRPC, which is Feast's extra `grpcio`."""
    apply(plant)
    with running(warm / "feast", plant, "ui") as url:
        page = httpx.get(url, timeout=30, follow_redirects=True)
        projects = httpx.get(f"{url}/projects-list.json", timeout=30).json()
    assert page.status_code == 200
    assert "north_works" in str(projects)
