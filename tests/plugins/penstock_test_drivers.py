"""Two drivers in a package of their own, found by entry point as any third party's would be. They open nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

import polars as pl
from pydantic import Field

from bridge.drivers.protocols import Driver, Page
from historian.errors import EndOfInput, SourceError
from historian.plant.connections import ConnectionConfig
from historian.plant.model import Model


class Options(Model):
    """What stands in plant.toml."""

    port: int = Field(1, ge=1, le=65535)


class Address(Model):
    """What a tag list adds."""

    mode: Literal["fast", "safe"] = "safe"


class Silent:
    """A source that has nothing to say, and an archive that is empty."""

    def __init__(self, feed: ConnectionConfig) -> None:
        self.feed = feed

    async def connect(self) -> None:
        """Nothing to connect."""

    async def read(self) -> pl.DataFrame:
        """Nothing will come."""
        raise EndOfInput(f"{self.feed.name} is silent")

    async def close(self) -> None:
        """Nothing to close."""


class Empty:
    """An archive without samples."""

    def __init__(self, feed: ConnectionConfig) -> None:
        self.feed = feed

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[Page]:
        """No pages."""
        yield from ()

    def extent(self) -> tuple[datetime, datetime]:
        """No extent."""
        raise SourceError(f"{self.feed.name} is empty")


live = Driver(options=Options, address=Address, source=Silent)
archive = Driver(options=Options, address=Address, archive=Empty)
