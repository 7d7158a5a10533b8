"""From a url to a store: the one place that knows which stores there are."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from historian.errors import ConfigError
from historian.lake import LakeStore
from historian.plant import Plant
from historian.stores import Store


def open_store(plant: Plant) -> Store:
    """The store named by `[historian] url`; without a url, the lake under the state directory.

    Raises:
        ConfigError: a url of a kind there is no store for.
    """
    return LakeStore(lake_path(plant))


def lake_path(plant: Plant) -> Path:
    """The directory of the embedded store."""
    url = urlsplit(plant.store_url)
    if not plant.store_url:
        return plant.state / "lake"
    if url.scheme == "file" and url.netloc in ("", "localhost"):
        return Path(unquote(url.path))
    raise ConfigError(f"historian.url {plant.store_url!r} is of no known kind; use file:///path, or leave it out")
