"""Which stores the contract suite holds to the promises of `historian.stores.protocols`, and how they are opened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count

import httpx
import pytest

from historian.stores.influx.address import parse_address
from historian.stores.influx.store import InfluxStore
from historian.stores.influx.wire import open_wire
from historian.stores.lake.store import LakeStore
from historian.stores.memory import MemoryStore
from historian.stores.protocols import Store
from tests.servers import Server

Open = Callable[[int], Store]
"""Opens an empty store that pages after so many samples."""
STORES = ("memory", "lake", "influx1", "influx1-as-2", pytest.param("influx2", marks=pytest.mark.influxdb2))
EVER = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))
NUMBERS = count()


def opener(request: pytest.FixtureRequest, factory: pytest.TempPathFactory) -> Open:
    """Return a function that opens empty stores of the kind that the fixture's parameter names."""
    kind = request.param

    def open_one(page_rows: int) -> Store:
        if kind == "memory":
            return MemoryStore(page_rows=page_rows)
        if kind == "lake":
            return LakeStore(factory.mktemp("lake"), page_rows=page_rows, page_samples=page_rows)
        url, token = new_database(request, kind)
        store = InfluxStore(open_wire(parse_address(url), token), page_rows=page_rows)
        request.addfinalizer(store.close)
        return store

    return open_one


def new_database(request: pytest.FixtureRequest, kind: str) -> tuple[str, str]:
    """Return the url and the token of an empty database on the server of that kind."""
    name = f"db{next(NUMBERS)}"
    if kind == "influx2":
        server: Server = request.getfixturevalue("influx2_server")
        with httpx.Client(base_url=server.base, headers={"Authorization": "Token secret"}) as admin:
            org = admin.get("/api/v2/orgs").json()["orgs"][0]["id"]
            admin.post("/api/v2/buckets", json={"name": name, "orgID": org}).raise_for_status()
        return f"influxdb://127.0.0.1:{server.port}/north?bucket={name}", "secret"
    engine: Server = request.getfixturevalue("influx1_server")
    httpx.post(f"{engine.base}/query", params={"q": f"CREATE DATABASE {name}"}).raise_for_status()
    if kind == "influx1":
        return f"influxdb://127.0.0.1:{engine.port}/{name}", ""
    server = request.getfixturevalue("shim_server")
    return f"influxdb://127.0.0.1:{server.port}/north?bucket={name}", "any"
