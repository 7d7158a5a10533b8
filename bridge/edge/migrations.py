"""Migrations of the edge database: how an empty file, or one of an earlier version, becomes the current version.

SQLite's `user_version` holds the version of a file. Each step runs in one transaction together with the new number, so
that a crash leaves the previous version. Steps are only ever appended.

Times are microseconds since the epoch; frames are as `bridge.edge.frames` packs them.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import polars as pl

from bridge.edge.frames import unpack
from bridge.edge.quarantine_rows import STRETCH, as_rejected, insert_rows
from historian.errors import HistorianError

# Version 1 was created by the first bridges, before versions were numbered; hence IF NOT EXISTS.
_V1: Final = """
CREATE TABLE IF NOT EXISTS spool (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    size INTEGER NOT NULL,
    proven BLOB NOT NULL,
    payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS accepted (source TEXT PRIMARY KEY, samples INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS coverage (
    tag TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, PRIMARY KEY (tag, start)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    origin TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    payload BLOB NOT NULL
);
"""

# A cursor per sink, sizes kept as running totals, damaged rows set aside, and the quarantine a row a sample.
_V2: Final = """
ALTER TABLE spool RENAME COLUMN proven TO covered;
ALTER TABLE spool ADD COLUMN covers_since INTEGER;
ALTER TABLE spool ADD COLUMN checksum INTEGER;
DROP INDEX IF EXISTS spool_order;
CREATE INDEX spool_by_source ON spool (source, id, rows, size);
CREATE TABLE spool_totals (
    source TEXT PRIMARY KEY, accepted INTEGER NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
    last_accepted_at INTEGER
) WITHOUT ROWID;
INSERT INTO spool_totals
    SELECT a.source, a.samples, coalesce(sum(s.rows), 0), coalesce(sum(s.size), 0), max(s.accepted_at)
    FROM accepted a LEFT JOIN spool s USING (source) GROUP BY a.source;
DROP TABLE accepted;
CREATE TABLE sinks (name TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO sinks VALUES ('store');
CREATE TABLE cursors (
    sink TEXT NOT NULL, source TEXT NOT NULL, position INTEGER NOT NULL, delivered INTEGER NOT NULL,
    PRIMARY KEY (sink, source)
) WITHOUT ROWID;
INSERT INTO cursors SELECT 'store', source, 0, accepted - rows FROM spool_totals;
CREATE TABLE spool_damaged (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    reason TEXT NOT NULL,
    set_aside_at INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX spool_damaged_by_source ON spool_damaged (source, id);
ALTER TABLE quarantine RENAME TO quarantine_v1;
DROP INDEX IF EXISTS quarantine_order;
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    reason TEXT NOT NULL,
    tag TEXT,
    timestamp INTEGER,
    value REAL,
    text TEXT,
    quality INTEGER,
    detail TEXT,
    origin TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    digest INTEGER NOT NULL
);
CREATE UNIQUE INDEX quarantine_once ON quarantine (digest);
CREATE INDEX quarantine_by_group ON quarantine (source, reason, id);
CREATE INDEX quarantine_by_age ON quarantine (recorded_at);
CREATE TABLE quarantine_totals (
    source TEXT NOT NULL, reason TEXT NOT NULL, kept INTEGER NOT NULL, discarded INTEGER NOT NULL,
    PRIMARY KEY (source, reason)
) WITHOUT ROWID;
"""

# Waveforms: stretches beside the samples in the spool, and as rows of the quarantine. Nobody had waveforms in the form
# of samples when this step was written; such samples stay samples.
_V3: Final = """
ALTER TABLE spool ADD COLUMN waveforms BLOB NOT NULL DEFAULT x'';
ALTER TABLE spool ADD COLUMN memory INTEGER NOT NULL DEFAULT 0;
UPDATE spool SET memory = 48 * rows;
DROP INDEX spool_by_source;
CREATE INDEX spool_by_source ON spool (source, id, rows, size, memory);
ALTER TABLE spool_damaged ADD COLUMN waveforms BLOB NOT NULL DEFAULT x'';
ALTER TABLE quarantine ADD COLUMN sample_rate REAL;
ALTER TABLE quarantine ADD COLUMN count INTEGER;
ALTER TABLE quarantine ADD COLUMN encoding TEXT;
ALTER TABLE quarantine ADD COLUMN scale REAL;
ALTER TABLE quarantine ADD COLUMN divisor REAL;
ALTER TABLE quarantine ADD COLUMN "values" BLOB;
ALTER TABLE quarantine_totals ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
"""

# Large batches in segments, in a directory that no other database has; what was discarded for lack of room, by sink;
# how many bytes came in lately.
_V4: Final = """
CREATE TABLE segments (directory TEXT NOT NULL);
INSERT INTO segments VALUES (lower(hex(randomblob(8))));
ALTER TABLE spool ADD COLUMN segment TEXT;
ALTER TABLE spool ADD COLUMN position INTEGER;
ALTER TABLE spool ADD COLUMN length INTEGER;
CREATE INDEX spool_by_segment ON spool (segment, position, length) WHERE segment IS NOT NULL;
ALTER TABLE cursors ADD COLUMN discarded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cursors ADD COLUMN discarded_to INTEGER NOT NULL DEFAULT 0;
ALTER TABLE spool_totals ADD COLUMN rate_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE spool_totals ADD COLUMN rate_since INTEGER;
"""


def _to_1(connection: sqlite3.Connection) -> None:
    _run(connection, _V1)


def _to_2(connection: sqlite3.Connection) -> None:
    _run(connection, _V2)
    columns = "SELECT payload, source, origin, recorded_at, reason FROM quarantine_v1 ORDER BY id"
    for payload, source, origin, recorded_at, reason in connection.execute(columns).fetchall():
        rows = unpack(payload).with_columns(reason=pl.lit(reason), detail=pl.lit(None, pl.String))
        known = as_rejected(rows).drop(STRETCH.names())  # the table has no columns for stretches yet
        insert_rows(connection, known, source=source, origin=origin, recorded_at=recorded_at)
    connection.execute("DROP TABLE quarantine_v1")


def _to_3(connection: sqlite3.Connection) -> None:
    _run(connection, _V3)


def _to_4(connection: sqlite3.Connection) -> None:
    _run(connection, _V4)


_STEPS: Final = (_to_1, _to_2, _to_3, _to_4)
VERSION: Final = len(_STEPS)


def migrate(connection: sqlite3.Connection) -> None:
    """Migrate the open database to the current version; a current database is not changed.

    Raises:
        HistorianError: the database is of a newer version than this program knows.
    """
    [(version,)] = connection.execute("PRAGMA user_version").fetchall()
    if version > VERSION:
        raise HistorianError(
            f"it is of version {version}, and this Penstock knows versions up to {VERSION}; install the newer one again"
        )
    while version < VERSION:
        version = _step(connection)


def _step(connection: sqlite3.Connection) -> int:
    """Migrate the database by one version in a transaction, and return the version it has then."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have migrated it meanwhile.
        [(version,)] = connection.execute("PRAGMA user_version").fetchall()
        if version < VERSION:
            _STEPS[version](connection)
            version += 1
            connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return int(version)


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Execute the statements of a script. `executescript` would commit the transaction it runs in."""
    for statement in filter(None, map(str.strip, script.split(";"))):
        connection.execute(statement)
