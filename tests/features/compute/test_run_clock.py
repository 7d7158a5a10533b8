"""Wrong clocks: windows in the future wait until their time has come, and nothing waits for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from features.compute.run import compute
from historian.stores.memory import MemoryStore
from historian.times import micros
from tests.features.compute.pumps import (
    BURST,
    EPOCH,
    NOW,
    PROCESS,
    SECOND,
    START,
    at,
    at_once,
    batch,
    newest,
    plant,
    signal,
    stored,
    write,
)


def test_a_wild_clock_does_no_harm(tmp_path: Path) -> None:
    """One sample dated 2099: its own window is reported, and the years between are not searched."""
    store, site = MemoryStore(), plant(tmp_path, EPOCH, PROCESS)
    future = micros(datetime(2099, 1, 1, tzinfo=UTC))
    for tag in ("p1.de_h", "p1.oil_temp"):
        write(store, signal(tag, 0, 20, period=0.001 if tag == "p1.de_h" else 1), source="live", now=NOW)
        write(store, batch(tag, [micros(START) + 30_000_000, future], [1.0, 2.0]), source="live", now=NOW)
    reports = compute(site, store, at(NOW))
    assert reports["pump_epoch"].windows < 50
    assert reports["pump_process"].windows < 50
    write(store, signal("p1.de_h", 20, 5), source="live", now=NOW)
    compute(site, store, at(NOW + SECOND))
    last = newest(site, EPOCH).filter(pl.col("de_h_valid"))["event_timestamp"].max()
    assert last == START + 25 * SECOND


def test_a_clock_that_is_ahead_does_not_end_the_waiting(tmp_path: Path) -> None:
    """After a sample stamped tomorrow, windows that end after now stay pending and are listed once they are past."""
    store, site = MemoryStore(), plant(tmp_path, EPOCH)
    noon = START + SECOND * 3.3
    write(store, signal("p1.de_h", 0, 3.3), source="live", now=noon)
    write(store, batch("p1.de_h", [micros(START + timedelta(days=1))], [1.0]), source="live", now=noon)
    compute(site, store, at(noon))
    assert stored(site, EPOCH)["event_timestamp"].max() == START + 3 * SECOND
    assert stored(site, EPOCH)["de_h_valid"].to_list() == [False, *[True] * 5]
    write(store, signal("p1.de_h", 3.3, 0.5), source="live", now=noon + SECOND)
    compute(site, store, at(START + SECOND * 3.8))
    assert stored(site, EPOCH)["event_timestamp"].max() == START + 3.5 * SECOND
    write(store, signal("p1.nde_h", 0, 1), source="live", now=noon + SECOND)
    compute(site, store, at(NOW))
    rows = newest(site, EPOCH).filter(pl.col("event_timestamp") > START + 3.5 * SECOND)
    assert ((rows["event_timestamp"] - START) / SECOND).to_list() == [4, 4.5]


def test_a_burst_that_waited_for_the_clock_is_listed(tmp_path: Path) -> None:
    """Its window ended after now, and a sample stamped tomorrow had arrived; the next run with a change lists it."""
    noon, tomorrow = START + SECOND * 0.3, micros(START + timedelta(days=1))
    store, site = MemoryStore(), plant(tmp_path, BURST)
    batches = [signal("p1.de_h", 0, 0.25), batch("p1.de_h", [tomorrow], [1.0]), signal("p1.nde_h", 50, 1)]
    for each in batches[:2]:
        write(store, each, source="live", now=noon)
    compute(site, store, at(noon))
    assert stored(site, BURST).is_empty()
    write(store, batches[2], source="live", now=NOW)
    compute(site, store, at(NOW))
    assert_frame_equal(newest(site, BURST), at_once(batches, BURST))


def test_pending_windows_are_listed_although_another_asset_wrote_meanwhile(tmp_path: Path) -> None:
    """An asset whose clock is four seconds ahead stops reporting; another one goes on for a while."""
    store, site = MemoryStore(), plant(tmp_path, EPOCH)
    write(store, signal("p1.de_h", 0, 10), source="live", now=START + 6 * SECOND)
    compute(site, store, at(START + 6 * SECOND))
    write(store, signal("p2.de_h", 0, 8), source="live", now=START + 8 * SECOND)
    compute(site, store, at(START + 8 * SECOND))
    assert newest(site, EPOCH).filter(asset="p1")["event_timestamp"].max() == START + 8 * SECOND
    assert compute(site, store, at(START + 9 * SECOND))["pump_epoch"].windows == 0
    compute(site, store, at(START + 10 * SECOND))
    assert newest(site, EPOCH)["asset"].value_counts(sort=True).rows() == [("p1", 20), ("p2", 16)]
    assert compute(site, store, at(NOW))["pump_epoch"].windows == 0
