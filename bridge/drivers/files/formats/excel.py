"""Sheets of Excel and its relatives. Read by fastexcel (Calamine); every cell becomes text, dates ISO 8601."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import polars as pl

from bridge.drivers.files.formats.tables import Piece
from bridge.drivers.files.names import nearest
from bridge.drivers.files.opening import ArchiveFile, whole
from bridge.drivers.files.options import Options
from bridge.drivers.files.times import ROW
from historian.errors import SourceError


class ExcelTable:
    """The `Table` in a sheet. Rows are numbered as in the sheet, from 1."""

    def __init__(self, file: ArchiveFile, options: Options) -> None:
        self._file = file
        self._options = options

    @property
    def names(self) -> Sequence[str]:
        """See `Table.names`; without a header, the numbers of the columns."""
        cells = self._sheet
        if not self._options.has_header:
            return [str(place + 1) for place in range(cells.width - 1)]
        header = cells.filter(pl.col(ROW) == self._first_row)
        return [(name or "").strip() for name in header.drop(ROW).row(0)]

    def refusal(self, _place: int) -> str:
        """See `Table.refusal`; text is refused cell by cell."""
        return ""

    def pieces(self, columns: Mapping[str, int], *, numeric: Collection[str] = ()) -> Iterator[Piece]:
        """See `Table.pieces`; a sheet is one piece."""
        header = self._first_row if self._options.has_header else self._first_row - 1
        first = header + self._options.skip_rows_after_header
        filled = pl.any_horizontal(pl.exclude(ROW).is_not_null())
        rows = self._sheet.filter((pl.col(ROW) > first) & filled)
        yield Piece(rows.select(ROW, **{name: pl.nth(place + 1) for name, place in columns.items()}))

    @property
    def _first_row(self) -> int:
        return self._options.skip_rows + 1

    @cached_property
    def _sheet(self) -> pl.DataFrame:
        """The cells as text, with the numbers of their rows."""
        import fastexcel  # a tenth of a second of every command, for one format of several

        content = whole(self._file)
        try:
            book = fastexcel.read_excel(content if isinstance(content, Path) else content.getvalue())
            sheet = self._options.sheet
            if sheet is not None and sheet not in book.sheet_names:
                raise SourceError(f"it has no sheet {sheet}; {nearest(sheet, book.sheet_names)}")
            cells = book.load_sheet(sheet or 0, header_row=None, skip_rows=0, dtypes="string").to_polars()
        except fastexcel.FastExcelError as error:
            raise SourceError(f"cannot be read: {str(error).splitlines()[0]}") from None
        if cells.height <= self._options.skip_rows:
            raise SourceError("it is empty" if cells.is_empty() else "it has no row after skip_rows")
        return cells.with_row_index(ROW, offset=1).with_columns(pl.col(ROW).cast(pl.Int64))
