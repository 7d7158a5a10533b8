"""kill -9 of `penstock compute --follow` between table and online store: the next start writes missing rows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import numpy as np
import polars as pl
import pytest

from features.compute.follow import Follower
from features.compute.online_rows import Online, online_rows
from features.feast.online.lookup import readings
from features.feast.registry import feast_repo
from features.tables.feature_table import FeatureTable
from historian.plant.load import load_plant
from historian.plant.plant import Plant, View
from historian.stores.open import open_store
from historian.times import utc_now
from tests.features.stretches import write_plant

START = datetime(2026, 3, 1, tzinfo=UTC)
NAME = "compressor_vibration"


def follow_until_killed(root: Path) -> None:
    """Follows normally, and kills itself before the first appended rows are written online."""
    plant = load_plant(root)

    def die(_view: View, _rows: pl.DataFrame) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def report(done: object) -> None:
        raise AssertionError(f"still alive: {done}")

    online = Online(die, online_rows(feast_repo.open_feature_store(plant), utc_now).catch_up)
    Follower(plant, open_store(plant), utc_now, [NAME], online).run(Event(), pause=0.05, report=report)


def killed(plant: Plant, warm: Path) -> None:
    """A run of it in a process of its own."""
    run = follow_until_killed.__name__
    code = f"from tests.features.compute.test_follow_kill import Path, {run}; {run}(Path({str(plant.root)!r}))"
    done = subprocess.run([warm / "python", "-c", code], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


def follow_until_reported(plant: Plant) -> dict[str, object]:
    """Runs the command until its first report, which is returned."""
    command: list[str | Path] = [Path(sys.executable).with_name("penstock")]
    command += ["compute", "--follow", "--json", "--plant", plant.root]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        record: dict[str, object] = json.loads(process.stdout.readline())
        process.terminate()
    assert process.returncode == 0
    return record


def write(plant: Plant, asset: str, first: int, last: int) -> None:
    """Noise of an asset from second to second."""
    end = START + timedelta(seconds=last)
    begin, step = START + timedelta(seconds=first), timedelta(milliseconds=1)
    times = pl.datetime_range(begin, end, step, closed="left", time_unit="us", eager=True)
    values = np.random.default_rng(first).normal(size=len(times))
    rows = pl.DataFrame({"tag": f"{asset}.de_h", "timestamp": times, "value": values})
    write_plant(plant, rows, now=START)


def stored(plant: Plant) -> pl.DataFrame:
    """Every row ever appended, in order."""
    return FeatureTable(plant, plant.views[NAME]).scan().sort("asset", "event_timestamp").collect()


def online(plant: Plant, asset: str) -> dict[str, object]:
    """The asset's online value and its event timestamp."""
    columns = [name for name in stored(plant).columns if name not in {"asset", "event_timestamp", "created_timestamp"}]
    refs = [f"{NAME}:{name}" for name in columns]
    found = readings(feast_repo.open_feature_store(plant), refs, asset, now=START + timedelta(hours=1))
    assert len({each.event_timestamp for each in found}) == 1
    values = {name: each.value for name, each in zip(columns, found, strict=True)}
    return {"event_timestamp": found[0].event_timestamp, **values}


def newest(plant: Plant, asset: str) -> dict[str, object]:
    """The value and event timestamp of the asset's newest stored row."""
    rows = stored(plant).filter(pl.col("asset") == asset).drop("asset", "created_timestamp")
    return rows.row(-1, named=True)


@pytest.mark.slow
def test_rows_appended_before_a_kill_are_online_after_the_next_start(plant: Plant, warm: Path) -> None:
    """This holds for a new online store and an existing one; no row is appended again."""
    feast_repo.apply(plant)
    write(plant, "c101", 0, 3)
    killed(plant, warm)
    assert stored(plant).height == 3
    assert online(plant, "c101")["event_timestamp"] is None

    first = newest(plant, "c101")
    write(plant, "c101", 3, 5)
    killed(plant, warm)
    assert stored(plant).height == 5
    assert online(plant, "c101") == first  # the next start had caught up before it was killed in its turn

    # Of c101 nothing is due any more: only catching up can put its rows online. Those of c102 are older than they are.
    write(plant, "c102", 0, 2)
    record = follow_until_reported(plant)
    assert record["feature_rows"] == 2
    rows = stored(plant)
    assert rows.select("asset", "event_timestamp").rows() == [
        *(("c101", START + timedelta(seconds=second)) for second in range(1, 6)),
        *(("c102", START + timedelta(seconds=second)) for second in range(1, 3)),
    ]
    for asset in ("c101", "c102"):
        assert online(plant, asset) == newest(plant, asset)
