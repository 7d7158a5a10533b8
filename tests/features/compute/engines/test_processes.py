"""One process and several give the same rows; one machine does not need what a cluster needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.compute.engines.processes import Engine, in_process, processes
from features.compute.partition import Computed, Partition, Samples
from features.compute.plan import ComputePlan
from features.compute.run import ViewJob
from features.compute.splitting import Budget
from features.tables.feature_table import FeatureTable
from historian.errors import FeatureError, StoreUnavailable
from historian.plant.plant import Plant
from historian.samples import SampleBatch
from historian.stores.open import open_store
from historian.stores.urls import lake_path
from historian.waveforms.batch import WaveformBatch
from tests.features.stretches import write_plant

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
        rows = pl.DataFrame({"tag": tag, "timestamp": times, "value": values})
        write_plant(plant, rows, now=START)


def bursts(plant: Plant) -> Plant:
    """The same plant with burst windows of half a second."""
    view = plant.views["compressor_vibration"]
    half = timedelta(seconds=0.5)
    return replace(plant, views={view.name: replace(view, align="burst", window=half, hop=half)})


def plan_of(plant: Plant, limits: Budget) -> tuple[ViewJob, ComputePlan]:
    """The job of the vibration view, and what it plans."""
    job = ViewJob(plant, plant.views["compressor_vibration"], open_store(plant), lambda: LATER)
    return job, job.plan(limits)


def rows_by(plant: Plant, state: Path, engine: Engine, limits: Budget) -> pl.DataFrame:
    """All rows of a table of its own."""
    site = replace(plant, state=state)
    job = ViewJob(site, plant.views["compressor_vibration"], open_store(plant), lambda: LATER)
    job.run(job.plan(limits), engine, rows_per_commit=50)
    return FeatureTable(site, job.view).scan().sort("asset", "event_timestamp").collect()


@pytest.mark.parametrize("align", ["epoch", "burst"])
def test_small_partitions_give_the_rows_of_a_single_one(plant: Plant, tmp_path: Path, align: str) -> None:
    """Partitions are cut between windows and between bursts."""
    fill(plant)
    site = plant if align == "epoch" else bursts(plant)
    whole = rows_by(site, tmp_path / "whole", in_process(open_store(plant)), Budget(10**9, 10**9))
    cut = rows_by(site, tmp_path / "cut", in_process(open_store(plant)), SMALL)
    assert len(plan_of(site, SMALL)[1].partitions) > 6
    assert whole.height > 100
    assert_frame_equal(cut, whole)


class DelayedStore:
    """A store that lets others go first; and counts what is read here."""

    def __init__(self, plant: Plant, before: Callable[[], None] = lambda: sleep(1)) -> None:
        self.store, self.reads, self._before = open_store(plant), 0, before

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """See `Reader.read`."""
        self.reads += 1
        self._before()
        yield from self.store.read(tags, start, end)

    def read_waveforms(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[WaveformBatch]:
        """See `Reader.read_waveforms`."""
        self.reads += 1
        self._before()
        yield from self.store.read_waveforms(tags, start, end)


def processes_of(plant: Plant, store: Samples, url: str = "") -> Engine:
    """An engine of three processes, which it starts for any amount of work."""
    return processes(store, url or lake_path(plant).as_uri(), "", jobs=3, worth=0)


def test_processes_give_the_rows_of_one(plant: Plant, tmp_path: Path) -> None:
    """The rows are the same in any order of completion, and the other processes do take part."""
    fill(plant, seconds=100)
    single = rows_by(plant, tmp_path / "single", in_process(open_store(plant)), SMALL)
    delayed = DelayedStore(plant)
    several = rows_by(plant, tmp_path / "several", processes_of(plant, delayed), SMALL)
    assert_frame_equal(several, single)
    assert delayed.reads < len(plan_of(plant, SMALL)[1].partitions) * 0.8


def test_no_process_is_started_for_little_work(plant: Plant, tmp_path: Path) -> None:
    """Starting one takes longer than the work in this test."""
    fill(plant)
    before = children()

    def look() -> None:
        assert children() == before

    engine = processes(DelayedStore(plant, look), "", "", jobs=3)
    assert rows_by(plant, tmp_path / "rows", engine, Budget(10**9, 10**9)).height > 100


def children() -> set[int]:
    """The processes this one has started."""
    found = set[int]()
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread may end meanwhile
            found |= set(map(int, task.read_text(encoding="ascii").split()))
    return found


def test_a_failure_in_this_process_is_raised(plant: Plant) -> None:
    """The original error is raised with its message; waiting partitions are not started."""
    fill(plant, seconds=100)
    _, planned = plan_of(plant, SMALL)

    def fail() -> None:
        raise StoreUnavailable("the disk is gone")

    failing = DelayedStore(plant, fail)
    assert len(planned.partitions) > 12
    with pytest.raises(StoreUnavailable, match="the disk is gone"):
        list(processes_of(plant, failing)(planned.partitions))
    assert failing.reads <= 4


def test_a_failure_in_another_process_is_raised_here(plant: Plant) -> None:
    """The original error is raised with its message."""
    fill(plant, seconds=100)
    blocked = plant.root / "file"
    blocked.touch()
    with pytest.raises(StoreUnavailable, match="file"):
        list(processes_of(plant, DelayedStore(plant), blocked.as_uri())(plan_of(plant, SMALL)[1].partitions))


def test_a_killed_process_is_reported(plant: Plant) -> None:
    """The error says what may have killed it and that nothing is lost; no other process is left behind."""
    fill(plant, seconds=200)
    before, delayed = children(), DelayedStore(plant)

    def compute() -> None:
        for done, _ in enumerate(processes_of(plant, delayed)(plan_of(plant, SMALL)[1].partitions)):
            if done > delayed.reads + 2:  # others have begun
                for child in children() - before:
                    os.kill(child, signal.SIGKILL)

    with pytest.raises(FeatureError, match="was killed, most likely for lack of memory; nothing is lost"):
        compute()
    assert children() == before


def test_a_process_ends_with_its_parent(plant: Plant) -> None:
    """No process has to be looked for after the job was killed with -9."""
    fill(plant, seconds=2)
    code = (
        "from features.compute.engines.worker import WorkerProcess; from time import sleep\n"
        f"worker = WorkerProcess({lake_path(plant).as_uri()!r}, '')\n"
        "while not worker.is_ready():\n    sleep(0.01)\n"
        "print(worker._process.pid, flush=True); sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        child = Path(f"/proc/{int(starter.stdout.readline())}")
        assert child.exists()
        starter.kill()
    until = monotonic() + 20
    while child.exists() and "Z" not in (child / "stat").read_text(encoding="ascii").split()[2]:
        assert monotonic() < until
        sleep(0.05)


def test_partitions_of_the_same_time_are_read_at_once(plant: Plant) -> None:
    """Two assets take one query; each partition gets the samples it would have read by itself."""
    fill(plant, seconds=5)
    store, (_, planned) = DelayedStore(plant, lambda: None), plan_of(plant, Budget(10**9, 10**9))
    together = computed(in_process(store), planned.partitions)
    assert (store.reads, len(planned.partitions)) == (1, 2)
    assert_frame_equal(together, computed(alone(store), planned.partitions))


def alone(store: Samples) -> Engine:
    """Each partition by itself."""
    return lambda partitions: (done for each in partitions for done in in_process(store)([each]))


def computed(engine: Engine, partitions: Sequence[Partition]) -> pl.DataFrame:
    """Their rows."""
    found: list[Computed] = list(engine(partitions))
    return pl.concat([each.rows for each in found], how="diagonal")


def test_one_machine_does_not_import_ray_or_feast(plant: Plant) -> None:
    """`penstock compute` without --engine ray and without --follow; each takes seconds to import."""
    fill(plant, seconds=2)
    code = (
        "import sys; from features.cli.compute import compute; from pathlib import Path; "
        f"compute(Path({str(plant.root)!r})); print(sorted({{'ray', 'feast'}} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_missing_ray_says_how_to_install_it() -> None:
    """There is no stack trace."""
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from historian.errors import ConfigError\n"
        "try:\n    import features.compute.engines.cluster\nexcept ConfigError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'penstock[ray]'" in done.stdout
