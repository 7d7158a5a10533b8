"""Two drivers in a separate package, found by entry point like a third party's. They open nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field

from bridge.drivers.protocols import Driver, Extent, Page
from bridge.drivers.raw_rows import RawRows
from historian.errors import EndOfInput, SourceError
from historian.plant.connections import ConnectionConfig
from historian.plant.keys import Model


class Options(Model):
    """Keys of plant.toml."""

    port: int = Field(1, ge=1, le=65535)


class Address(Model):
    """Columns of the tag list."""

    mode: Literal["fast", "safe"] = "safe"


class Silent:
    """A source without samples."""

    def __init__(self, connection: ConnectionConfig) -> None:
        self.connection = connection

    async def connect(self) -> None:
        """Nothing to connect."""

    async def read(self) -> RawRows:
        """Nothing will come."""
        raise EndOfInput(f"{self.connection.name} is silent")

    async def close(self) -> None:
        """Nothing to close."""


class Empty:
    """An archive without samples."""

    def __init__(self, connection: ConnectionConfig) -> None:
        self.connection = connection

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def extents(self) -> Mapping[str, Extent]:
        """No extent."""
        raise SourceError(f"{self.connection.name} is empty")

    async def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """No pages."""
        pages: tuple[Page, ...] = ()
        for page in pages:
            yield page


live = Driver(options=Options, address=Address, source=Silent)
archive = Driver(options=Options, address=Address, archive=Empty)
