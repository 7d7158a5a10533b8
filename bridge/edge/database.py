"""The edge database, one SQLite file: everything that must survive a power cut on the machine next to the plant.

It holds the spool, coverage and the quarantine (`bridge.edge.migrations` has the tables); large batches of the spool
are in segment files next to it (`bridge.edge.segments`). Several processes may use it at once; a `stream` and a
`backfill` run at the same time.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bridge.edge.migrations import migrate
from bridge.edge.recent import Recent
from bridge.edge.segments import Segments
from historian.errors import HistorianError, SpoolFull
from historian.plant.plant import Plant

_SETTINGS: Final = """
PRAGMA busy_timeout = 60000;
PRAGMA page_size = 4096;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA journal_size_limit = 67108864;
"""

_END: Final = "SELECT coalesce(max(position + length), 0) FROM spool WHERE segment = ?"

_TRANSIENT: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR)
"""SQLite errors after which the same transaction may succeed later."""


class Edge:
    """The open edge database. Several threads may use it; one transaction runs at a time."""

    def __init__(self, path: Path) -> None:
        """Open the database at `path`; create it if it does not exist, migrate it if it has an older version.

        Raises:
            HistorianError: the file cannot be opened, is not a sound database, or is of a newer version.
        """
        self._lock = threading.RLock()
        self._depth = 0
        self._committed: list[Callable[[], object]] = []
        self.recent = Recent()
        """The newest rows of the spool, in memory."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            self._connection.executescript(_SETTINGS)
            migrate(self._connection)
            [(name,)] = self.rows("SELECT directory FROM segments")
            self.segments = Segments(path.with_name("spool") / name, self._end_of)
        except (OSError, sqlite3.Error, HistorianError) as error:
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
        with self._lock, _transient_is_full():
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield self._connection
                if self._depth == 1:
                    self._connection.execute("COMMIT")
            except BaseException:
                if self._depth == 1:
                    self._committed.clear()
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1
            if self._depth == 0:
                self._run_committed()

    def after_commit(self, work: Callable[[], object]) -> None:
        """Do something once the transaction under way is durable, and never if it fails; now if there is none."""
        with self._lock:
            self._committed.append(work)
            if self._depth == 0:
                self._run_committed()

    def rows(self, query: str, parameters: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query; within a transaction, as seen from inside it."""
        with self._lock:
            return self._connection.execute(query, tuple(parameters)).fetchall()

    def close(self) -> None:
        """Close the database and its segments."""
        self.segments.close()
        with self._lock:
            self._connection.close()

    def _run_committed(self) -> None:
        work, self._committed = self._committed, []
        for each in work:
            each()

    def _end_of(self, segment: str) -> int:
        """Return where the last frame of a segment ends that a row refers to, once whoever writes rows is done."""
        with self.transaction():
            return int(self.rows(_END, [segment])[0][0])


@contextmanager
def _transient_is_full() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        # The low byte is the primary code, without SQLite's extension. Errors of Python's own module have no code.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _TRANSIENT:
            raise
        raise SpoolFull(f"the edge database cannot be written ({error}); free some space on its disk") from None


@contextmanager
def open_edge(plant: Plant) -> Iterator[Edge]:
    """Open a plant's edge database, `edge.db` in its state directory, while the block runs."""
    edge = Edge(plant.state / "edge.db")
    try:
        yield edge
    finally:
        edge.close()
