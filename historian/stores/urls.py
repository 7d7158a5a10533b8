"""Parsing of store urls, without opening or importing any store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from historian.errors import ConfigError
from historian.plant.plant import Plant


def is_influx(url: str) -> bool:
    """Return whether the url names an InfluxDB."""
    return urlsplit(url).scheme in ("influxdb", "influxdb+https")


def lake_path(plant: Plant) -> Path:
    """Return the directory of the embedded store. Raises `ConfigError` if the plant has another store."""
    return directory_of(plant.store_url) if plant.store_url else plant.state / "lake"


def directory_of(url: str) -> Path:
    """Return the directory of a `file:///PATH`. Raises `ConfigError` for any other url."""
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    raise ConfigError(f"the store {url!r} is no directory; use file:///PATH")
