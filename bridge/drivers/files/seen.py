"""What reading a table shows of it: its first and last time, the names in it, what is wrong with its first rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from bridge.drivers.files.formats.tables import Piece
from bridge.drivers.files.layout import Span
from bridge.drivers.files.times import FAULT, GIVEN, INSTANT, ROW


@dataclass
class Seen:
    """What the pieces of a table have shown so far."""

    names: set[str] = field(default_factory=set)
    """Names in the column of tags."""
    faults: list[tuple[int, str, str]] = field(default_factory=list)
    """Number, text and fault of the first row without a time, and of the first line that is no row."""
    pieces_with_times: int = 0
    _ends: tuple[datetime, datetime] | None = None

    def add(self, piece: Piece, tag: str | None) -> None:
        """Add a piece.

        Args:
            piece: rows with `INSTANT`, `FAULT` and `GIVEN`.
            tag: the column of tags, if there is one.
        """
        ends = [each for each in (piece.rows[INSTANT].min(), piece.rows[INSTANT].max()) if isinstance(each, datetime)]
        self.pieces_with_times += bool(ends)
        known = [*(self._ends or ()), *ends]
        self._ends = (min(known), max(known)) if known else None
        if not self.faults:
            timeless = piece.rows.filter(pl.col(FAULT).is_not_null()).select(ROW, GIVEN, FAULT)
            self.faults = [*timeless.head(1).rows(), *piece.malformed.select(ROW, GIVEN, FAULT).head(1).rows()]
        if tag is not None:
            tagged = piece.rows.get_column(tag).cast(pl.String).unique().str.strip_chars()
            self.names.update(tagged.drop_nulls().to_list())

    @property
    def span(self) -> Span | None:
        """The span of all rows; None if none has a time."""
        return Span(*self._ends) if self._ends else None
