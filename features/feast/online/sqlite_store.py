"""`UtcSqliteOnlineStore`: a Feast online store in a SQLite file, registered by class path.

Feast's own store has one row per feature, with event timestamps in the local time of the writer, truncated to seconds,
and lets an older row replace a newer one. Here a row has all features of an entity, so that they have the same event
timestamp; times are UTC microseconds; a row is replaced only by one that is as new or newer, even with concurrent
writers; and values older than the ttl of their view are returned as missing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from feast import Entity, FeatureView, RepoConfig
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Map, Value
from feast.repo_config import FeastConfigBaseModel

from features.feast.online.expiry import expire_read
from features.feast.online.feast_bytes import Head, OnlineRows, Row, encoded_rows, varint
from features.feast.online.in_thread import in_thread
from features.feast.online.precomputed import refuse_vectors
from historian.errors import StoreUnavailable
from historian.times import from_micros, utc_now

_CURSORS: Final = "CREATE TABLE IF NOT EXISTS cursors (rows TEXT PRIMARY KEY, cursor TEXT NOT NULL)"
_CREATE: Final = """
CREATE TABLE IF NOT EXISTS {rows}
(entity_key BLOB PRIMARY KEY, event_us INTEGER NOT NULL, created_us INTEGER NOT NULL, features BLOB NOT NULL)
"""
_WRITE: Final = """
INSERT INTO {rows} (entity_key, event_us, created_us, features) VALUES (?, ?, ?, ?)
ON CONFLICT (entity_key) DO UPDATE
SET event_us = excluded.event_us, created_us = excluded.created_us, features = excluded.features
WHERE (excluded.event_us, excluded.created_us) >= (event_us, created_us)
"""
_READ: Final = "SELECT event_us, features FROM {rows} WHERE entity_key = ?"
_WAIT_S: Final = 30.0
"""Seconds to wait for another writer. Readers wait only while a transaction is written to disk."""


class UtcSqliteOnlineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]  # Feast ships no types
    """The `online_store` table of `feature_store.yaml`."""

    type: Literal["features.feast.online.sqlite_store.UtcSqliteOnlineStore"] = (
        "features.feast.online.sqlite_store.UtcSqliteOnlineStore"
    )
    path: str
    expire: bool = True
    """Whether to return values older than their ttl as missing; Penstock's API does so itself, with its own clock."""


class UtcSqliteOnlineStore(OnlineStore):  # type: ignore[misc]  # Feast ships no types
    """A Feast `OnlineStore`. Every call opens the file itself, so that threads never share a transaction.

    Asynchronous calls run the synchronous ones in threads.
    """

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        **_: Any,
    ) -> None:
        """Create the tables of views and drop those no longer needed."""
        Path(config.online_store.path).parent.mkdir(parents=True, exist_ok=True)
        with _opened(config, "rwc") as connection:
            connection.execute(_CURSORS)
            for view in tables_to_keep:
                connection.execute(_CREATE.format(rows=_quoted(config, view)))
            for view in tables_to_delete:
                connection.execute(f"DROP TABLE IF EXISTS {_quoted(config, view)}")
                connection.execute("DELETE FROM cursors WHERE rows = ?", (_rows(config, view),))

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Delete the file."""
        Path(config.online_store.path).unlink(missing_ok=True)

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Write rows in one transaction, keeping newer ones. A row must have all features of its view."""
        version = config.entity_key_serialization_version
        rows = encoded_rows(data, version, lambda values: Map(val=values).SerializeToString())
        self.write_rows(config, table, [rows])
        if progress:
            progress(len(data))

    def head(self, config: RepoConfig, view: FeatureView, feature: str) -> Head:
        """Return a function for the bytes before a value: rows are Feast's message `Map`, from names to values."""
        name = feature.encode()
        return partial(_entry, b"\x0a" + varint(len(name)) + name + b"\x12")

    def write_rows(self, config: RepoConfig, view: FeatureView, parts: Iterable[OnlineRows]) -> None:
        """Write encoded rows, each part in a transaction of its own; rows that are newer online are kept.

        Raises:
            StoreUnavailable: the file cannot be written.
        """
        write = _WRITE.format(rows=_quoted(config, view))
        for rows in parts:
            with _opened(config, "rw") as connection:
                connection.executemany(write, zip(rows.keys, rows.events, rows.created, rows.values, strict=True))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: Sequence[EntityKey],
        requested_features: Sequence[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Return event timestamp and features of each key; a pair of None for a key that does not exist.

        Raises:
            StoreUnavailable: the file cannot be read.
        """
        names = requested_features or [feature.name for feature in table.features]
        query = _READ.format(rows=_quoted(config, table))
        keys = [serialize_entity_key(key, config.entity_key_serialization_version) for key in entity_keys]
        with _opened(config, "ro") as connection:
            return [_found(connection.execute(query, (key,)).fetchone(), names) for key in keys]

    online_read_async = in_thread(online_read)
    online_write_batch_async = in_thread(online_write_batch)
    read_precomputed_vectors = refuse_vectors
    write_precomputed_vector = refuse_vectors

    def cursor(self, config: RepoConfig, view: FeatureView) -> str | None:
        """Return how far the view has been materialised; see `features.feast.online.materialize`."""
        with _opened(config, "ro") as connection:
            found = connection.execute("SELECT cursor FROM cursors WHERE rows = ?", (_rows(config, view),)).fetchone()
        return found[0] if found else None

    def move_cursor(self, config: RepoConfig, view: FeatureView, cursor: str) -> None:
        """Store the cursor in the same file as the rows, so that both are lost together."""
        with _opened(config, "rw") as connection:
            connection.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (_rows(config, view), cursor))

    def _read_features_per_fv(self, config: RepoConfig, grouped_refs: Any, *rest: Any) -> None:
        """Read view by view as Feast's `get_online_features` does, then apply the ttl."""
        super()._read_features_per_fv(config, grouped_refs, *rest)
        expire_read(config, grouped_refs, rest, utc_now())

    _read_features_per_fv_async = in_thread(_read_features_per_fv)


@contextmanager
def _opened(config: RepoConfig, mode: Literal["ro", "rw", "rwc"]) -> Iterator[sqlite3.Connection]:
    """Open a connection with one transaction, which is committed when the block ends."""
    path = config.online_store.path
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode={mode}", uri=True, timeout=_WAIT_S)
        try:
            with connection:
                yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        doing = "read" if mode == "ro" else "written"
        raise StoreUnavailable(f"the online store cannot be {doing} ({path}: {error}); run penstock apply") from None


def _rows(config: RepoConfig, view: FeatureView) -> str:
    """Return the name of the view's table."""
    return f"{compute_table_id(config.project, view, config.registry.enable_online_feature_view_versioning)}_rows"


def _quoted(config: RepoConfig, view: FeatureView) -> str:
    return '"' + _rows(config, view).replace('"', '""') + '"'


def _entry(name: bytes, length: int) -> bytes:
    """Return the bytes of a `Map` entry before those of the value."""
    size = varint(length)
    return b"\x0a" + varint(len(name) + len(size) + length) + name + size


def _found(row: tuple[int, bytes] | None, names: Sequence[str]) -> tuple[datetime | None, dict[str, Value] | None]:
    if row is None:
        return None, None
    features = Map.FromString(row[1]).val
    return from_micros(row[0]), {name: features[name] for name in names if name in features}
