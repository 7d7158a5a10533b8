"""What a profile knows: where the samples of a historian are among the tables of its database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import polars as pl

from bridge.drivers.protocols import Extent, Page
from bridge.drivers.sql.connections import DatabaseConnection, whole
from bridge.drivers.sql.statements import Dialect, Value
from historian.plant.connections import Tag


class Database(NamedTuple):
    """A connection and how its engine writes SQL."""

    connection: DatabaseConnection
    dialect: Dialect
    engine: str

    def rows(self, text: str, limit: int = 65_535, **values: Value | Sequence[Value]) -> pl.DataFrame:
        """Return the rows of a SELECT with named parameters, in frames of `limit` rows joined."""
        return whole(self.connection, self.dialect.bound(text, values), limit)


class Holdings(NamedTuple):
    """What a database has of the tags."""

    extents: Mapping[str, Extent]
    """Tag -> range outside which it has no samples; tags without samples are absent."""
    problems: Sequence[str]
    """What cannot be read and why, a line each."""


class Profile(Protocol):
    """A historian's way to keep samples in tables."""

    def holdings(self, database: Database) -> Holdings:
        """Return what the database has of the connection's tags."""
        ...

    def pages(self, database: Database, tags: Sequence[Tag], start: datetime, end: datetime) -> Iterator[Page]:
        """Yield pages of the samples with start <= timestamp < end; tags that the database lacks are left out."""
        ...

    def slice_starts(self, database: Database, start: datetime, end: datetime) -> Sequence[datetime]:
        """Return where slices should begin, in order; empty if that does not matter."""
        ...


def not_there(tag: Tag, where: str, near: str) -> str:
    """Return the problem of a tag whose address the database lacks.

    Args:
        tag: the tag.
        where: what was searched.
        near: what is most like it, for the end of the message.
    """
    return f"{' '.join(tag.listed)}: {where} has no {tag.address}, the address of {tag.name}; {near}"
