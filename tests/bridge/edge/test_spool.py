"""The spool keeps what it accepted, in order, within its bound."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ByteSize

from bridge.edge.batches import Batches
from bridge.edge.database import Edge
from bridge.edge.spool import Spool
from historian.errors import HistorianError, SpoolFull
from historian.intervals import INTERVALS, intervals, union
from historian.plant.model import SpoolBounds
from historian.samples import SCHEMA, newest_wins, sample_batch
from historian.waveforms.batch import empty_waveforms
from tests.bridge.edge.batches import SAMPLE, T0, bursts, numbered, samples
from tests.bridge.edge.steps import sqlite_steps

NOTHING = INTERVALS.to_frame()
SPAWN = multiprocessing.get_context("spawn")


def drained(spool: Spool, source: str, *, rows: int) -> list[pl.DataFrame]:
    """All waiting items, in the order of delivery."""
    found: list[pl.DataFrame] = []
    while item := spool.oldest(source, now=T0, max_memory=rows * SAMPLE):
        found.append(item.batches.samples)
        spool.delivered(item)
    return found


@settings(max_examples=25)
@given(st.lists(samples, max_size=20))
def test_a_batch_comes_out_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]]
) -> None:
    """Values, texts, qualities and microseconds."""
    batch = sample_batch(newest_wins(pl.DataFrame(rows, schema=SCHEMA, orient="row")))
    edge = Edge(tmp_path_factory.mktemp("edge") / "edge.db")
    Spool(edge).append(Batches(batch), source="s", now=T0, covered=NOTHING)
    item = Spool(edge).oldest("s", now=T0)
    edge.close()
    assert item is not None
    assert_frame_equal(item.batches.samples, batch, check_exact=True)


def test_batches_leave_in_the_order_they_came_source_by_source(edge: Edge) -> None:
    """Batches are joined into larger ones, up to about this many samples."""
    spool = Spool(edge)
    for first in range(0, 50, 10):
        spool.append(Batches(numbered(first, 10)), source="s", now=T0, covered=NOTHING)
        spool.append(Batches(numbered(first, 10, tag="b")), source="other", now=T0, covered=NOTHING)
    oldest = spool.oldest("s", now=T0, max_memory=25 * SAMPLE)
    assert oldest is not None
    assert oldest.more
    found = drained(spool, "s", rows=25)
    assert [batch.height for batch in found] == [20, 20, 10]
    assert_frame_equal(pl.concat(found), numbered(0, 50))
    assert spool.waiting() == {"other": 50}


def test_a_sample_given_again_replaces_the_earlier_one_when_joined(edge: Edge) -> None:
    """The store would do the same."""
    spool = Spool(edge)
    spool.append(Batches(numbered(0, 2)), source="s", now=T0, covered=NOTHING)
    again = sample_batch(numbered(1, 1).with_columns(value=pl.lit(9.0)))
    spool.append(Batches(again), source="s", now=T0, covered=NOTHING)
    item = spool.oldest("s", now=T0)
    assert item is not None
    assert item.batches.samples["value"].to_list() == [0.0, 9.0]


def test_an_item_carries_what_is_covered_once_it_is_stored(edge: Edge) -> None:
    """It has the intervals of all batches joined in it; an empty batch may have intervals, too."""
    spool = Spool(edge)
    day, minute = intervals(["a", "b"], T0, T0 + timedelta(days=1)), intervals(["a"], T0, T0 + timedelta(minutes=1))
    spool.append(Batches(numbered(0, 1)), source="s", now=T0, covered=minute)
    spool.append(Batches(), source="s", now=T0, covered=day)
    item = spool.oldest("s", now=T0)
    assert item is not None
    assert_frame_equal(item.covered, union(day))


def test_a_full_spool_refuses_and_accepts_again_when_drained(edge: Edge) -> None:
    """A refused batch is neither kept nor counted."""
    spool = Spool(edge, bounds=SpoolBounds(max_size=ByteSize(300)))
    spool.append(Batches(numbered(0, 1)), source="s", now=T0, covered=NOTHING)
    with pytest.raises(SpoolFull, match="drains as soon as the store can be written"):
        spool.append(Batches(numbered(1, 200)), source="s", now=T0, covered=NOTHING)
    assert spool.waiting() == spool.accepted() == {"s": 1}
    spool.append(Batches(numbered(0, 1)), source="other", now=T0, covered=NOTHING)
    drained(spool, "s", rows=1)
    spool.append(Batches(numbered(0, 1)), source="s", now=T0, covered=NOTHING)
    assert spool.accepted() == {"other": 1, "s": 2}


def test_a_batch_larger_than_the_bound_is_accepted_by_an_empty_spool(edge: Edge) -> None:
    """Refusing it for ever would stop the source for good."""
    spool = Spool(edge, bounds=SpoolBounds(max_size=ByteSize(10)))
    spool.append(Batches(numbered(0, 1)), source="s", now=T0, covered=NOTHING)
    assert spool.waiting() == {"s": 1}


def test_a_full_disk_is_a_full_spool(tmp_path: Path) -> None:
    """The source waits until there is space; no partial row stays behind."""
    edge = Edge(tmp_path / "edge.db")
    with edge.transaction() as database:
        pages = database.execute("PRAGMA page_count").fetchone()[0]
    edge.rows(f"PRAGMA max_page_count = {pages + 2}")
    noise = sample_batch(numbered(0, 4_000).with_columns(value=np.random.default_rng(0).normal(size=4_000)))
    with pytest.raises(SpoolFull, match="free some space on its disk"):
        Spool(edge).append(Batches(noise), source="s", now=T0, covered=NOTHING)
    assert Spool(edge).waiting() == {}
    edge.close()


def append_until_killed(path: Path, accepted: Connection) -> None:
    """A process that reports each batch after the spool has accepted it; every other one is in a segment."""
    spool = Spool(Edge(path))
    for number in range(1_000_000):
        waveforms = bursts(8 * number, 8) if number % 2 else empty_waveforms()
        spool.append(Batches(numbered(number, 1), waveforms), source="s", now=T0, covered=NOTHING)
        accepted.send(number)


def test_what_was_accepted_survives_kill_9(tmp_path: Path) -> None:
    """Every batch whose append returned is there, in order, and the counter agrees."""
    ours, theirs = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=append_until_killed, args=(tmp_path / "edge.db", theirs))
    process.start()
    theirs.close()
    reported = [ours.recv() for _ in range(20)]
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    while ours.poll():
        try:
            reported.append(ours.recv())
        except EOFError:
            break
    ours.close()
    edge = Edge(tmp_path / "edge.db")
    counted, stretches = Spool(edge).accepted()["s"], edge.rows("SELECT count(*) FROM spool WHERE segment IS NOT NULL")
    accepted = counted - stretches[0][0] * 8 * 2_560
    found = pl.concat(drained(Spool(edge), "s", rows=10))
    assert (Spool(edge).damaged(), Spool(edge).waiting()) == ({}, {})
    edge.close()
    assert list(tmp_path.glob("spool/*/*")) == []
    # The last one may have been accepted without our having heard of it.
    assert len(reported) <= accepted <= len(reported) + 1
    assert_frame_equal(found, numbered(0, accepted))


def open_and_append(path: Path, source: str) -> None:
    """A process among several that make the database at the same time."""
    spool = Spool(Edge(path))
    for number in range(20):
        spool.append(Batches(numbered(number, 1)), source=source, now=T0, covered=NOTHING)


def test_several_processes_share_one_database(tmp_path: Path) -> None:
    """They may even create it at the same time."""
    names = ["s0", "s1"]
    processes = [SPAWN.Process(target=open_and_append, args=(tmp_path / "edge.db", name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    edge = Edge(tmp_path / "edge.db")
    assert Spool(edge).accepted() == dict.fromkeys(names, 20)
    edge.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """The error says what to do."""
    (tmp_path / "edge.db").write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(HistorianError, match="move the file away to start with an empty one"):
        Edge(tmp_path / "edge.db")


def test_a_transaction_that_fails_leaves_nothing(edge: Edge) -> None:
    """Changes of a nested transaction are rolled back, too."""

    def fail() -> None:
        with edge.transaction() as database:
            Spool(edge).append(Batches(numbered(0, 1)), source="s", now=T0, covered=NOTHING)
            database.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(sqlite3.OperationalError):
        fail()
    assert Spool(edge).waiting() == {}


def test_a_batch_larger_than_an_item_is_delivered_whole(edge: Edge) -> None:
    """An item has at least one batch, whatever its size."""
    Spool(edge).append(Batches(numbered(0, 10)), source="s", now=T0)
    item = Spool(edge).oldest("s", now=T0, max_memory=5 * SAMPLE)
    assert item is not None
    assert_frame_equal(item.batches.samples, numbered(0, 10))


def test_appending_costs_the_same_however_much_waits(edge: Edge) -> None:
    """The number of SQLite steps per append does not grow with the spool's content."""
    spool = Spool(edge)

    def steps() -> int:
        return sqlite_steps(edge, lambda: spool.append(Batches(numbered(0, 1)), source="s", now=T0))

    steps()
    few = steps()
    with edge.transaction():
        for _ in range(1_000):
            spool.append(Batches(numbered(0, 1)), source="s", now=T0)
    assert steps() <= few * 1.5


def test_a_batch_of_one_sample_is_small(edge: Edge) -> None:
    """It takes less than 1 kB, its mark included."""
    Spool(edge).append(
        Batches(numbered(0, 1)), source="s", now=T0, covered=intervals(["a"], T0, T0 + timedelta(seconds=1))
    )
    assert Spool(edge).sizes()["s"] < 1_000


@pytest.mark.parametrize("column", ["payload", "waveforms", "covered"])
def test_a_damaged_batch_is_set_aside_and_stops_nothing(edge: Edge, column: str) -> None:
    """It is counted, its bytes are kept, and all batches after it are delivered."""
    spool = Spool(edge)
    for first in (0, 10, 20):
        spool.append(
            Batches(numbered(first, 10), bursts(first, 1)),
            source="s",
            now=T0,
            covered=intervals(["a"], T0, T0 + timedelta(days=1)),
        )
    with edge.transaction() as database:
        # As text, and one byte short: SQLite itself would refuse to read it back.
        database.execute(f"UPDATE spool SET {column} = x'78' || substr({column}, 3) WHERE id = 2")  # noqa: S608 - ours
    edge.recent.forget([2])
    found = pl.concat(drained(spool, "s", rows=10))
    assert_frame_equal(found, pl.concat([numbered(0, 10), numbered(20, 10)]))
    assert (spool.damaged(), spool.waiting(), spool.sizes()) == ({"s": 1}, {}, {"s": 0})
    kept = edge.rows("SELECT rows, length(payload) > 0, length(CAST(waveforms AS BLOB)) > 10000 FROM spool_damaged")
    assert kept == [(10 + 2_560, 1, 1)]


def test_what_relied_on_a_damaged_batch_is_not_covered(edge: Edge) -> None:
    """The mark of a slice holds only if every batch since its first was stored."""
    spool, day = Spool(edge), intervals(["a"], T0, T0 + timedelta(days=1))
    first = spool.append(Batches(numbered(0, 10)), source="s", now=T0)
    lost = spool.append(Batches(numbered(10, 10)), source="s", now=T0)
    spool.append(Batches(), source="s", now=T0, covered=day, covers_since=first)
    after = spool.append(Batches(numbered(20, 10)), source="s", now=T0)
    later = intervals(["a"], T0 + timedelta(days=2), T0 + timedelta(days=3))
    spool.append(Batches(), source="s", now=T0, covered=later, covers_since=after)
    with edge.transaction() as database:
        database.execute("UPDATE spool SET payload = x'00' WHERE id = ?", [lost])
    edge.recent.forget([lost])
    item = spool.oldest("s", now=T0)
    assert item is not None
    assert_frame_equal(item.covered, later)


def test_every_sink_gets_every_batch_at_its_own_pace(edge: Edge) -> None:
    """A batch is deleted once all sinks have it; a new sink gets what is there; a removed sink blocks nothing."""
    spool = Spool(edge)
    spool.append(Batches(numbered(0, 10)), source="s", now=T0)
    spool.register("store", "mqtt")
    spool.append(Batches(numbered(10, 5)), source="s", now=T0)
    [whole] = drained(spool, "s", rows=100)
    assert (whole.height, spool.waiting(), spool.waiting(sink="mqtt")) == (15, {}, {"s": 15})
    first = spool.oldest("s", now=T0, sink="mqtt", max_memory=10 * SAMPLE)
    assert first is not None
    assert_frame_equal(first.batches.samples, numbered(0, 10))
    spool.delivered(first, sink="mqtt")
    assert (spool.waiting(sink="mqtt"), edge.rows("SELECT count(*) FROM spool")) == ({"s": 5}, [(1,)])
    spool.register("store")
    spool.append(Batches(numbered(15, 1)), source="s", now=T0)
    drained(spool, "s", rows=100)
    assert edge.rows("SELECT count(*) FROM spool") == [(0,)]


def test_two_consumers_of_one_queue_do_not_disturb_each_other(edge: Edge) -> None:
    """Both may deliver an item; it counts once."""
    spool = Spool(edge)
    spool.append(Batches(numbered(0, 10)), source="s", now=T0)
    one, other = spool.oldest("s", now=T0), spool.oldest("s", now=T0)
    assert one is not None
    assert other is not None
    spool.delivered(one)
    spool.append(Batches(numbered(10, 5)), source="s", now=T0)
    spool.delivered(other)
    assert spool.waiting() == {"s": 5}
