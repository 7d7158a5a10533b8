"""The protocol of a format of tables: columns by name, rows in pieces."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import polars as pl

from bridge.drivers.files.times import FAULT, GIVEN, ROW

MALFORMED: pl.Schema = pl.Schema({ROW: pl.Int64(), GIVEN: pl.String(), FAULT: pl.String()})
"""Columns of rows that are none: their number, their text, and why."""


class Piece(NamedTuple):
    """Some rows of a table."""

    rows: pl.DataFrame
    """`ROW`, the number of the row as people count it in the file, and the columns under the names asked for."""
    malformed: pl.DataFrame = MALFORMED.to_frame()
    """Rows that cannot be divided into columns: `MALFORMED`."""


class Table(Protocol):
    """One table, open for reading from its beginning; each call of `pieces` reads it once."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the columns, in order."""
        ...

    def refusal(self, place: int) -> str:
        """Return why the values of a column can be no samples; empty if they can."""
        ...

    def pieces(self, columns: Mapping[str, int], *, numeric: Collection[str] = ()) -> Iterator[Piece]:
        """Yield the rows in pieces of bounded size.

        Args:
            columns: name in the result -> place of the column, counted from 0.
            numeric: those of them that may become Float64 where all of their fields are numbers.

        Raises:
            SourceError: the rest cannot be read; what could be read has been yielded before.
        """
        ...
