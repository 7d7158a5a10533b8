"""The archive over a database; `bridge.drivers.sql.driver` is its manual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final, TypeVar, cast

from bridge.drivers.protocols import Extent, Page
from bridge.drivers.sql.aveva import AvevaProfile
from bridge.drivers.sql.connections import DIALECTS, Access, DatabaseConnection, connect
from bridge.drivers.sql.custom import CustomProfile
from bridge.drivers.sql.driver import Options
from bridge.drivers.sql.ignition import IgnitionProfile
from bridge.drivers.sql.profile import Database, Holdings, Profile
from bridge.drivers.threads import in_thread
from historian.errors import NotConnected, SourceError
from historian.plant.connections import ConnectionConfig, Tag

Result = TypeVar("Result")

_PROFILES: Final[Mapping[str, Callable[[Options, Sequence[Tag]], Profile]]] = {
    "ignition": IgnitionProfile,
    "aveva": AvevaProfile,
    "custom": CustomProfile,
}


class SqlArchive:
    """An `Archive` over a database; `bridge.drivers.sql.driver` is its manual.

    Each read has a connection of its own, so that several may run at the same time.
    """

    def __init__(self, connection: ConnectionConfig) -> None:
        """Prepare; connects to nothing."""
        options = cast(Options, connection.options)
        self._name = connection.name
        self._tags = connection.tags
        self._access = Access(
            options.address, options.password.get_secret_value(), options.timeout, connection.root, options.odbc_driver
        )
        self._profile = _PROFILES[options.profile](options, connection.tags)
        self._idle: list[DatabaseConnection] = []
        self._holdings: Holdings | None = None

    async def open(self) -> None:
        """See `Archive.open`."""
        await asyncio.to_thread(self._with_database, lambda _: None)

    async def close(self) -> None:
        """See `Archive.close`."""
        while self._idle:
            await asyncio.to_thread(self._idle.pop().close)

    async def extents(self) -> Mapping[str, Extent]:
        """See `Archive.extents`."""
        self._holdings = await asyncio.to_thread(self._with_database, self._profile.holdings)
        return self._holdings.extents

    async def problems(self) -> Sequence[str]:
        """See `ReportsProblems.problems`."""
        if self._holdings is None:
            await self.extents()
        return [f"archive {self._name}: {each}" for each in (self._holdings.problems if self._holdings else ())]

    async def slice_starts(self, start: datetime, end: datetime) -> Sequence[datetime]:
        """See `ProposesSlices.slice_starts`."""
        return await asyncio.to_thread(
            self._with_database, lambda database: self._profile.slice_starts(database, start, end)
        )

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`."""
        return in_thread(self._read([tag for tag in self._tags if tag.name in tags], start, end))

    def _read(self, tags: Sequence[Tag], start: datetime, end: datetime) -> Generator[Page]:
        with self._database() as database:
            yield from self._profile.pages(database, tags, start, end)

    def _with_database(self, work: Callable[[Database], Result]) -> Result:
        with self._database() as database:
            return work(database)

    @contextmanager
    def _database(self) -> Iterator[Database]:
        """Lend a connection; after an error it is closed, because its state is unknown."""
        connection = self._idle.pop() if self._idle else connect(self._access)
        try:
            engine = self._access.address.engine
            yield Database(connection, DIALECTS[engine], engine)
        except NotConnected as error:
            connection.close()
            raise NotConnected(f"archive {self._name}: {error}") from None
        except SourceError as error:
            connection.close()
            raise SourceError(f"archive {self._name}: {error}") from None
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
