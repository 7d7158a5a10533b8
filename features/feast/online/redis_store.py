"""`GuardedRedisOnlineStore`: Feast's online store in Redis, guarded against older rows, registered by class path.

The layout is Feast's own, so that every Feast client can read it: one hash per entity, with the values of all its views
under a hash of `view:feature`, and the event timestamp under `_ts:view`. Feast's own writer reads that timestamp and
writes later, so that the older of two rows may win; here a script in the server does both atomically. The field
`_created:view` is an addition: of two rows with the same event timestamp, the one created last is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal, NamedTuple

from feast import FeatureView, RepoConfig
from feast.infra.online_stores.helpers import _mmh3, compute_versioned_name
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.protos.feast.types.Value_pb2 import Value
from redis import Redis
from redis.exceptions import RedisError

from features.feast.online.expiry import expire_read
from features.feast.online.feast_bytes import ROWS_PER_TRIP, Head, OnlineRows, Row, encoded_rows, framed, varint
from features.feast.online.in_thread import in_thread
from features.feast.online.precomputed import refuse_vectors
from historian.errors import StoreUnavailable
from historian.prefetch import run_concurrently
from historian.times import utc_now

_ROWS_PER_CALL: Final = 200
"""Rows per run of the script, which blocks the server for a few milliseconds."""

_CONNECTIONS: Final = 2
"""Number of connections: while the server processes the rows of one, the next are encoded and sent over the other."""

_WRITE: Final = """
local known = {}  -- most rows of a call have the same instant

local function instant(raw)  -- seconds and nanoseconds of a google.protobuf.Timestamp
  if known[raw] then return known[raw][8], known[raw][16] end
  local found, at = {[8] = 0, [16] = 0}, 1
  while at <= #raw do
    local tag, value, scale, byte = raw:byte(at), 0, 1, 0
    repeat
      at = at + 1
      byte = raw:byte(at)
      value = value + byte % 128 * scale
      scale = scale * 128
    until byte < 128
    found[tag] = value
    at = at + 1
  end
  if found[8] >= 2^63 then found[8] = found[8] - 2^64 end
  known[raw] = found
  return found[8], found[16]
end

local function newer(event, created, than_event, than_created)
  local second, nano = instant(event)
  local than_second, than_nano = instant(than_event)
  if second ~= than_second then return second > than_second end
  if nano ~= than_nano then return nano > than_nano end
  return tonumber(created) > tonumber(than_created)
end

local at, event, created, values = 1
local absent = {}
if redis.call('EXISTS', unpack(KEYS)) == 0 then
  for _, key in ipairs(KEYS) do absent[key] = true end
end
for _, key in ipairs(KEYS) do
  event, created, values, at = struct.unpack('>Bc0Bc0I4c0', ARGV[3], at)
  local there = not absent[key] and redis.call('HGET', key, ARGV[1])
  absent[key] = nil
  if not (there and newer(there, redis.call('HGET', key, ARGV[2]) or '0', event, created)) then
    redis.call('HSET', key, ARGV[1], event, ARGV[2], created, cmsgpack.unpack(values))
  end
end
"""


class _Call(NamedTuple):
    """The arguments of one run of the script."""

    keys: list[bytes]
    arguments: list[str | bytes]


class GuardedRedisOnlineStoreConfig(RedisOnlineStoreConfig):  # type: ignore[misc]  # Feast ships no types
    """The `online_store` table of `feature_store.yaml`."""

    type: Literal["features.feast.online.redis_store.GuardedRedisOnlineStore"] = (
        "features.feast.online.redis_store.GuardedRedisOnlineStore"
    )
    url: str
    """`redis://USER@HOST:6379/0`, or `rediss://` for TLS; with options of redis-py's `Redis.from_url`."""
    password: str | None = None
    expire: bool = True
    """Whether to return values older than their ttl as missing; Penstock's API does so itself, with its own clock."""


class GuardedRedisOnlineStore(RedisOnlineStore):  # type: ignore[misc]  # Feast ships no types
    """Feast's `RedisOnlineStore` for one server, not a cluster, with guarded writes. Reading is Feast's.

    Asynchronous calls run the synchronous ones in threads: Feast's own would open a connection without `url` and
    `password`, and would ignore the ttl.
    """

    _client: Redis | None = None

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        """Feast's server then calls what is here in threads of its own."""
        return SupportedAsyncMethods()

    def update(self, config: RepoConfig, tables_to_delete: Sequence[FeatureView], *rest: Any, **more: Any) -> None:
        """Delete views that are no longer needed, and check that Redis accepts our connection."""
        with _available(config):
            self._get_client(config.online_store).ping()
            super().update(config, tables_to_delete, *rest, **more)
            for view in tables_to_delete:
                self._get_client(config.online_store).hdel(_cursors(config), view.name)

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Write rows; rows that are newer online are kept. A row must have all features of its view."""
        version = config.entity_key_serialization_version
        rows = encoded_rows(data, version, partial(self._joined, config, table))
        self.write_rows(config, table, rows.parts(ROWS_PER_TRIP))
        if progress:
            progress(len(data))

    online_read_async = in_thread(RedisOnlineStore.online_read)
    online_write_batch_async = in_thread(online_write_batch)
    read_precomputed_vectors = refuse_vectors
    write_precomputed_vector = refuse_vectors

    def head(self, config: RepoConfig, view: FeatureView, feature: str) -> Head:
        """Return a function for the bytes before a value: rows are MessagePack of field, value, field, value."""
        return partial(_entry, _packed(_mmh3(f"{_versioned(config, view)}:{feature}")))

    def write_rows(self, config: RepoConfig, view: FeatureView, parts: Iterable[OnlineRows]) -> None:
        """Write encoded rows; rows that are newer online are kept.

        Raises:
            StoreUnavailable: Redis does not respond, or refuses.
        """
        client, name = self._get_client(config.online_store), _versioned(config, view)
        project, fields = config.project.encode(), (f"_ts:{name}", f"_created:{name}")

        def calls(part: OnlineRows) -> list[_Call]:
            few = part.parts(_ROWS_PER_CALL)
            return [_Call([key + project for key in rows.keys], [*fields, _packed_rows(rows)]) for rows in few]

        def send(trip: list[_Call]) -> None:
            with client.pipeline(transaction=False) as pipeline:
                write = pipeline.register_script(_WRITE)
                for call in trip:
                    write(call.keys, call.arguments)
                pipeline.execute()

        with _available(config):
            run_concurrently(send, map(calls, parts), threads=_CONNECTIONS)

    def cursor(self, config: RepoConfig, view: FeatureView) -> str | None:
        """Return how far the view has been materialised; see `features.feast.online.materialize`."""
        with _available(config):
            found = self._get_client(config.online_store).hget(_cursors(config), view.name)
        return found.decode() if isinstance(found, bytes) else found

    def move_cursor(self, config: RepoConfig, view: FeatureView, cursor: str) -> None:
        """Store the cursor in the same Redis as the rows, so that both are lost together."""
        with _available(config):
            self._get_client(config.online_store).hset(_cursors(config), view.name, cursor)

    def _joined(self, config: RepoConfig, view: FeatureView, values: dict[str, Value]) -> bytes:
        parts = {
            name: framed(value.SerializeToString(), self.head(config, view, name)) for name, value in values.items()
        }
        return b"".join(parts.values())

    def _get_client(self, online_store_config: GuardedRedisOnlineStoreConfig) -> Redis:
        if self._client is None:
            self._client = Redis.from_url(
                online_store_config.url,
                password=online_store_config.password,
                socket_timeout=30,
                socket_connect_timeout=5,
            )
        return self._client

    def _get_features_for_entity(
        self, values: Sequence[bytes | None], feature_view: str, requested_features: Sequence[str]
    ) -> tuple[datetime | None, dict[str, Value] | None]:
        """Return nothing for an entity that does not exist; Feast returns one of 1970 without values."""
        if dict(zip(requested_features, values, strict=True))[f"_ts:{feature_view}"] is None:
            return None, None
        found: tuple[datetime, dict[str, Value]] = super()._get_features_for_entity(
            values, feature_view, requested_features
        )
        return found

    def _read_hash_fields(self, config: RepoConfig, commands: Any) -> Any:
        with _available(config):
            return super()._read_hash_fields(config, commands)

    def _read_features_per_fv(self, config: RepoConfig, grouped_refs: Any, *rest: Any) -> None:
        """Read all views as Feast's `get_online_features` does, then apply the ttl."""
        grouped = [(view, [*names]) for view, names in grouped_refs]  # Feast adds to the names
        super()._read_features_per_fv(config, grouped_refs, *rest)
        expire_read(config, grouped, rest, utc_now())

    _read_features_per_fv_async = in_thread(_read_features_per_fv)


@contextmanager
def _available(config: RepoConfig) -> Iterator[None]:
    """Turn an error of Redis into `StoreUnavailable`, which says what to do."""
    try:
        yield
    except RedisError as error:
        raise StoreUnavailable(
            f"the online store {config.online_store.url} cannot be used ({error}); see [online] in the plant file"
        ) from None


def _cursors(config: RepoConfig) -> str:
    return f"penstock:{config.project}:cursors"


def _versioned(config: RepoConfig, view: FeatureView) -> str:
    return str(compute_versioned_name(view, config.registry.enable_online_feature_view_versioning))


def _packed_rows(rows: OnlineRows) -> bytes:
    """Return event timestamp, created timestamp and values of all rows, each after its length, as one fast argument."""
    events = {event: _short(_timestamp(event)) for event in set(rows.events)}
    created = {instant: _short(str(instant).encode()) for instant in set(rows.created)}
    three = zip(rows.events, rows.created, rows.values, strict=True)
    return b"".join(
        events[event] + created[instant] + len(values).to_bytes(4, "big") + values for event, instant, values in three
    )


def _short(raw: bytes) -> bytes:
    return bytes([len(raw)]) + raw


def _entry(field: bytes, length: int) -> bytes:
    return field + _packed_length(length)


def _packed(raw: bytes) -> bytes:
    return _packed_length(len(raw)) + raw


def _packed_length(length: int) -> bytes:
    """Return MessagePack's header of a string (str 8, 16 or 32); the server does not support bin."""
    head, size = (b"\xd9", 1) if length < 2**8 else (b"\xda", 2) if length < 2**16 else (b"\xdb", 4)
    return head + length.to_bytes(size, "big")


def _timestamp(micros: int) -> bytes:
    """Return a google.protobuf.Timestamp; fields that are zero are not encoded."""
    seconds, rest = divmod(micros, 1_000_000)
    return (b"\x08" + varint(seconds % 2**64) if seconds else b"") + (b"\x10" + varint(rest * 1000) if rest else b"")
