"""Whoever computes, the rows are the same; and one machine does without what a cluster needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.jobs.due import Budget, Due
from features.jobs.engine import Engine, here, threads
from features.jobs.job import ViewJob
from features.jobs.partition import Computed, Partition
from features.jobs.shared_read import shared_reads
from features.rows.tables import FeatureTable
from historian.errors import StoreUnavailable
from historian.open_store import open_store
from historian.plant import Plant
from historian.samples import SampleBatch, settle

START = datetime(2026, 3, 1, tzinfo=UTC)
LATER = START + timedelta(days=1)
SMALL = Budget(samples=10_000, cells=10**9)


def fill(plant: Plant, *, seconds: int = 60, tags: Sequence[str] = ("c101.de_h", "c102.de_h")) -> None:
    """Noise at 1 kHz, the second tag in bursts of 0.7 s a second."""
    for seed, tag in enumerate(tags):
        step = np.arange(seconds * 1000)
        step = step[step % 1000 < 700] if seed else step
        times = (pl.Series(step, dtype=pl.Int64) * 1000 + int(START.timestamp() * 1e6)).cast(pl.Datetime("us", "UTC"))
        values = np.random.default_rng(seed).normal(size=len(step))
        rows = pl.DataFrame({"tag": tag, "timestamp": times, "value": values}).with_columns(text=None, quality=0)
        open_store(plant).write(settle(rows).batch, source="test", now=START)


def bursts(plant: Plant) -> Plant:
    """The same plant with burst windows of half a second."""
    view = plant.views["compressor_vibration"]
    half = timedelta(seconds=0.5)
    return replace(plant, views={view.name: replace(view, align="burst", window=half, hop=half)})


def due_of(plant: Plant, limits: Budget) -> tuple[ViewJob, Due]:
    """The job of the vibration view, and what is due."""
    job = ViewJob(plant, plant.views["compressor_vibration"], open_store(plant), lambda: LATER)
    return job, job.due(limits)


def rows_by(plant: Plant, state: Path, engine: Engine, limits: Budget) -> pl.DataFrame:
    """All rows of a table of its own."""
    site = replace(plant, state=state)
    job = ViewJob(site, plant.views["compressor_vibration"], open_store(plant), lambda: LATER)
    job.run(job.due(limits), engine, rows_per_commit=5)
    return FeatureTable(site, job.view).scan().sort("asset", "event_timestamp").collect()


@pytest.mark.parametrize("align", ["epoch", "burst"])
def test_small_partitions_give_the_rows_of_one_look_at_everything(plant: Plant, tmp_path: Path, align: str) -> None:
    """Cut between windows, and between bursts."""
    fill(plant)
    site = plant if align == "epoch" else bursts(plant)
    whole = rows_by(site, tmp_path / "whole", here(open_store(plant)), Budget(10**9, 10**9))
    cut = rows_by(site, tmp_path / "cut", here(open_store(plant)), SMALL)
    assert len(due_of(site, SMALL)[1].partitions) > 6
    assert whole.height > 100
    assert_frame_equal(cut, whole)


@pytest.mark.parametrize("limits", [SMALL, Budget(10**9, 10**9)], ids=["cut", "whole"])
def test_threads_give_the_rows_of_one(plant: Plant, tmp_path: Path, limits: Budget) -> None:
    """Row for row, whatever the order in which they are ready."""
    fill(plant)
    single = rows_by(plant, tmp_path / "single", here(open_store(plant)), limits)
    several = rows_by(plant, tmp_path / "several", threads(open_store(plant), jobs=3), limits)
    assert_frame_equal(several, single)


def test_what_fails_in_a_thread_is_said_here(plant: Plant) -> None:
    """As the error it is, with its message; what waited is not begun."""
    fill(plant, seconds=20)
    _, due = due_of(plant, SMALL)
    asked: list[str] = []

    class Failing:
        def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
            asked.extend(tags)
            raise StoreUnavailable("the disk is gone")

    assert len(due.partitions) > 3
    with pytest.raises(StoreUnavailable, match="the disk is gone"):
        list(threads(Failing(), jobs=1)(due.partitions))
    assert len(asked) < len(due.partitions)


def test_partitions_of_the_same_time_are_read_at_once(plant: Plant) -> None:
    """Two assets, one query; what each is given is what it would have read."""
    fill(plant, seconds=5)
    store, (_, due) = open_store(plant), due_of(plant, Budget(10**9, 10**9))
    readers = [reader for reader, _ in shared_reads(store, due.partitions)]
    assert len(readers) == 2
    assert readers[0] is readers[1] is not store
    assert_frame_equal(computed(here(store), due.partitions), computed(alone(store), due.partitions))


def alone(store: object) -> Engine:
    """Each partition by itself."""
    return lambda partitions: (done for each in partitions for done in here(store)([each]))  # type: ignore[arg-type]


def computed(engine: Engine, partitions: Sequence[Partition]) -> pl.DataFrame:
    """Their rows."""
    found: list[Computed] = list(engine(partitions))
    return pl.concat([each.rows for each in found], how="diagonal")


def test_one_machine_does_not_import_ray_or_feast(plant: Plant) -> None:
    """`penstock compute` without --engine ray and without --follow; each takes seconds to import."""
    fill(plant, seconds=2)
    code = (
        "import sys; from features.commands.compute import compute; from pathlib import Path; "
        f"compute(Path({str(plant.root)!r})); print(sorted({{'ray', 'feast'}} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_missing_ray_says_how_to_install_it() -> None:
    """Instead of a stack trace."""
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from historian.errors import ConfigError\n"
        "try:\n    import features.jobs.engine_ray\nexcept ConfigError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'penstock[ray]'" in done.stdout
