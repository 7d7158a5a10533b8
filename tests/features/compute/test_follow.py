"""`penstock compute --follow`: what is written while it runs is computed and online, late data too."""

from __future__ import annotations

import json
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import numpy as np
import polars as pl
import pytest

from benchmarks.jobs import live
from features.cli.compute import compute
from features.compute.follow import Follower, RoundFailure, RoundReport, plant_follower, wait_after
from features.compute.online_rows import Online, online_rows
from features.feast.online.lookup import readings
from features.feast.registry import feast_repo
from features.tables.feature_table import FeatureTable
from historian.errors import FeatureError, InvalidInput, NotEnoughData, StoreUnavailable
from historian.plant.plant import Plant, View
from historian.stores.open import open_store
from tests.features.stretches import write_plant

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = START + timedelta(hours=1)
NAME = "compressor_vibration"


def write(plant: Plant, first: float, last: float, level: float) -> None:
    """A square wave of c101 from second to second, of that level."""
    step = np.arange(round(first * 1000), round(last * 1000))
    times = (pl.Series(step, dtype=pl.Int64) * 1000 + int(START.timestamp() * 1e6)).cast(pl.Datetime("us", "UTC"))
    rows = pl.DataFrame({"tag": "c101.de_h", "timestamp": times, "value": level * (-1.0) ** step})
    write_plant(plant, rows, now=START)


def peak_to_peak(plant: Plant) -> tuple[object, datetime | None]:
    """The online value of c101 and its event timestamp."""
    (found,) = readings(feast_repo.open_feature_store(plant), [f"{NAME}:de_h_p2p"], "c101", now=NOW)
    return found.value, found.event_timestamp


def test_live_and_late_samples_are_online_after_their_round(plant: Plant) -> None:
    """Stored samples are computed first, then what is written between rounds, including a correction."""
    feast_repo.apply(plant)
    online = online_rows(feast_repo.open_feature_store(plant), lambda: NOW)
    stop, seen = Event(), list[tuple[object, datetime | None]]()
    arrivals = iter([(1.0, 3.0, 2.0), (2.5, 3.0, 5.0), None])
    write(plant, 0, 1, 1.0)

    def report(done: RoundReport | RoundFailure) -> None:
        assert isinstance(done, RoundReport)
        assert done.view == NAME
        seen.append(peak_to_peak(plant))
        arrival = next(arrivals)
        if arrival is None:
            stop.set()
        else:
            write(plant, *arrival)

    Follower(plant, open_store(plant), lambda: NOW, [NAME], online).run(stop, pause=0.05, report=report)
    assert seen == [
        (2.0, START + timedelta(seconds=1)),
        (4.0, START + timedelta(seconds=3)),
        (10.0, START + timedelta(seconds=3)),
    ]
    stored = FeatureTable(plant, plant.views[NAME]).scan().collect()
    assert (stored.height, stored["event_timestamp"].n_unique()) == (4, 3)


def test_a_store_that_fails_is_retried(plant: Plant) -> None:
    """Rows that could not be written online are written in a later round."""
    stop, events = Event(), list[str]()

    def catch_up() -> None:
        events.append("catch up")

    def write_online(_: View, rows: pl.DataFrame) -> None:
        events.append(f"{rows.height} rows")
        raise StoreUnavailable("the online store is away")

    def report(done: RoundReport | RoundFailure) -> None:
        assert isinstance(done, RoundFailure)
        events.append(done.error)

    def stop_after_second_catch_up() -> None:
        catch_up()
        if events.count("catch up") == 2:
            stop.set()

    write(plant, 0, 2, 1.0)
    online = Online(write_online, stop_after_second_catch_up)
    Follower(plant, open_store(plant), lambda: NOW, [NAME], online).run(stop, pause=0.01, report=report)
    assert events == ["catch up", "2 rows", "the online store is away", "catch up"]


def test_needs_registered_features_and_a_duration(plant: Plant) -> None:
    """The error is raised before anything is computed."""
    with pytest.raises(NotEnoughData, match="penstock apply"):
        plant_follower(plant, open_store(plant), lambda: NOW, [], memory=2**30)
    with pytest.raises(InvalidInput, match=r"--every: 'often'"):
        compute(plant.root, follow=True, every="often")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_the_round(plant: Plant, warm: Path, number: signal.Signals) -> None:
    """Each round that did something prints one JSON line, and the exit code is 0."""
    feast_repo.apply(plant)
    write(plant, 0, 3, 1.0)
    command = [str(warm / "penstock"), "compute", "--follow", "--json", "--plant", str(plant.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        record = json.loads(process.stdout.readline())
        process.send_signal(number)
        rest, _ = process.communicate(timeout=30)
    assert (record["view"], record["feature_rows"], rest, process.returncode) == (NAME, 3, "", 0)


@pytest.mark.slow
def test_features_of_fifty_assets_are_online_soon_after_their_window(tmp_path: Path) -> None:
    """Written live by another process, and none is left out. How soon: `python -m benchmarks.jobs follow_latency`."""
    latencies = live(tmp_path, assets=50, rate=256, seconds=35)
    assert len(latencies) > 100
    assert min(latencies) > 0
    assert np.percentile(latencies, 99) < 10  # a round that was missed takes longer


def test_unavailable_feature_tables_are_retried(plant: Plant) -> None:
    """A network drive is gone for some rounds, so that the tables cannot even be opened."""
    stop, events = Event(), list[str]()
    tables, aside = plant.state / "features", plant.state / "aside"

    def report(done: RoundReport | RoundFailure) -> None:
        events.append("failed" if isinstance(done, RoundFailure) else "computed")
        if events == ["failed", "failed"]:
            tables.unlink()
            aside.rename(tables)
        if events[-1] == "computed":
            stop.set()

    def catch_up() -> None:
        if not events:
            tables.rename(aside)
            tables.write_text("no directory")

    write(plant, 0, 2, 1.0)
    online = Online(lambda _, __: None, catch_up)
    Follower(plant, open_store(plant), lambda: NOW, [NAME], online).run(stop, pause=0.01, report=report)
    assert events == ["failed", "failed", "computed"]


def test_waits_longer_after_each_failure_and_never_gives_up() -> None:
    """The delay has a bound, even after more failures than a float can double."""
    assert [wait_after(failures) for failures in (0, 1, 2, 3, 6, 5000)] == [0, 1, 3, 7, 60, 60]


def test_a_view_registered_with_a_column_it_no_longer_has_ends_with_advice(plant: Plant) -> None:
    """The plant file was changed without a new apply."""
    feast_repo.apply(plant)
    online = online_rows(feast_repo.open_feature_store(plant), lambda: NOW)
    rows = FeatureTable(plant, plant.views[NAME]).schema.to_frame().drop("de_h_p2p")
    with pytest.raises(FeatureError, match=r"no column de_h_p2p.*penstock apply"):
        online.write(plant.views[NAME], rows)
