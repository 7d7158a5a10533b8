"""The runner: sources that fail, end, talk nonsense or never stop talking, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bridge.delivery.forwarder import Forwarder
from bridge.drivers.protocols import open_source
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.edge.spool import Spool
from bridge.ingest import intake as bridge_intake
from bridge.ingest.coverage import Coverage, stretches
from bridge.run.stream import Pump, stream
from historian.errors import ConfigError, NotConnected
from historian.plant.connections import ConnectionConfig, Tag
from historian.quality import BAD_NOT_CONNECTED
from historian.samples import SCHEMA
from historian.stores.memory import MemoryStore

T0 = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
Feeds = Callable[..., ConnectionConfig]


def raw(*rows: tuple[str | None, int, float | None]) -> pl.DataFrame:
    """Raw rows of (tag, second, value)."""
    filled = [(tag, T0 + timedelta(seconds=second), value, None, 0) for tag, second, value in rows]
    return pl.DataFrame(filled, schema=SCHEMA, orient="row")


def run(edge: Edge, store: Any, feeds: Sequence[ConnectionConfig], *, seconds: float | None = None) -> list[Pump]:
    """Streams until all sources have ended, or for so long."""
    pumps = [Pump(feed, edge, clock=lambda: NOW) for feed in feeds]
    forwarder = Forwarder(edge, store, [feed.name for feed in feeds])

    async def main() -> None:
        stop = asyncio.Event()
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, stop.set)
        async with asyncio.timeout(30):
            await stream(pumps, forwarder, stop)

    asyncio.run(main())
    return pumps


def stored(store: MemoryStore) -> pl.DataFrame:
    """All samples in the store."""
    return pl.concat([SCHEMA.to_frame(), *store.read(["a", "b"], T0, T0 + 9 * DAY)]).sort("tag", "timestamp")


def test_what_a_source_says_reaches_the_store(edge: Edge, source_feed: Feeds) -> None:
    """In any order and with repeats; the stretch between its first and last sample counts as covered."""
    store = MemoryStore()
    lines = [raw(("b", 1, 5.0), ("a", 0, 1.0), ("a", 0, 1.0)), raw(), raw(("a", 9, 2.0))]
    [pump] = run(edge, store, [source_feed("s", lines)])
    assert_frame_equal(stored(store), raw(("a", 0, 1.0), ("a", 9, 2.0), ("b", 1, 5.0)))
    microsecond = timedelta(microseconds=1)
    covered = stretches(["a"], T0, T0 + timedelta(seconds=9) + microsecond)
    assert_frame_equal(Coverage(edge).of(["a"], T0, T0 + DAY), covered)
    assert (pump.intake.samples, pump.intake.quarantined, pump.connections) == (3, 0, 1)


def test_what_breaks_the_rules_goes_to_quarantine_and_the_rest_goes_on(
    edge: Edge, source_feed: Feeds, make_tag: Callable[..., Tag]
) -> None:
    """Conflicts, values out of range after scaling, unknown tags, rows without a tag."""
    store = MemoryStore()
    lines = [raw(("a", 0, 1.0), ("a", 0, 2.0), ("a", 1, 60.0), ("x", 1, 1.0), (None, 1, 1.0), ("a", 2, 49.0))]
    [pump] = run(edge, store, [source_feed("s", lines, make_tag("a", scale=2.0, range=(0.0, 100.0)))])
    assert_frame_equal(stored(store), raw(("a", 0, 2.0), ("a", 2, 98.0)))
    told = Quarantine(edge).rows().select("reason", "value", "origin").sort("reason").rows()
    assert told == [
        ("another value has the same tag and time", 2.0, "s"),
        ("no tag, time or quality", 1.0, "s"),
        ("outside its range [0, 100]", 120.0, "s"),
        ("unknown tag", 1.0, "s"),
    ]
    assert (pump.intake.samples, pump.intake.quarantined, pump.intake.conflicts) == (2, 4, 1)


def test_a_lost_connection_is_made_again_and_the_outage_is_a_bad_sample(edge: Edge, source_feed: Feeds) -> None:
    """For each tag one, so that no older value stands for the present; coverage has a hole there."""
    store = MemoryStore()
    feed = source_feed("s", [raw(("a", 0, 1.0)), NotConnected("cut"), raw(("a", 9, 2.0))])
    [pump] = run(edge, store, [feed])
    lost = [(tag, NOW, None, None, BAD_NOT_CONNECTED) for tag in ("a", "b")]
    outage = pl.DataFrame(lost, schema=SCHEMA, orient="row")
    expected = pl.concat([raw(("a", 0, 1.0), ("a", 9, 2.0)), outage]).sort("tag", "timestamp")
    assert_frame_equal(stored(store), expected)
    assert Coverage(edge).of(["a"], T0, T0 + timedelta(hours=1)).height == 2
    assert (pump.connections, pump.trouble) == (2, "")


def test_one_failing_source_does_not_stop_the_others(edge: Edge, source_feed: Feeds) -> None:
    """Neither one that cannot connect nor one with a fault in its driver, which are tried again."""
    store = MemoryStore()
    failing = source_feed("failing", [NotConnected("nobody answers")] * 9)
    faulty = source_feed("faulty", [ZeroDivisionError("a fault in the driver"), raw(("b", 1, 5.0))])
    healthy = source_feed("healthy", [raw(("a", number, float(number))) for number in range(20)])
    pumps = run(edge, store, [failing, faulty, healthy], seconds=1.5)
    assert_frame_equal(stored(store).filter(quality=0), pl.concat([healthy_rows(20), raw(("b", 1, 5.0))]))
    assert pumps[0].trouble == "nobody answers"


def healthy_rows(count: int) -> pl.DataFrame:
    """What the healthy source says in all."""
    return raw(*(("a", number, float(number)) for number in range(count)))


def test_rows_that_are_no_samples_at_all_are_a_fault_of_the_driver(edge: Edge, source_feed: Feeds) -> None:
    """It is told and connected again; what follows is stored."""
    store = MemoryStore()
    run(edge, store, [source_feed("s", [pl.DataFrame({"nonsense": [1]}), raw(("a", 0, 1.0))])])
    assert_frame_equal(stored(store).filter(quality=0), raw(("a", 0, 1.0)))


def test_it_stops_when_told_to_and_empties_the_spool(edge: Edge, source_feed: Feeds) -> None:
    """Even in the middle of a read that would never return."""
    store = MemoryStore()
    feed = source_feed("s", [raw(("a", 0, 1.0)), asyncio.Event()])
    run(edge, store, [feed], seconds=0.2)
    assert_frame_equal(stored(store), raw(("a", 0, 1.0)))
    assert Spool(edge).waiting() == {}
    assert vars(open_source(feed))["closed"] == 1


def test_nothing_is_lost_while_the_store_is_down(edge: Edge, source_feed: Feeds, make_store: Any) -> None:
    """It waits in the spool and is stored by the next run."""
    store = make_store()
    store.down = True
    run(edge, store, [source_feed("s", [raw(("a", 0, 1.0)), raw(("a", 1, 2.0))])], seconds=0.2)
    assert Spool(edge).waiting() == {"s": 2}
    store.down = False
    run(edge, store, [source_feed("s", [raw(("a", 2, 3.0))])])
    assert_frame_equal(stored(store.memory), raw(("a", 0, 1.0), ("a", 1, 2.0), ("a", 2, 3.0)))


def test_a_source_is_not_read_while_the_spool_is_full(edge: Edge, source_feed: Feeds, make_store: Any) -> None:
    """What it said last is kept until there is room; nothing is lost."""
    store, count = make_store(), 8
    store.down = True
    feed = source_feed("s", [raw(("a", number, float(number))) for number in range(count)])
    pump = Pump(feed, edge, clock=lambda: NOW)
    pump.intake = bridge_intake.Intake(feed, edge, max_bytes=8_000)
    spool = Spool(edge)

    async def main() -> list[int]:
        stop, waiting = asyncio.Event(), []
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            running = group.create_task(stream([pump], Forwarder(edge, store, ["s"]), stop))
            for _ in range(2):
                await asyncio.sleep(0.4)
                waiting.append(spool.waiting()["s"])
            store.down = False
            await running
        return waiting

    first, later = asyncio.run(main())
    assert 0 < first == later < count
    assert_frame_equal(stored(store.memory), healthy_rows(count))


def test_what_has_been_begun_is_finished_when_it_stops(edge: Edge, source_feed: Feeds) -> None:
    """A batch on its way to the disk is counted and stored, though the stop comes first."""
    store, held = MemoryStore(), Event()
    feed = source_feed("s", [raw(("a", 0, 1.0)), asyncio.Event()])
    pump = Pump(feed, edge, clock=lambda: NOW)

    def busy() -> None:
        with edge.transaction():
            held.wait(10)

    async def main() -> None:
        stop = asyncio.Event()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(busy))
            group.create_task(stream([pump], Forwarder(edge, store, ["s"]), stop))
            await asyncio.sleep(0.3)
            stop.set()
            await asyncio.sleep(0.1)
            held.set()

    asyncio.run(main())
    assert_frame_equal(stored(store), raw(("a", 0, 1.0)))
    assert pump.intake.samples == 1


def test_an_archive_cannot_be_streamed(edge: Edge, archive_feed: Feeds) -> None:
    """Which is found before any connection opens."""
    with pytest.raises(ConfigError, match="it cannot stream"):
        Pump(archive_feed("old", [raw()]), edge)
