"""Fixtures every test directory may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import settings

from tests.servers import Server, influx1, influx2, set_up2, shim
from tests.sql_servers import SqlServer, mariadb, postgresql
from tests.warm.programs import warm_programs

import_module("features")  # before any test imports Feast: docs/decisions/0006

settings.register_profile("penstock", deadline=None)  # other tests run at the same time
settings.load_profile("penstock")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let every worker begin with its share of the slow tests, and let these take longer.

    A worker is given a contiguous part of the list, and takes over fast tests of another when it has finished its own.
    Tests that share the Ray cluster stand together, so that one worker starts it once.
    """
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    slow = [item for item in items if item.get_closest_marker("slow")]
    slow.sort(key=lambda item: "ray_address" in getattr(item, "fixturenames", ()))
    fast = [item for item in items if not item.get_closest_marker("slow")]
    for item in slow:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))
    ends = [round(len(fast) * worker / workers) for worker in range(workers + 1)]
    share = -(-len(slow) // workers)
    items[:] = [
        item
        for worker in range(workers)
        for item in (*slow[worker * share : (worker + 1) * share], *fast[ends[worker] : ends[worker + 1]])
    ]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real bearing, pump and compressor data next to the checkout, and never part of it."""
    path = Path(os.environ.get("PENSTOCK_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not path.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"the real data is not at {path}; set PENSTOCK_TEST_DATA")
        pytest.skip(f"the real data is not at {path}; set PENSTOCK_TEST_DATA")
    return path


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of programs that do not import Feast again at each start; see `tests.warm`.

    For tests that are not about starting. Every command is started as users start it by a test, too.
    """
    with warm_programs(tmp_path_factory.mktemp("warm")) as directory:
        yield directory


@pytest.fixture(scope="session")
def influx1_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """InfluxDB 1.6."""
    server = influx1(tmp_path_factory.mktemp("influx1"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shim_server(tmp_path_factory: pytest.TempPathFactory, influx1_server: Server) -> Iterator[Server]:
    """The 2.x write path in front of it."""
    server = shim(tmp_path_factory.mktemp("shim"), influx1_server)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def influx2_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """InfluxDB 2, which no package registry has: `PENSTOCK_TEST_INFLUXD2` names its program."""
    program = os.environ.get("PENSTOCK_TEST_INFLUXD2")
    if not program:
        pytest.skip("PENSTOCK_TEST_INFLUXD2 names no influxd of version 2")
    server = influx2(tmp_path_factory.mktemp("influx2"), program)
    server.start()
    set_up2(server)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[SqlServer]:
    """PostgreSQL."""
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlServer]:
    """MariaDB."""
    with mariadb(tmp_path_factory.mktemp("mariadb")) as server:
        yield server
