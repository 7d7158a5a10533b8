"""The edge's one SQLite database: everything that must survive a power cut on the machine beside the plant.

Four tables, all made here: the spool, the count of what it ever accepted, coverage, and the quarantine. Several
processes may use it at once; a `stream` and a `backfill` run side by side.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import polars as pl

from historian.errors import HistorianError, SpoolFull
from historian.plant.plant import Plant

_SETTINGS: Final = """
PRAGMA busy_timeout = 60000;
PRAGMA page_size = 16384;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA journal_size_limit = 67108864;
"""

_PASSING: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR)
"""Failures after which the same transaction may succeed."""

# Times are microseconds since the epoch; frames are Arrow IPC. `size` stands before the blobs, so that summing it never
# reads them.
_TABLES: Final = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS spool (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    size INTEGER NOT NULL,
    proven BLOB NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS spool_order ON spool (source, id, size);
CREATE TABLE IF NOT EXISTS accepted (
    source TEXT PRIMARY KEY,
    samples INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS coverage (
    tag TEXT NOT NULL,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    PRIMARY KEY (tag, start)
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
CREATE INDEX IF NOT EXISTS quarantine_order ON quarantine (source, reason, first);
COMMIT;
"""


class Edge:
    """The open database. May be used from several threads; each transaction has it to itself."""

    def __init__(self, path: Path) -> None:
        """Opens the database at `path`, and makes it first where there is none.

        Raises:
            HistorianError: the file cannot be opened, or is not a sound database.
        """
        self._lock = threading.RLock()
        self._depth = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            self._connection.executescript(_SETTINGS + _TABLES)
        except (OSError, sqlite3.Error) as error:
            raise HistorianError(
                f"the edge database {path} cannot be opened: {error}; "
                "check the disk, or move the file away to start with an empty one"
            ) from None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and durable when the block ends. A transaction inside another joins it.

        Raises:
            SpoolFull: nothing was written; the disk is full or another process holds the database. Try again.
        """
        with self._lock, _room():
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield self._connection
                if self._depth == 1:
                    self._connection.execute("COMMIT")
            except BaseException:
                if self._depth == 1 and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """The answer to a query; within a transaction, as seen from inside it."""
        with self._lock:
            return self._connection.execute(query, parameters).fetchall()

    def close(self) -> None:
        """Closes the database."""
        with self._lock:
            self._connection.close()


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _PASSING:  # the low byte; extended codes say more above it
            raise
        raise SpoolFull(f"the edge database cannot be written ({error}); free some space on its disk") from None


@contextmanager
def open_edge(plant: Plant) -> Iterator[Edge]:
    """The edge database of a plant, `edge.db` in its state directory, while the block runs."""
    edge = Edge(plant.state / "edge.db")
    try:
        yield edge
    finally:
        edge.close()


def pack(frame: pl.DataFrame) -> bytes:
    """A frame as Arrow IPC, compressed with zstd."""
    blob = BytesIO()
    frame.write_ipc(blob, compression="zstd")
    return blob.getvalue()


def unpack(blob: bytes) -> pl.DataFrame:
    """The inverse of `pack`."""
    return pl.read_ipc(blob)
