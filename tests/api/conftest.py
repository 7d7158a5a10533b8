"""The API over a plant of two compressors and a pump, with feature rows written by hand."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import uvicorn
from deltalake import write_deltalake
from fastapi import FastAPI
from httpx import Client

from api.app import create_app
from features.feast.online.lookup import materialize
from features.feast.registry.feast_repo import apply, open_feature_store
from features.tables.feature_table import FeatureTable, table_path, table_schema
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.stores.memory import MemoryStore

START = datetime(2026, 3, 1, tzinfo=UTC)


CASE = Path(__file__).parents[1] / "cases" / "feast"


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of every test's plant: Feast's registry holds absolute paths, so a copy works only in one place."""
    return tmp_path_factory.mktemp("api") / "plant"


@pytest.fixture(scope="session")
def applied(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plant with one feature row per asset and view, ten seconds after START, applied and materialised: a template.

    It was made at `root`, and works when it is copied there.
    """
    _copy(CASE, root)
    plant = load_plant(root)
    for number, view in enumerate(plant.views.values(), 1):
        FeatureTable(plant, view)
        schema = table_schema(plant, view)
        at = {"event_timestamp": START + timedelta(seconds=10), "created_timestamp": START + timedelta(seconds=11)}
        values = {name: True if dtype == pl.Boolean() else number for name, dtype in schema.items() if name != "asset"}
        rows = [{**values, **at, "asset": asset} for asset in plant.assets_of(view.asset_class)]
        write_deltalake(table_path(plant, view.name), pl.DataFrame(rows, schema=schema), mode="append")
    apply(plant)
    materialize(open_feature_store(plant), end=START + timedelta(hours=1), advance=lambda _: None)
    template = tmp_path_factory.mktemp("applied") / "plant"
    shutil.copytree(root, template)
    return template


@pytest.fixture
def plant(root: Path) -> Plant:
    """The plant of tests/cases/feast, new for each test; nothing is computed or registered."""
    _copy(CASE, root)
    return load_plant(root)


@pytest.fixture
def samples() -> MemoryStore:
    """An empty historian store."""
    return MemoryStore()


@pytest.fixture
def served(applied: Path, plant: Plant) -> Plant:
    """The plant with features that are registered and online; see `applied`."""
    _copy(applied, plant.root)
    return plant


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target)


@pytest.fixture
def url_of() -> Iterator[Callable[[FastAPI], str]]:
    """Serve an app on a free port of 127.0.0.1 until the test ends; returns its address."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(_serving(app))


@pytest.fixture
def client(plant: Plant, samples: MemoryStore, url_of: Callable[[FastAPI], str]) -> Iterator[Client]:
    """A client of a server whose clock stands one minute after START."""
    app = create_app(plant, samples, clock=lambda: START + timedelta(minutes=1))
    with Client(base_url=url_of(app), timeout=30) as opened:
        yield opened


@contextmanager
def _serving(app: FastAPI) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=20)
