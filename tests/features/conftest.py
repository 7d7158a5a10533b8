"""A plant of two compressors and a pump, and feature rows made by hand for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from redis import Redis

from historian.plant.plant import Plant
from tests.features.feature_rows import append_rows, copied_plant
from tests.servers import redis_server, two_ray_nodes


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """The plant of tests/cases/feast in a directory of its own."""
    return copied_plant(tmp_path / "plant")


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Redis on loopback."""
    with redis_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture(scope="session")
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
    """Appends feature rows to a view of the plant; see `append_rows`."""
    return partial(append_rows, plant)
