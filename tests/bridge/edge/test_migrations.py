"""The edge database's versions: an older file is migrated without loss; a newer one is refused."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.edge.frames import pack
from bridge.edge.migrations import VERSION, migrate
from bridge.edge.quarantine import Quarantine
from bridge.edge.spool import Spool
from historian.errors import HistorianError
from historian.intervals import INTERVALS, intervals
from historian.samples import SCHEMA
from historian.times import micros

T0 = datetime(2026, 3, 1, tzinfo=UTC)

# As the first bridges made it.
VERSION_1 = """
CREATE TABLE spool (id INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, accepted_at INTEGER NOT NULL,
    rows INTEGER NOT NULL, size INTEGER NOT NULL, proven BLOB NOT NULL, payload BLOB NOT NULL);
CREATE INDEX spool_order ON spool (source, id, size);
CREATE TABLE accepted (source TEXT PRIMARY KEY, samples INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE coverage (tag TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, PRIMARY KEY (tag, start))
    WITHOUT ROWID;
CREATE TABLE quarantine (id INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, origin TEXT NOT NULL,
    recorded_at INTEGER NOT NULL, reason TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    rows INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE INDEX quarantine_order ON quarantine (source, reason, first);
"""

# As the bridges made it that had waveforms as samples.
VERSION_2 = """
CREATE TABLE spool (id INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, accepted_at INTEGER NOT NULL,
    rows INTEGER NOT NULL, size INTEGER NOT NULL, covered BLOB NOT NULL, payload BLOB NOT NULL, covers_since INTEGER,
    checksum INTEGER);
CREATE INDEX spool_by_source ON spool (source, id, rows, size);
CREATE TABLE coverage (tag TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, PRIMARY KEY (tag, start))
    WITHOUT ROWID;
CREATE TABLE spool_totals (source TEXT PRIMARY KEY, accepted INTEGER NOT NULL, rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL, last_accepted_at INTEGER) WITHOUT ROWID;
CREATE TABLE sinks (name TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO sinks VALUES ('store');
CREATE TABLE cursors (sink TEXT NOT NULL, source TEXT NOT NULL, position INTEGER NOT NULL, delivered INTEGER NOT NULL,
    PRIMARY KEY (sink, source)) WITHOUT ROWID;
CREATE TABLE spool_damaged (id INTEGER PRIMARY KEY, source TEXT NOT NULL, accepted_at INTEGER NOT NULL,
    rows INTEGER NOT NULL, reason TEXT NOT NULL, set_aside_at INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE INDEX spool_damaged_by_source ON spool_damaged (source, id);
CREATE TABLE quarantine (id INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, reason TEXT NOT NULL, tag TEXT,
    timestamp INTEGER, value REAL, text TEXT, quality INTEGER, detail TEXT, origin TEXT NOT NULL,
    recorded_at INTEGER NOT NULL, digest INTEGER NOT NULL);
CREATE UNIQUE INDEX quarantine_once ON quarantine (digest);
CREATE INDEX quarantine_by_group ON quarantine (source, reason, id);
CREATE INDEX quarantine_by_age ON quarantine (recorded_at);
CREATE TABLE quarantine_totals (source TEXT NOT NULL, reason TEXT NOT NULL, kept INTEGER NOT NULL,
    discarded INTEGER NOT NULL, PRIMARY KEY (source, reason)) WITHOUT ROWID;
INSERT INTO quarantine VALUES (7, 's', 'too hot', 'a', 5, 900.0, NULL, 0, NULL, 'file 1', 9, 1234);
INSERT INTO quarantine_totals VALUES ('s', 'too hot', 1, 4);
INSERT INTO spool_damaged VALUES (1, 's', 0, 5, 'why', 0, x'00');
INSERT INTO spool_totals VALUES ('s', 20, 10, 1, 0);
INSERT INTO cursors VALUES ('store', 's', 1, 10);
PRAGMA user_version = 2;
"""


def ipc(frame: pl.DataFrame) -> bytes:
    """A frame as version 1 kept it."""
    blob = BytesIO()
    frame.write_ipc(blob, compression="zstd")
    return blob.getvalue()


def numbered(first: int, count: int) -> pl.DataFrame:
    """A sample a second whose value is its number."""
    rows = [("a", T0 + timedelta(seconds=n), float(n), None, 0) for n in range(first, first + count)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of version 1: two batches wait, ten samples were delivered, three are in quarantine."""
    path, day = tmp_path / "edge.db", intervals(["a"], T0, T0 + timedelta(days=1))
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(VERSION_1)
        for first in (10, 15):
            batch, marks = ipc(numbered(first, 5)), ipc(day if first == 15 else INTERVALS.to_frame())
            values = ("s", 0, 5, len(batch) + len(marks), marks, batch)
            database.execute(
                "INSERT INTO spool (source, accepted_at, rows, size, proven, payload) VALUES (?,?,?,?,?,?)", values
            )
        database.execute("INSERT INTO accepted VALUES ('s', 20)")
        database.execute("INSERT INTO coverage VALUES ('b', 0, 5)")
        refused = ("s", "file 1", micros(T0), "too hot", 0, 9, 3, ipc(numbered(0, 3)))
        database.execute(
            "INSERT INTO quarantine (source, origin, recorded_at, reason, first, last, rows, payload) "
            "VALUES (?,?,?,?,?,?,?,?)",
            refused,
        )
    return path


def test_an_older_database_keeps_everything(old: Path) -> None:
    """Waiting batches are delivered with their coverage, counters continue, and the quarantine keeps its rows."""
    edge = Edge(old)
    spool = Spool(edge)
    assert (spool.waiting(), spool.accepted()) == ({"s": 10}, {"s": 20})
    item = spool.oldest("s", now=T0)
    assert item is not None
    assert_frame_equal(item.batches.samples, numbered(10, 10))
    assert_frame_equal(item.covered, intervals(["a"], T0, T0 + timedelta(days=1)))
    spool.delivered(item)
    assert (spool.waiting(), spool.sizes()) == ({}, {"s": 0})
    assert Coverage(edge).of(["b"], T0 - timedelta(days=99999), T0).height == 1
    kept = Quarantine(edge).rows()
    assert_frame_equal(kept.select(SCHEMA.names()), numbered(0, 3))
    assert kept.select("reason", "source", "origin", "recorded_at").unique().rows() == [("too hot", "s", "file 1", T0)]
    assert Quarantine(edge).counts().rows() == [("s", "too hot", 3, 0)]
    edge.close()


def test_a_database_without_waveforms_keeps_everything(tmp_path: Path) -> None:
    """What waits is delivered as the samples that it is, with its checksum; the quarantine and all totals go on."""
    path, day = tmp_path / "edge.db", intervals(["a"], T0, T0 + timedelta(days=1))
    payload, marks = pack(numbered(10, 10)), pack(day)
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(VERSION_2)
        size, checksum = len(payload) + len(marks), zlib.crc32(marks, zlib.crc32(payload))
        row = (2, "s", 0, 10, size, marks, payload, None, checksum)
        database.execute("INSERT INTO spool VALUES (?,?,?,?,?,?,?,?,?)", row)
        database.execute("UPDATE spool_totals SET bytes = ?", [size])
    edge = Edge(path)
    spool, quarantine = Spool(edge), Quarantine(edge)
    assert (spool.waiting(), spool.accepted(), spool.damaged()) == ({"s": 10}, {"s": 20}, {"s": 1})
    item = spool.oldest("s", now=T0)
    assert item is not None
    assert_frame_equal(item.batches.samples, numbered(10, 10))
    assert_frame_equal(item.covered, day)
    spool.delivered(item)
    assert (spool.waiting(), spool.sizes()) == ({}, {"s": 0})
    assert quarantine.counts().rows() == [("s", "too hot", 1, 4)]
    assert quarantine.rows().select("tag", "value", "sample_rate", "values").rows() == [("a", 900.0, None, None)]
    assert quarantine.purge() == 1
    edge.close()


def test_opening_again_changes_nothing(old: Path) -> None:
    """Each migration step runs once."""
    Edge(old).close()
    edge = Edge(old)
    assert edge.rows("PRAGMA user_version") == [(VERSION,)]
    assert Spool(edge).waiting() == {"s": 10}
    edge.close()


def test_a_step_that_fails_leaves_the_version_before(old: Path) -> None:
    """A failed step is rolled back; nothing is half migrated."""
    with closing(sqlite3.connect(old)) as database, database:
        database.execute("UPDATE quarantine SET payload = x'00'")
    with pytest.raises(Exception, match=r".+"):
        Edge(old)
    with closing(sqlite3.connect(old)) as database:
        assert database.execute("SELECT sum(rows), count(proven) FROM spool").fetchall() == [(10, 2)]
        assert database.execute("PRAGMA user_version").fetchall() == [(1,)]


def test_two_processes_migrate_once(old: Path) -> None:
    """If another process migrates the file between our look at its version and our lock, its work is not repeated."""
    with (
        closing(sqlite3.connect(old, isolation_level=None)) as database,
        closing(sqlite3.connect(old, isolation_level=None)) as other,
    ):

        def migrate_first(statement: str) -> None:
            if statement == "BEGIN IMMEDIATE":
                database.set_trace_callback(None)
                migrate(other)

        database.set_trace_callback(migrate_first)
        migrate(database)
        assert database.execute("PRAGMA user_version").fetchall() == [(VERSION,)]
        assert database.execute("SELECT sum(rows) FROM spool").fetchall() == [(10,)]


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    """The error names the known versions, and the file is not changed."""
    path = tmp_path / "edge.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(HistorianError, match=f"of version 99, and this Penstock knows versions up to {VERSION}"):
        Edge(path)
