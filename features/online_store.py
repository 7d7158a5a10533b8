"""`UtcSqliteOnlineStore`: Feast's SQLite online store with exact times, registered by class path.

Feast's own keeps event timestamps in the local time of whoever writes, cut to seconds, and lets an older row replace a
newer one. A server in another time zone then takes every feature for hours older or younger than it is. Here times are
UTC microseconds, and what is there is replaced by what is as new or newer only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from feast import FeatureView, RepoConfig
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig, _quote_id, _table_id
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from historian.times import from_micros, micros

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
"""Entity key, features by name, event timestamp, created timestamp."""

_WRITE = """
INSERT INTO {table} (entity_key, feature_name, value, event_ts, created_ts) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (entity_key, feature_name) DO UPDATE
SET value = excluded.value, event_ts = excluded.event_ts, created_ts = excluded.created_ts
WHERE (excluded.event_ts, excluded.created_ts) >= (event_ts, created_ts)
"""
# The sum hides the column's declared type, which Feast's import has tied to its own idea of time.
_READ = "SELECT feature_name, value, event_ts + 0 FROM {table} WHERE entity_key = ?"


class UtcSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):  # type: ignore[misc]  # Feast ships no types
    """The `online_store` table of `feature_store.yaml`."""

    type: Literal["features.online_store.UtcSqliteOnlineStore"] = "features.online_store.UtcSqliteOnlineStore"


class UtcSqliteOnlineStore(SqliteOnlineStore):  # type: ignore[misc]  # Feast ships no types
    """See Feast's `OnlineStore`; tables are made and dropped as Feast's own store does it."""

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Writes rows in one transaction, leaving alone what is newer."""
        rows = [
            (_key(config, key), name, value.SerializeToString(), _stored(event), _stored(created or event))
            for key, values, event, created in data
            for name, value in values.items()
        ]
        with self._get_conn(config) as connection:
            connection.executemany(_WRITE.format(table=_table(config, table)), rows)
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: Sequence[EntityKey],
        requested_features: Sequence[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Event timestamp and features of each key; a pair of None for a key that is not there."""
        connection, query = self._get_conn(config), _READ.format(table=_table(config, table))
        return [_found(connection.execute(query, (_key(config, key),)).fetchall()) for key in entity_keys]


def _table(config: RepoConfig, view: FeatureView) -> str:
    return str(_quote_id(_table_id(config.project, view, config.registry.enable_online_feature_view_versioning)))


def _key(config: RepoConfig, key: EntityKey) -> bytes:
    return bytes(serialize_entity_key(key, config.entity_key_serialization_version))


def _stored(instant: datetime) -> int:
    """UTC microseconds; a time without a zone is UTC, as everywhere in Feast."""
    return micros(instant if instant.tzinfo else instant.replace(tzinfo=UTC))


def _found(rows: Sequence[tuple[str, bytes, int]]) -> tuple[datetime | None, dict[str, Value] | None]:
    if not rows:
        return None, None
    return from_micros(max(event for _, _, event in rows)), {name: Value.FromString(value) for name, value, _ in rows}
