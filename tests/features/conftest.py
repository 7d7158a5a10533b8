"""A plant of two compressors and a pump, and feature rows made by hand for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake
from redis import Redis

from features.tables.feature_table import FeatureTable, table_path, table_schema
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from tests.servers import redis_server, two_ray_nodes

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """The plant of tests/cases/feast in a directory of its own."""
    shutil.copytree(Path(__file__).parents[1] / "cases" / "feast", tmp_path / "plant")
    return load_plant(tmp_path / "plant")


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Redis on loopback."""
    with redis_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """A Ray cluster of two nodes on loopback; nobody is connected to it."""
    with two_ray_nodes() as address:
        yield address


@pytest.fixture
def redis_url(redis_port: int) -> str:
    """An empty database in it."""
    Redis(port=redis_port, db=1).flushdb()
    return f"redis://127.0.0.1:{redis_port}/1"


@pytest.fixture(params=["sqlite", "redis"])
def stored(request: pytest.FixtureRequest, plant: Plant) -> Plant:
    """The plant, with each of the online stores in turn."""
    if request.param == "sqlite":
        return plant
    return replace(plant, online_url=request.getfixturevalue("redis_url"))


@pytest.fixture
def add_rows(plant: Plant) -> Callable[..., None]:
    """Appends feature rows to a view: (asset, event and created timestamp in seconds after START, value).

    Every number of a row is `value`, every flag true and every text a word; None makes them all missing.
    """

    def append(view: str, *rows: tuple[str, float, float, float | None]) -> None:
        FeatureTable(plant, plant.views[view])
        schema = table_schema(plant, plant.views[view])
        values = [
            {
                **{name: _cell(dtype, value) for name, dtype in schema.items()},
                "asset": asset,
                "event_timestamp": START + timedelta(seconds=event),
                "created_timestamp": START + timedelta(seconds=created),
            }
            for asset, event, created, value in rows
        ]
        write_deltalake(table_path(plant, view), pl.DataFrame(values, schema=schema), mode="append")

    return append


def _cell(dtype: pl.DataType, value: float | None) -> float | bool | str | None:
    if value is None:
        return None
    kinds: dict[pl.DataType, float | bool | str] = {pl.Boolean(): True, pl.Int64(): int(value), pl.String(): "gap"}
    return kinds.get(dtype, value)
