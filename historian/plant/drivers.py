"""What a driver is to the rest of Penstock: a name in `plant.toml`, the keys it takes, and how to open it.

Drivers are found by the entry-point group `penstock.drivers`, so that the plant file can be checked completely, driver
keys included, without this package knowing any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol

import polars as pl
from pydantic import BaseModel

from historian.errors import near_misses

if TYPE_CHECKING:
    from historian.plant.plant import Feed


class Source(Protocol):
    """A live connection to a device or server; read-only towards the plant.

    The runner calls `connect` until it succeeds, then `read` until it raises `NotConnected` (connect again) or
    `EndOfInput` (stop), and always `close` in between.
    """

    async def connect(self) -> None:
        """Opens the connection. Raises `NotConnected` if that cannot be done now."""

    async def read(self) -> pl.DataFrame:
        """Waits for the next raw rows (columns of `samples.SCHEMA`, any order, repeats allowed).

        Calling it again confirms that all rows returned earlier are durable.
        """
        ...

    async def close(self) -> None:
        """Releases the connection; never raises, may be called twice."""


@dataclass(frozen=True)
class Page:
    """A bounded piece of an archive's answer."""

    rows: pl.DataFrame
    """Raw rows, as a source's `read` returns them."""
    origin: str
    """Where they came from, for people: a file, a table, a request."""
    rejected: pl.DataFrame | None = None
    """Rows that cannot be samples: the columns of `samples.SCHEMA` and `reason`. They go to quarantine."""


class Archive(Protocol):
    """A legacy historian, or a folder of files, that can be read by time range."""

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[Page]:
        """Pages of the samples with start <= timestamp < end, in any order."""
        ...

    def extent(self) -> tuple[datetime, datetime]:
        """The half-open time range in which the archive has samples. Raises `SourceError` if it has none."""
        ...


@dataclass(frozen=True)
class Driver:
    """What a driver module offers under its entry point; one of `source` and `archive` is set.

    Both raise `ConfigError` for tags they cannot bring, and open nothing: `penstock check` makes every feed once.
    """

    options: type[BaseModel]
    """The keys the driver takes in its table of `plant.toml`."""
    address: type[BaseModel]
    """The columns the driver adds to the tag list."""
    source: Callable[[Feed], Source] | None = None
    archive: Callable[[Feed], Archive] | None = None


def find_driver(name: str) -> Driver:
    """The installed driver of that name.

    Raises:
        ValueError: no such driver; the message names those there are.
    """
    found = entry_points(group="penstock.drivers")
    if name not in found.names:
        raise ValueError(f"unknown driver {name!r}{near_misses(name, found.names)}")
    driver: Driver = found[name].load()
    return driver
