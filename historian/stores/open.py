"""From a url to a store: the one place that knows which stores there are."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from historian.errors import ConfigError
from historian.plant.plant import Plant
from historian.stores.influx.store import InfluxStore
from historian.stores.influx.wire import open_wire, parse_address
from historian.stores.lake.store import LakeStore
from historian.stores.protocols import Store


def open_store(plant: Plant) -> Store:
    """The store named by `[historian] url`; without a url, the lake under the state directory.

    Raises:
        ConfigError: a url of a kind there is no store for.
    """
    return open_url(plant.store_url, plant.store_token) if is_influx(plant.store_url) else LakeStore(lake_path(plant))


def open_url(url: str, token: str) -> Store:
    """The store of a url; `file:///PATH` or an InfluxDB. Raises as `open_store` does."""
    if is_influx(url):
        return InfluxStore(open_wire(parse_address(url), token))
    return LakeStore(_directory(url))


def is_influx(url: str) -> bool:
    """Whether the url names an InfluxDB."""
    return urlsplit(url).scheme in ("influxdb", "influxdb+https")


def lake_path(plant: Plant) -> Path:
    """The directory of the embedded store. Raises `ConfigError` if the plant has another store."""
    return _directory(plant.store_url) if plant.store_url else plant.state / "lake"


def _directory(url: str) -> Path:
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    raise ConfigError(f"the store {url!r} is no directory; use file:///PATH")
