"""Backfills as jobs, by the commands that a person types."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge.cli.backfill import app
from historian.errors import InvalidInput
from historian.jobs import Jobs
from historian.plant.load import load_plant
from historian.stores.open import open_store
from tests.commands import record_of
from tests.one_pump import write_pump

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
    """Two files of an hour each, a sample a minute."""
    write_pump(tmp_path, ARCHIVE)
    (tmp_path / "tags.csv").write_text("tag,asset,point,address\np1.t,p1,temperature,T\n")
    for hour in (0, 1):
        lines = [f"{(T0 + timedelta(hours=hour, minutes=m)).isoformat()},T,{m + 1}" for m in range(60)]
        (tmp_path / f"{hour}_history.csv").write_text("\n".join(["timestamp,tag,value", *lines, ""]))
    return tmp_path


def penstock(plant: Path, *arguments: str | Path) -> dict[str, Any]:
    """The answer of `penstock backfill` with these arguments."""
    return record_of("backfill", *arguments, "--plant", plant)


def stored(plant: Path) -> int:
    """How many samples are in the store."""
    pages = open_store(load_plant(plant)).read(["p1.t"], T0, T0 + timedelta(days=1))
    return sum(page.height for page in pages)


def test_a_job_is_queued_paused_resumed_and_run(plant: Path) -> None:
    """Each command answers with the job; a worker runs what is queued."""
    queued = penstock(plant, "start", "history", "--queue", "--order", "newest", "--rate", "100000")
    assert (queued["id"], queued["state"], queued["parameters"]["order"]) == (1, "queued", "newest")
    assert penstock(plant, "pause", "1")["state"] == "paused"
    assert penstock(plant, "work")["jobs"] == 0
    assert penstock(plant, "resume", "1", "--queue")["state"] == "queued"
    assert penstock(plant, "work")["jobs"] == 1
    [job] = penstock(plant, "list")["jobs"]
    assert (job["state"], job["progress"]["done"], job["progress"]["total"]) == ("done", 2, 2)
    assert job["result"]["archives"]["history"]["samples"] == 120
    assert penstock(plant, "status", "1") == job
    assert stored(plant) == 120


def test_a_problem_is_named_and_a_cancelled_job_is_not_run(plant: Path) -> None:
    """A broken file fails no job."""
    (plant / "2_history.csv").write_text("")
    penstock(plant, "start", "--queue")
    penstock(plant, "start", "--queue")
    penstock(plant, "cancel", "2")
    penstock(plant, "work")
    assert [job["state"] for job in penstock(plant, "list")["jobs"]] == ["done", "cancelled"]
    assert penstock(plant, "status", "1")["result"]["problems"] == ["archive history: 2_history.csv: it is empty"]


def test_mistakes_are_found_before_a_job_is_queued(plant: Path) -> None:
    """Not at night, when its window begins."""
    for mistake in (["--window", "late"], ["--start", "yesterday"], ["histroy"]):
        done = CliRunner().invoke(app, ["start", *mistake, "--plant", str(plant), "--queue"])
        assert isinstance(done.exception, InvalidInput)
    assert penstock(plant, "list")["jobs"] == []


def test_jobs_are_shown_on_a_line_each(plant: Path) -> None:
    """State, archives, and how far it is."""
    penstock(plant, "start", "--queue")
    shown = CliRunner().invoke(app, ["list", "--plant", str(plant)])
    assert shown.stdout == "1  queued  history\n"


@pytest.mark.slow
def test_a_job_goes_on_in_the_background(plant: Path) -> None:
    """It is started by a process that ends, and paused by another one."""
    penstock(plant, "start", "--rate", "10")
    jobs, until = Jobs(load_plant(plant).state), monotonic() + 60
    while not jobs.get(1).progress.samples and monotonic() < until:
        sleep(0.1)
    assert jobs.get(1).state == "running"
    penstock(plant, "pause", "1")
    while jobs.get(1).state == "running" and monotonic() < until:
        sleep(0.1)
    assert jobs.get(1).state == "paused"
    assert 0 < stored(plant) <= 120
