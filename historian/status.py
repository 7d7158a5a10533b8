"""The status of a running bridge: per source, per sink and per tag. Written by the bridge, read by everyone.

It is kept in `status.db` in the plant's state directory, a small SQLite file separate from the edge database: writing
it never delays a sample, and losing it loses none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeVar

import polars as pl
from pydantic import TypeAdapter

from historian.errors import HistorianError
from historian.samples import SCHEMA

FILE: Final = "status.db"
STALE: Final = timedelta(seconds=15)
"""Age of the status after which the bridge counts as dead; a running bridge writes its status every second."""

TAGS: Final = pl.Schema(
    {"tag": pl.String(), "source": pl.String(), "last": SCHEMA["timestamp"], "lag": pl.Duration("us")}
)
"""For each tag its newest timestamp and its device's lag behind the bridge's clock; null where unknown."""

Connection = Literal["connecting", "connected", "waiting", "ended", "stopped"]


@dataclass(frozen=True)
class SourceStatus:
    """The status of a live source."""

    name: str
    state: Connection
    """`waiting` is between two attempts to connect; `ended` and `stopped` are final, by the source or by a person."""
    since: datetime
    """When it entered that state."""
    updated_at: datetime
    connections: int = 0
    last_heard: datetime | None = None
    """When anything last arrived from it, on the bridge's clock."""
    last_error: str = ""
    error_since: datetime | None = None
    """When the current failure began; None while there is none."""
    samples: int = 0
    quarantined: int = 0
    waiting: int = 0
    """Number of its samples in the spool."""
    waiting_bytes: int = 0
    damaged: int = 0
    """Number of its batches in the spool that could not be read and were set aside."""
    spool_full: bool = False
    refused: int = 0
    """Number of batches that had to wait because the spool or its disk was full."""
    discarded: int = 0
    """Number of its samples that a full spool discarded before the store had them."""
    overflows: int = 0
    """Number of samples that its server marked because its queue had dropped values before them."""
    overflowing: Mapping[str, int] = field(default_factory=dict)
    """The same by tag, of the tags that have most."""
    troubles: tuple[str, ...] = ()
    """What a person should look into although samples arrive: certificates, refused nodes, clocks."""
    clock_ahead_s: float | None = None
    """By how much its device's clock is ahead of the bridge's, in seconds; None if that is not known."""


@dataclass(frozen=True)
class SinkStatus:
    """The status of a sink."""

    name: str
    state: str
    """`ok`, or the kind of its current failure: permanent, throttled, retryable, unexpected."""
    updated_at: datetime
    written: int = 0
    last_write: datetime | None = None
    last_error: str = ""
    error_since: datetime | None = None


@dataclass(frozen=True)
class BridgeStatus:
    """The status of all sources and sinks, as last written."""

    sources: tuple[SourceStatus, ...]
    sinks: tuple[SinkStatus, ...]


class StatusReader(Protocol):
    """Read access to the status, for a page, an alert or a command."""

    def bridge(self) -> BridgeStatus:
        """Return the status of sources and sinks, sorted by name; empty if no bridge has run yet."""
        ...

    def tags(self) -> pl.DataFrame:
        """Return the status of the tags: columns of `TAGS`, sorted by tag."""
        ...


_Record = TypeVar("_Record", SourceStatus, SinkStatus)
_SOURCE: Final = TypeAdapter(SourceStatus)
_SINK: Final = TypeAdapter(SinkStatus)
_TABLES: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS sources (name TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sinks (name TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tags (tag TEXT PRIMARY KEY, source TEXT NOT NULL, last INTEGER, lag INTEGER) WITHOUT ROWID;
"""


class StatusFile:
    """The status file: a `StatusReader` that the bridge also writes through."""

    def __init__(self, state: Path) -> None:
        self._path = state / FILE

    def write(
        self, sources: Iterable[SourceStatus], sinks: Iterable[SinkStatus], tags: pl.DataFrame | None = None
    ) -> None:
        """Replace the status of these sources, sinks and tags (columns of `TAGS`); keep that of all others.

        Raises:
            HistorianError: the file cannot be written.
        """
        records = {"sources": [(each.name, _SOURCE.dump_json(each)) for each in sources]}
        records["sinks"] = [(each.name, _SINK.dump_json(each)) for each in sinks]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=10)) as database:
                database.executescript(_TABLES)
                _replace_rows(database, records, tags)
        except (OSError, sqlite3.Error) as error:
            raise HistorianError(f"the status file {self._path} cannot be written: {error}") from None

    def bridge(self) -> BridgeStatus:
        """See `StatusReader.bridge`."""
        rows = self._rows("SELECT record FROM sources ORDER BY name")
        sinks = self._rows("SELECT record FROM sinks ORDER BY name")
        return BridgeStatus(
            tuple(_SOURCE.validate_json(record) for (record,) in rows),
            tuple(_SINK.validate_json(record) for (record,) in sinks),
        )

    def tags(self) -> pl.DataFrame:
        """See `StatusReader.tags`."""
        numbers = {"last": pl.Int64(), "lag": pl.Int64()}
        rows = self._rows("SELECT tag, source, last, lag FROM tags ORDER BY tag")
        return pl.DataFrame(rows, schema=pl.Schema({**TAGS, **numbers}), orient="row").cast(TAGS)

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query, or none if no bridge has written yet. Creates no file and takes no lock."""
        if not self._path.exists():
            return []
        try:
            with closing(
                sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
            ) as database:
                return database.execute(query).fetchall()
        except sqlite3.Error as error:
            if "no such table" in str(error):  # a bridge is just creating it
                return []
            raise HistorianError(f"the status file {self._path} cannot be read: {error}") from None


def problems_of(status: BridgeStatus, sources: Mapping[str, object], *, now: datetime) -> list[str]:
    """Return a sentence for each problem; an empty list if there is none.

    Args:
        status: the status as read.
        sources: the plant's sources, by name.
        now: the current time.
    """
    known = {each.name: each for each in status.sources}
    found = [text for name in sources for text in _source_problems(name, known.get(name), now)]
    found += [
        f"sink {each.name}: {each.state} failure since {_time(each.error_since)}: {each.last_error}"
        for each in status.sinks
        if each.state != "ok"
    ]
    return found


def _source_problems(name: str, status: SourceStatus | None, now: datetime) -> Iterator[str]:
    if status is None:
        yield f"source {name}: never streamed; run penstock stream"
    elif status.state in ("ended", "stopped"):
        yield f"source {name}: {status.state} at {_time(status.since)}; run penstock stream"
    elif now - status.updated_at > STALE:
        yield f"source {name}: the bridge has not reported since {_time(status.updated_at)}; it is not running"
    elif status.state != "connected":
        yield f"source {name}: not connected since {_time(status.error_since or status.since)}: {status.last_error}"
    if status is not None:
        yield from (f"source {name}: {trouble}" for trouble in status.troubles)
    if status is not None and status.damaged:
        yield f"source {name}: {status.damaged} batches of the spool could not be read and were set aside"
    if status is not None and status.discarded:
        yield f"source {name}: {status.discarded:,} samples were discarded by the full spool before the store had them"
    if status is not None and status.spool_full:
        yield f"source {name}: the spool is full; reading waits for the store"


def _replace_rows(
    database: sqlite3.Connection, records: Mapping[str, list[tuple[str, bytes]]], tags: pl.DataFrame | None
) -> None:
    """Replace rows of the tables that the records name, and those of these tags, in one transaction."""
    with database:
        for table, rows in records.items():
            database.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", rows)  # noqa: S608 - ours
        if tags is not None:
            stored = tags.select(TAGS.names()).with_columns(pl.col("last", "lag").to_physical())
            database.executemany("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)", stored.iter_rows())


def _time(instant: datetime | None) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC" if instant else "an unknown time"
