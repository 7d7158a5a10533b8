"""kill -9 in the middle of a run: after the next run no window is missing and none is stored twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.compute.engines.processes import in_process, processes
from features.compute.run import ViewJob
from features.compute.splitting import Budget
from features.tables.feature_table import FeatureTable
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.stores.open import open_store
from historian.stores.urls import lake_path
from historian.times import utc_now
from tests.features.stretches import write_plant

START = datetime(2026, 3, 1, tzinfo=UTC)
SMALL = Budget(samples=10_000, cells=10**9)

VICTIM = """
import sys
from pathlib import Path
from tests.features.compute.test_run_kill import run
run(Path(sys.argv[1]), jobs=int(sys.argv[2]))
"""


def run(root: Path, *, jobs: int = 1) -> None:
    """Computes the vibration view in small partitions and prints a line for each that is appended."""
    plant = load_plant(root)
    store = open_store(plant)
    job = ViewJob(plant, plant.views["compressor_vibration"], store, utc_now)
    engine = processes(store, lake_path(plant).as_uri(), "", jobs=jobs, worth=0) if jobs > 1 else in_process(store)
    job.run(job.plan(SMALL), engine, rows_per_commit=1, advance=lambda _: print("more", flush=True))


def fill(plant: Plant) -> None:
    """A minute of noise of two assets at 1 kHz."""
    times = pl.datetime_range(
        START, START + timedelta(minutes=1), timedelta(milliseconds=1), time_unit="us", eager=True, closed="left"
    )
    for seed, tag in enumerate(("c101.de_h", "c102.de_h")):
        values = np.random.default_rng(seed).normal(size=len(times))
        rows = pl.DataFrame({"tag": tag, "timestamp": times, "value": values})
        write_plant(plant, rows, now=START)


def killed_after(root: Path, pieces: int, jobs: int) -> None:
    """A run in its own process, killed once this many partitions have started; checks how it ended."""
    code = VICTIM.replace("tests.features.compute.test_run_kill", "test_run_kill")
    path = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    with subprocess.Popen(
        [sys.executable, "-c", path + code, str(root), str(jobs)], stdout=subprocess.PIPE, text=True
    ) as victim:
        assert victim.stdout is not None
        for _ in range(pieces):
            victim.stdout.readline()
        victim.kill()
    assert victim.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize(("pieces", "jobs"), [((0, 2, 7), 1), ((1,), 2)], ids=["alone", "two processes"])
def test_a_killed_run_neither_skips_nor_repeats_a_window(
    plant: Plant, tmp_path: Path, pieces: tuple[int, ...], jobs: int
) -> None:
    """After several kills the table has the rows of an undisturbed run, each once."""
    fill(plant)
    for number in pieces:
        killed_after(plant.root, number, jobs)
    run(plant.root)
    table = FeatureTable(plant, plant.views["compressor_vibration"])
    found = table.scan().sort("asset", "event_timestamp").collect()
    other = replace(plant, state=tmp_path / "other", store_url=lake_path(plant).as_uri())
    job = ViewJob(other, other.views["compressor_vibration"], open_store(other), utc_now)
    job.run(job.plan(Budget(10**9, 10**9)), in_process(open_store(other)))
    expected = job.table.scan().sort("asset", "event_timestamp").collect()
    assert found.height == 120
    assert_frame_equal(found.drop("created_timestamp"), expected.drop("created_timestamp"))
    assert table.cursor() == job.table.cursor()
