"""Opening a lake for reading writes nothing, takes no lock, and needs no directory."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from historian.errors import StoreUnavailable
from historian.samples import SCHEMA, SampleBatch, empty_batch, sample_batch
from historian.stores.lake.store import LakeStore
from tests.servers import read_only

T0 = datetime(2026, 3, 1, tzinfo=UTC)
EVER = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))
TESTS = Path(__file__).parents[2]
PENSTOCK = Path(sys.executable).with_name("penstock")


def sample(value: float, at: datetime = T0) -> SampleBatch:
    """One sample of tag `a`."""
    return sample_batch(pl.DataFrame([("a", at, value, None, 0)], schema=SCHEMA, orient="row"))


def read_everything(path: Path) -> pl.DataFrame:
    """Opens the lake, uses each way of reading it, and returns its samples."""
    store = LakeStore(path)
    found = pl.concat([empty_batch(), *store.read(["a"], *EVER)])
    latest = store.latest(["a"])
    assert_frame_equal(latest, found.tail(1))
    assert store.changes(None)["rows"].sum() == store.size()["rows_on_disk"] == found.height
    assert store.gaps(["a"], T0, T0 + timedelta(hours=1), longer_than=timedelta(days=1)).is_empty()
    assert store.extremes(["a"], *EVER, every=timedelta(hours=1)).height == min(found.height, 1)
    return found


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake with one sample."""
    LakeStore(tmp_path / "lake").write(sample(1), source="s", now=T0)
    return tmp_path / "lake"


@pytest.fixture
def held_lock(lake: Path) -> Iterator[None]:
    """The writers' lock, held by another process."""
    with (lake / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.usefixtures("held_lock")
def test_reading_does_not_wait_for_a_writer(lake: Path) -> None:
    """It does not matter how long the writers' lock is held."""
    assert_frame_equal(read_everything(lake), sample(1))


@pytest.mark.usefixtures("held_lock")
def test_status_does_not_wait_for_a_writer(lake: Path) -> None:
    """`penstock store status` prints its result while the lock is held."""
    environment = {**os.environ, "PENSTOCK_HISTORIAN": lake.as_uri(), "PYTHONPATH": str(TESTS / "plugins")}
    plant = TESTS / "cases" / "plant" / "valid"
    command: list[str | Path] = [PENSTOCK, "store", "status", "--plant", plant, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60, env=environment)
    assert json.loads(done.stdout)["rows_on_disk"] == 1


def test_a_read_only_lake_is_read_and_refuses_writes_clearly(lake: Path) -> None:
    """It is a mounted backup, or a file share without the right to write."""
    with read_only(lake):
        assert_frame_equal(read_everything(lake), sample(1))
        with pytest.raises(StoreUnavailable, match=r"cannot be written: .*Read-only file system"):
            LakeStore(lake).write(sample(2), source="s", now=T0)


def test_reading_changes_no_file(lake: Path) -> None:
    """Names, sizes and modification times stay the same."""

    def state() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in [lake, *lake.rglob("*")]}

    before = state()
    read_everything(lake)
    assert state() == before


def test_a_directory_that_does_not_exist_is_an_empty_store(tmp_path: Path) -> None:
    """Reading, compacting and vacuuming do not create it; an open store sees what others write later."""
    path = tmp_path / "not" / "yet"
    store = LakeStore(path)
    assert read_everything(path).is_empty()
    assert store.compact() == {"files_before": 0, "files_after": 0}
    assert store.vacuum(keep=timedelta(0), dry_run=False) == []
    assert not (tmp_path / "not").exists()
    LakeStore(path).write(sample(1), source="s", now=T0)
    assert_frame_equal(store.latest(["a"]), sample(1))
