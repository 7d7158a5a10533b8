"""Streaming from sources that fail, end, send invalid rows or never stop, in parallel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import ByteSize

from bridge.drivers.protocols import open_source
from bridge.edge.batches import Batches
from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.edge.spool import Spool
from bridge.ingest.ingest import Ingest
from historian.errors import AccessDenied, NotConnected
from historian.intervals import intervals
from historian.plant.connections import Tag
from historian.plant.model import SpoolBounds
from historian.quality import OVERFLOW
from historian.samples import sample_batch
from historian.status import SourceStatus, StatusFile
from historian.stores.memory import MemoryStore
from tests.bridge.run.scripted import (
    DAY,
    SECOND,
    T0,
    Clock,
    Connections,
    bridge_of,
    healthy_rows,
    raw,
    run,
    stored,
)


def test_what_a_source_reports_is_stored(edge: Edge, live: Connections, tmp_path: Path) -> None:
    """Rows may come in any order and repeat; the time since the session's start is covered."""
    store, clock = MemoryStore(), Clock()
    lines = [clock.at(5), raw(("b", 1, 5.0), ("a", 0, 1.0), ("a", 0, 1.0)), raw(), clock.at(9), raw(("a", 9, 2.0))]
    bridge = bridge_of(edge, store, [live("s", lines)], tmp_path, clock)
    report = run(bridge)
    assert_frame_equal(stored(store), raw(("a", 0, 1.0), ("a", 9, 2.0), ("b", 1, 5.0)))
    covered = intervals(["a"], T0, T0 + 9 * SECOND + timedelta(microseconds=1))
    assert_frame_equal(Coverage(edge).of(["a"], T0, T0 + DAY), covered)
    assert (report.samples_streamed, report.samples_stored, report.quarantined) == (3, 3, 0)
    assert (report.sources["s"].connections, report.connected) == (1, True)


def test_what_breaks_the_rules_goes_to_quarantine_and_the_rest_goes_on(
    edge: Edge, live: Connections, make_tag: Callable[..., Tag], tmp_path: Path
) -> None:
    """Conflicts, values out of range after scaling, unknown tags and rows without a tag are quarantined."""
    store = MemoryStore()
    lines = [raw(("a", 0, 1.0), ("a", 0, 2.0), ("a", 1, 60.0), ("x", 1, 1.0), (None, 1, 1.0), ("a", 2, 49.0))]
    tag = make_tag("a", scale=2.0, range=(0.0, 100.0))
    bridge = bridge_of(edge, store, [live("s", lines, tag)], tmp_path)
    report = run(bridge)
    assert_frame_equal(stored(store), raw(("a", 0, 2.0), ("a", 2, 98.0)))
    kept = Quarantine(edge).rows().select("reason", "value", "origin").sort("reason").rows()
    assert kept == [
        ("another value has the same tag and time", 4.0, "s"),
        ("no tag, time or quality", 1.0, "s"),
        ("outside its range [0, 100]", 120.0, "s"),
        ("unknown tag", 1.0, "s"),
    ]
    assert (report.samples_streamed, report.quarantined, bridge.sources[0].ingest.conflicts) == (2, 4, 1)


def test_what_is_rejected_is_durable_before_the_rest_is(edge: Edge, live: Connections, tmp_path: Path) -> None:
    """If the quarantine cannot be written, nothing of the batch enters the spool."""
    with edge.transaction() as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON quarantine BEGIN SELECT RAISE(ABORT, 'no room'); END")
    lines = [raw(("a", 0, 1.0), ("x", 1, 1.0)), raw(("a", 5, 2.0))]
    store = MemoryStore()
    run(bridge_of(edge, store, [live("s", lines)], tmp_path))
    assert_frame_equal(stored(store).filter(quality=0), raw(("a", 5, 2.0)))


def test_one_failing_source_does_not_stop_the_others(edge: Edge, live: Connections, tmp_path: Path) -> None:
    """The source cannot connect, or has a defect in its driver, or cannot be closed."""
    store = MemoryStore()
    failing = live("failing", [NotConnected("nobody answers")] * 9_999)
    faulty = live("faulty", [ZeroDivisionError("a fault in the driver"), raw(("b", 1, 5.0))])
    unclosable = live("unclosable", [NotConnected("gone"), raw(("b", 2, 6.0))])
    vars(open_source(unclosable))["close_error"] = OSError("the socket is no socket")
    healthy = live("healthy", [raw(("a", number, float(number))) for number in range(20)])
    bridge = bridge_of(edge, store, [failing, faulty, unclosable, healthy], tmp_path)
    others = bridge.sources[1:]
    report = run(bridge, until=lambda: all(source.state == "ended" for source in others))
    expected = pl.concat([healthy_rows(20), raw(("b", 1, 5.0), ("b", 2, 6.0))])
    assert_frame_equal(stored(store).filter(quality=0), expected)
    assert report.sources["failing"].last_error == "nobody answers"


def test_rows_that_are_no_samples_at_all_are_a_fault_of_the_driver(
    edge: Edge, live: Connections, tmp_path: Path
) -> None:
    """The fault is logged and the source reconnected; later rows are stored."""
    store = MemoryStore()
    lines = [pl.DataFrame({"nonsense": [1]}), raw(("a", 0, 1.0))]
    run(bridge_of(edge, store, [live("s", lines)], tmp_path))
    assert_frame_equal(stored(store).filter(quality=0), raw(("a", 0, 1.0)))


def test_it_stops_when_it_is_stopped_and_empties_the_spool(edge: Edge, live: Connections, tmp_path: Path) -> None:
    """This holds even in the middle of a read that would never return."""
    store = MemoryStore()
    connection = live("s", [raw(("a", 0, 1.0)), asyncio.Event()])
    run(bridge_of(edge, store, [connection], tmp_path), until=lambda: "s" in Spool(edge).accepted())
    assert_frame_equal(stored(store), raw(("a", 0, 1.0)))
    assert Spool(edge).waiting() == {}
    assert vars(open_source(connection))["closed"] == 1


class Stubborn:
    """A source whose library swallows the first cancellation, as asyncua's disconnect may."""

    def __init__(self) -> None:
        self.cancelled = 0

    async def connect(self) -> None:
        """At once."""

    async def read(self) -> pl.DataFrame:
        """Never returns; gives in to the second cancellation."""
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                if self.cancelled == 2:
                    raise

    async def close(self) -> None:
        """At once."""


def test_a_source_that_swallows_a_cancellation_is_cancelled_again(
    edge: Edge, live: Connections, tmp_path: Path
) -> None:
    """A stop always ends."""
    connection, source = live("s", []), Stubborn()
    vars(connection.driver)["source"] = lambda _: source
    bridge = bridge_of(edge, MemoryStore(), [connection], tmp_path)

    async def main() -> None:
        stop = asyncio.Event()
        async with asyncio.timeout(30):
            running = asyncio.create_task(bridge.run(stop, cancel_again_s=0.05))
            while bridge.sources[0].state != "connected":
                await asyncio.sleep(0.01)
            stop.set()
            await running

    asyncio.run(main())
    assert source.cancelled == 2


def test_nothing_is_lost_while_the_store_is_down(
    edge: Edge, live: Connections, make_store: Any, tmp_path: Path
) -> None:
    """Samples wait in the spool and are stored by the next run."""
    store = make_store()
    store.down = True
    report = run(bridge_of(edge, store, [live("s", [raw(("a", 0, 1.0)), raw(("a", 1, 2.0))])], tmp_path))
    assert (Spool(edge).waiting(), report.store_error) == ({"s": 2}, "the store is down")
    store.down = False
    run(bridge_of(edge, store, [live("s", [raw(("a", 2, 3.0))])], tmp_path))
    expected = raw(("a", 0, 1.0), ("a", 1, 2.0), ("a", 2, 3.0))
    assert_frame_equal(stored(store.memory).filter(quality=0), expected)


class Locked:
    """A store that denies access."""

    def write(self, batch: pl.DataFrame, *, source: str, now: datetime) -> None:
        """See `Sink.write`."""
        raise AccessDenied("the token has expired")


def test_an_expired_token_stops_no_reading(edge: Edge, live: Connections, tmp_path: Path) -> None:
    """Samples wait in the spool; at the end the report says what a person must change."""
    lines = [raw(("a", number, float(number))) for number in range(30)]
    with pytest.raises(AccessDenied, match="the token has expired; what was read stays in the spool"):
        run(bridge_of(edge, Locked(), [live("s", lines)], tmp_path))
    assert Spool(edge).waiting() == {"s": 30}


def test_a_damaged_batch_of_one_source_stops_neither_it_nor_another(
    edge: Edge, live: Connections, tmp_path: Path
) -> None:
    """The next start is not stopped either."""
    spool, store = Spool(edge), MemoryStore()
    spool.append(Batches(sample_batch(raw(("b", 7, 7.0)))), source="s", now=T0)
    with edge.transaction() as database:
        database.execute("UPDATE spool SET payload = x'00'")
    edge.recent.forget([1])
    lines = [[raw(("a", number, float(number)))] for number in (1, 2)]
    report = run(bridge_of(edge, store, [live("s", lines[0]), live("t", lines[1])], tmp_path))
    assert_frame_equal(stored(store).filter(quality=0), raw(("a", 1, 1.0), ("a", 2, 2.0)))
    assert (spool.damaged(), report.store_error) == ({"s": 1}, "")
    [status, _] = StatusFile(tmp_path).bridge().sources
    assert status.damaged == 1


def test_a_mark_counts_only_if_all_that_it_relies_on_is_stored(
    edge: Edge, live: Connections, make_store: Any, tmp_path: Path
) -> None:
    """The batches since the last mark may have been damaged before they reached the store."""
    store, clock = make_store(), Clock()
    store.down = True

    def damage() -> None:
        with edge.transaction() as database:
            database.execute("UPDATE spool SET checksum = 0 WHERE id = 1")
        store.down = False

    lines = [clock.at(5), raw(("a", 4, 1.0)), clock.at(9), raw(("a", 8, 1.0)), damage]
    run(bridge_of(edge, store, [live("s", lines)], tmp_path, clock))
    assert Spool(edge).damaged() == {"s": 1}
    assert Coverage(edge).of(["a"], T0, T0 + DAY).is_empty()


def test_what_a_session_covered_is_marked_when_it_is_lost(edge: Edge, live: Connections, tmp_path: Path) -> None:
    """An outage may last for hours, and the bridge may be killed meanwhile."""
    clock = Clock()
    lines = [clock.at(5), raw(("a", 4, 1.0)), NotConnected("gone"), asyncio.Event()]
    bridge = bridge_of(edge, MemoryStore(), [live("s", lines)], tmp_path, clock)
    run(bridge, until=lambda: not Coverage(edge).of(["a"], T0, T0 + DAY).is_empty())


def test_a_source_is_not_read_while_the_spool_is_full(
    edge: Edge, live: Connections, make_store: Any, tmp_path: Path
) -> None:
    """The last reading is kept until there is room; nothing is lost."""
    store, count = make_store(), 30
    store.down = True
    connection = live("s", [raw(("a", number, float(number))) for number in range(count)])
    bridge, spool = bridge_of(edge, store, [connection], tmp_path), Spool(edge)
    bridge.sources[0].ingest = Ingest(connection, edge, live=True, bounds=SpoolBounds(max_size=ByteSize(400)))

    async def main() -> list[int]:
        stop, waiting = asyncio.Event(), []
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            running = group.create_task(bridge.run(stop))
            while not bridge.sources[0].ingest.spool_full:
                await asyncio.sleep(0.01)
            for _ in range(2):
                waiting.append(spool.waiting()["s"])
                await asyncio.sleep(0.2)
            store.down = False
            await running
        return waiting

    first, later = asyncio.run(main())
    assert 0 < first == later < count
    assert bridge.sources[0].ingest.refused >= 1
    assert_frame_equal(stored(store.memory), healthy_rows(count))


def test_a_full_spool_may_discard_the_oldest_instead(
    edge: Edge, live: Connections, make_store: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading goes on, the newest samples are stored, and the others are counted; the log says how long room lasts."""
    store, clock, lines = make_store(), Clock(), list[Any]()
    store.down = True
    for number in range(9):
        lines += [clock.at(number), raw(("a", number, float(number)))]
    lines.append(lambda: setattr(store, "down", False))
    bounds = SpoolBounds(max_age=timedelta(seconds=3), when_full="discard-oldest")
    with caplog.at_level("INFO"):
        run(bridge_of(edge, store, [live("s", lines)], tmp_path, clock, bounds=bounds))
    assert_frame_equal(stored(store.memory), raw(*(("a", number, float(number)) for number in range(5, 9))))
    [status] = StatusFile(tmp_path).bridge().sources
    assert (status.discarded, status.samples, status.waiting, status.refused) == (5, 9, 0, 0)
    assert "without the store the spool lasts" in caplog.text


def test_a_batch_in_progress_is_finished_when_the_bridge_stops(edge: Edge, live: Connections, tmp_path: Path) -> None:
    """A batch that is being written when the stop comes is counted and stored."""
    store, held, busy = MemoryStore(), Event(), Event()
    bridge = bridge_of(edge, store, [live("s", [raw(("a", 0, 1.0)), asyncio.Event()])], tmp_path)

    def occupy() -> None:
        with edge.transaction():
            busy.set()
            held.wait(10)

    async def main() -> None:
        stop = asyncio.Event()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(occupy))
            await asyncio.to_thread(busy.wait)
            group.create_task(bridge.run(stop))
            while bridge.sources[0].state != "connected":
                await asyncio.sleep(0.01)
            stop.set()
            await asyncio.sleep(0.05)
            held.set()

    asyncio.run(main())
    assert bridge.sources[0].ingest.samples == stored(store).height


def test_the_status_covers_sources_sinks_and_tags(edge: Edge, live: Connections, tmp_path: Path) -> None:
    """States, counts and errors with their start are written per source, sink and tag, while it runs and afterwards."""
    clock, store = Clock(), MemoryStore()
    lines = [clock.at(5), raw(("a", 4, 1.0), ("x", 4, 1.0)), asyncio.Event()]
    failing = live("failing", [NotConnected("nobody answers")] * 99_999)
    bridge = bridge_of(edge, store, [live("s", lines), failing], tmp_path, clock)
    seen: list[SourceStatus] = []

    def stored_and_reported() -> bool:
        seen[:] = StatusFile(tmp_path).bridge().sources
        return len(seen) == 2 and seen[1].samples == 1 and seen[0].error_since is not None

    run(bridge, until=stored_and_reported)
    assert [(each.name, each.samples, each.quarantined) for each in seen] == [("failing", 0, 0), ("s", 1, 1)]
    assert seen[0].last_error == "nobody answers"
    assert (seen[1].state, seen[1].connections) == ("connected", 1)
    after = StatusFile(tmp_path)
    assert [each.state for each in after.bridge().sources] == ["stopped", "stopped"]
    [sink] = after.bridge().sinks
    assert (sink.name, sink.state, sink.written) == ("store", "ok", 1)
    assert after.tags().select("tag", "source", "last").rows() == [("a", "s", T0 + 4 * SECOND), ("x", "s", None)][:1]


def test_values_that_a_servers_queue_dropped_are_counted_by_tag(edge: Edge, live: Connections, tmp_path: Path) -> None:
    """The Overflow bit says so, and the status has the numbers."""
    lost = raw(("a", 2, 1.0), ("a", 3, 1.0), ("b", 3, 1.0)).with_columns(quality=pl.lit(OVERFLOW, pl.UInt32))
    clock = Clock()
    lines = [clock.at(5), raw(("a", 1, 1.0)), lost, lost.with_columns(value=pl.lit(1.0))[:1], asyncio.Event()]
    bridge = bridge_of(edge, MemoryStore(), [live("s", lines)], tmp_path, clock)
    run(bridge, until=lambda: bridge.sources[0].overflows.total() == 4)
    [source] = StatusFile(tmp_path).bridge().sources
    assert (source.overflows, source.overflowing) == (4, {"a": 3, "b": 1})
