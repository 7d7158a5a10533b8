"""Interruptions of connections, of clocks and of the bridge: the newest value is never an outdated one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from historian.errors import NotConnected
from historian.intervals import intervals
from historian.quality import BAD_NOT_CONNECTED
from historian.stores.memory import MemoryStore
from tests.bridge.run.scripted import (
    DAY,
    SECOND,
    T0,
    Clock,
    Connections,
    bridge_of,
    outage,
    raw,
    run,
    stored,
)


@pytest.mark.parametrize("wrong", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2000, 1, 1, 0, 0, 7, tzinfo=UTC)])
def test_a_clock_that_was_wrong_covers_no_decades(
    edge: Edge, live: Connections, tmp_path: Path, wrong: datetime
) -> None:
    """A PLC starts with a wrong clock which NTP then sets: the years between are not covered."""
    clock = Clock()
    second = (wrong - T0) / SECOND
    lines = [clock.at(1), raw(("a", second, -1.0)), clock.at(2), raw(("a", 2, 1.0)), clock.at(3), raw(("a", 3, 2.0))]
    store = MemoryStore()
    run(bridge_of(edge, store, [live("s", lines)], tmp_path, clock))
    covered = Coverage(edge).of(["a"], datetime(1900, 1, 1, tzinfo=UTC), T0 + DAY)
    assert_frame_equal(covered, intervals(["a"], T0, T0 + 3 * SECOND + timedelta(microseconds=1)))
    assert Quarantine(edge).counts().select("reason", "rows").rows() == [("timestamp more than ten years old", 1)]


def test_a_lost_connection_is_made_again_and_the_outage_is_a_bad_sample(
    edge: Edge, live: Connections, tmp_path: Path
) -> None:
    """Each tag has one, from when the source was last heard; coverage has a gap there."""
    store, clock = MemoryStore(), Clock()
    lines = [
        *(clock.at(1), raw(("a", 1, 1.0)), clock.at(2), raw(("b", 2, 1.0)), clock.at(60), NotConnected("cut")),
        *(clock.at(90), raw(("a", 89, 2.0))),
    ]
    bridge = bridge_of(edge, store, [live("s", lines)], tmp_path, clock)
    report = run(bridge)
    expected = pl.concat([raw(("a", 1, 1.0), ("a", 89, 2.0), ("b", 2, 1.0)), outage(2, "a"), outage(2.000001, "b")])
    assert_frame_equal(stored(store), expected.sort("tag", "timestamp"))
    assert Coverage(edge).of(["a"], T0, T0 + timedelta(hours=1)).height == 2
    assert (report.sources["s"].connections, report.sources["s"].last_error) == (2, "")


def test_a_device_clock_behind_ours_does_not_stay_bad(edge: Edge, live: Connections, tmp_path: Path) -> None:
    """Its Good samples after the outage are the newest at once."""
    store, clock = MemoryStore(), Clock()
    lines = [
        *(clock.at(1), raw(("a", 1 - 3600, 1.0)), clock.at(2), raw(("a", 2 - 3600, 1.5)), NotConnected("cut")),
        *(clock.at(30), raw(("a", 30 - 3600, 2.0))),
    ]
    run(bridge_of(edge, store, [live("s", lines)], tmp_path, clock))
    assert_frame_equal(store.latest(["a"]), raw(("a", 30 - 3600, 2.0)))


def test_a_node_that_did_not_change_is_good_again_after_an_outage(
    edge: Edge, live: Connections, tmp_path: Path
) -> None:
    """The server repeats its old value with its old timestamp."""
    store, clock = MemoryStore(), Clock()
    lines = [clock.at(1), raw(("a", -500, 7.0)), clock.at(2), NotConnected("cut"), clock.at(30), raw(("a", -500, 7.0))]
    run(bridge_of(edge, store, [live("s", lines)], tmp_path, clock))
    assert_frame_equal(store.latest(["a"]), raw(("a", 30, 7.0)))


def test_a_restart_of_the_bridge_is_a_bad_sample(edge: Edge, live: Connections, tmp_path: Path) -> None:
    """It is stamped when the previous run last heard the source; the first run writes none."""
    store, clock = MemoryStore(), Clock()
    run(bridge_of(edge, store, [live("s", [clock.at(5), raw(("a", 5, 1.0))])], tmp_path, clock))
    assert_frame_equal(stored(store), raw(("a", 5, 1.0)))
    clock.at(100)()
    run(bridge_of(edge, store, [live("s", [clock.at(101), raw(("a", 101, 2.0))])], tmp_path, clock))
    marks = pl.concat([outage(5.000001, "a"), outage(5, "b")])
    expected = pl.concat([raw(("a", 5, 1.0), ("a", 101, 2.0)), marks])
    assert_frame_equal(stored(store), expected.sort("tag", "timestamp"))


def test_after_a_kill_the_bad_sample_is_later_than_all_accepted_samples(
    edge: Edge, live: Connections, tmp_path: Path
) -> None:
    """The status is written only now and then and may be lost: what the spool accepted last counts too."""
    store, clock = MemoryStore(), Clock()
    run(bridge_of(edge, store, [live("s", [clock.at(5), raw(("a", 5, 1.0))])], tmp_path, clock))
    (tmp_path / "status.db").unlink()
    clock.at(100)()
    run(bridge_of(edge, store, [live("s", [])], tmp_path, clock))
    assert store.latest(["a"])["quality"].to_list() == [BAD_NOT_CONNECTED]
