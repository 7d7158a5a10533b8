"""Opens the store that a url names; the only module that knows every kind of store.

The client of InfluxDB takes most of a second to import, so it is imported only when an InfluxDB is opened.
"""

from __future__ import annotations

from historian.plant.plant import Plant
from historian.stores.lake.store import LakeStore
from historian.stores.protocols import Store
from historian.stores.urls import directory_of, is_influx, lake_path


def open_store(plant: Plant) -> Store:
    """Open the store named by `[historian] url`; without a url, the lake under the state directory.

    Raises:
        ConfigError: no store has a url of that kind, or the token is malformed.
        StoreUnavailable: a file is where the lake's directory should be.
    """
    return _influx(plant.store_url, plant.store_token) if is_influx(plant.store_url) else LakeStore(lake_path(plant))


def open_url(url: str, token: str) -> Store:
    """Open the store of a url. Raises as `open_store` does.

    Args:
        url: `file:///PATH`, or that of an InfluxDB.
        token: token or password of an InfluxDB.
    """
    return _influx(url, token) if is_influx(url) else LakeStore(directory_of(url))


def _influx(url: str, token: str) -> Store:
    from historian.stores.influx.address import parse_address
    from historian.stores.influx.store import InfluxStore
    from historian.stores.influx.wire import open_wire

    return InfluxStore(open_wire(parse_address(url), token))
