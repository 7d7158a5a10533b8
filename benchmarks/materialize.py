"""Materialising to SQLite and to Redis, compared with Feast's own materialisation of the same rows.

Both sides find the newest row of each asset in a feature table and write its features to an empty online store. Prints
JSON lines; `ratio` is our assets per second over Feast's, in one run. Starts its own Redis on loopback. Run it with
`python -m benchmarks.materialize`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
from deltalake import write_deltalake
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_format import DeltaFormat
from feast.types import Float64, String
from redis import Redis

from features.feast.online.materialize import materialize_view
from tests.servers import redis_server

_ASSETS, _TIMES, _FEATURES = 20_000, 5, 10
_ROUNDS = 9
START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(days=1)


def _rows() -> pl.DataFrame:
    """Every asset's features at several times."""
    random = np.random.default_rng(0)
    times = [START + timedelta(minutes=minute) for minute in range(_TIMES)]
    columns = {f"x{number}": random.normal(size=_ASSETS * _TIMES) for number in range(_FEATURES)}
    return pl.DataFrame(
        {
            "asset": np.repeat([f"asset{number:06}" for number in range(_ASSETS)], _TIMES),
            "event_timestamp": pl.Series(times * _ASSETS).dt.cast_time_unit("us"),
            "created_timestamp": pl.Series(times * _ASSETS).dt.cast_time_unit("us") + timedelta(seconds=1),
            **columns,
        }
    )


def empty_store(directory: Path, source: FileSource, online: dict[str, Any]) -> FeatureStore:
    """Feast over one view of that source, its online store empty."""
    directory.mkdir()
    if "path" in online:
        online = {**online, "path": str(directory / online["path"])}
    config = RepoConfig(
        project="bench",
        provider="local",
        registry=str(directory / "registry.db"),
        offline_store={"type": "file"},
        online_store=online,
        entity_key_serialization_version=3,
        repo_path=directory,
    )
    store = FeatureStore(config=config)
    asset = Entity(name="asset", join_keys=["asset"], value_type=ValueType.STRING)
    features = [Field(name=f"x{number}", dtype=Float64) for number in range(_FEATURES)]
    schema = [Field(name="asset", dtype=String), *features]
    view = FeatureView(name="view", entities=[asset], ttl=timedelta(0), schema=schema, source=source)
    store.apply([asset, view])
    return store


def _compare(name: str, ours: Callable[[], FeatureStore], theirs: Callable[[], FeatureStore]) -> None:
    """Turn by turn, each time into an empty store."""
    rates = []
    for _ in range(_ROUNDS):
        our = _rate(ours(), lambda store: materialize_view(store, store.get_feature_view("view"), end=END))
        with redirect_stdout(StringIO()):  # Feast prints its progress
            their = _rate(theirs(), lambda store: store.materialize(START, END))
        rates.append((our, their))
    medians = [round(median(side)) for side in zip(*rates, strict=True)]
    ratio = round(median(our / their for our, their in rates), 2)
    print(json.dumps({"name": name, "ratio": ratio, "ours_per_s": medians[0], "feast_per_s": medians[1]}))


def _rate(store: FeatureStore, work: Callable[[FeatureStore], object]) -> float:
    start = perf_counter()
    work(store)
    seconds = perf_counter() - start
    found = store.get_online_features(["view:x0"], [{"asset": f"asset{_ASSETS - 1:06}"}]).to_dict()
    assert found["x0"] != [None]
    return _ASSETS / seconds


def _main(directory: Path, port: int) -> None:
    rows = _rows()
    write_deltalake(directory / "delta", rows)
    rows.write_parquet(directory / "rows.parquet")
    times = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created_timestamp"}
    delta = FileSource(name="view", path=str(directory / "delta"), file_format=DeltaFormat(), **times)
    parquet = FileSource(name="view", path=str(directory / "rows.parquet"), **times)
    number = iter(range(1_000))

    def empty(source: FileSource, **online: str) -> FeatureStore:
        Redis(port=port).flushall()
        return empty_store(directory / f"store{next(number)}", source, online)

    sqlite, redis = (
        "features.feast.online.sqlite_store.UtcSqliteOnlineStore",
        "features.feast.online.redis_store.GuardedRedisOnlineStore",
    )
    _compare(
        "materialize_sqlite_vs_feast",
        lambda: empty(delta, type=sqlite, path="online.db"),
        lambda: empty(parquet, type="sqlite", path="online.db"),
    )
    _compare(
        "materialize_redis_vs_feast",
        lambda: empty(delta, type=redis, url=f"redis://127.0.0.1:{port}/0"),
        lambda: empty(parquet, type="redis", connection_string=f"127.0.0.1:{port}"),
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch, redis_server(Path(scratch)) as listening:
        _main(Path(scratch), listening)
