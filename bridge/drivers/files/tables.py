"""Process tags from tables: one sample per row (long) or one column per tag (wide)."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

import polars as pl

from bridge.drivers.files.dialect import Dialect
from bridge.drivers.files.formats.excel import ExcelTable
from bridge.drivers.files.formats.parquet import ParquetTable
from bridge.drivers.files.formats.tables import Piece, Table
from bridge.drivers.files.formats.text import TextTable
from bridge.drivers.files.layout import PAGE_CELLS, Outline, within
from bridge.drivers.files.names import no_column, place_of
from bridge.drivers.files.opening import ArchiveFile
from bridge.drivers.files.options import Options
from bridge.drivers.files.plain_rows import divided_long, divided_wide, numeric_columns
from bridge.drivers.files.seen import Seen
from bridge.drivers.files.times import FAULT, GIVEN, INSTANT, ROW, with_instants
from bridge.drivers.files.values import Parsed, malformed_rows, parse_cells
from bridge.drivers.raw_rows import RawRows
from historian.errors import SourceError
from historian.plant.connections import Tag
from historian.samples import SCHEMA
from historian.state_values import state_of_number

_ENDS: Final = 2
"""Pieces of a glance: the beginning of a file and its end."""
_TIME, _CLOCK, _ZONE = "#time", "#clock", "#zone"
"""Names in a piece of the columns of the timestamp and of its time zone."""


class TableFiles:
    """The `Layout` of tables. Rows are numbered as in a spreadsheet: in text, the first line is row 1."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def glance(self, file: ArchiveFile, tags: Sequence[Tag]) -> Outline:
        """See `Layout.glance`; reads the ends of a large file of text, and everything of another one."""
        if (
            self._options.format_of(file.name) == "text"
            and (table := TextTable(file, self._options, glance=True)).is_glance
        ):
            with suppress(SourceError):
                if self._options.layout == "long":
                    self._check_values(table)
                seen = self._seen(table, with_names=self._options.layout == "long")
                if seen.pieces_with_times == _ENDS:
                    return self._tags_of(table, tags, seen, is_exact=False)
        return self.outline(file, tags)

    def outline(self, file: ArchiveFile, tags: Sequence[Tag]) -> Outline:
        """See `Layout.outline`; reads the timestamps, and in long tables the names of tags."""
        table, is_long = _opened(file, self._options), self._options.layout == "long"
        if is_long:
            self._check_values(table)
        seen = self._seen(table, with_names=is_long)
        if seen.span is None and seen.faults:
            row, given, fault = seen.faults[0]
            raise SourceError(f'none of its rows can be read; row {row}: "{given}": {fault}')
        return self._tags_of(table, tags, seen)

    def _seen(self, table: Table, *, with_names: bool) -> Seen:
        """Return what the times of a table show, and the names in its column of tags."""
        tag, seen = self._options.tag if with_names else None, Seen()
        for piece in self._pieces(table, self._places(table, [tag] if tag else [])):
            seen.add(piece, tag)
        return seen

    def _tags_of(self, table: Table, tags: Sequence[Tag], seen: Seen, *, is_exact: bool = True) -> Outline:
        """Return which of the tags a table has: names in its column of tags, or columns that can be samples."""
        addresses = {tag.address for tag in tags}
        if self._options.layout == "long":
            unseen = frozenset(addresses - seen.names)
            absent = unseen if is_exact else frozenset[str]()
            return Outline(seen.span, absent, frozenset(seen.names), is_exact=is_exact, unseen=unseen)
        places = {each: place for each in addresses if (place := place_of(table.names, each)) is not None}
        refused = {each: refusal for each, place in places.items() if (refusal := table.refusal(place))}
        columns = {name for name in table.names if name and name not in self._options.timestamps}
        absent = frozenset(addresses - (places.keys() - refused.keys()))
        return Outline(seen.span, absent, frozenset(columns), tuple(refused.values()), is_exact, absent)

    def pages(
        self, file: ArchiveFile, outline: Outline, tags: Sequence[Tag], start: datetime, end: datetime
    ) -> Generator[Parsed, None, Outline]:
        """See `Layout.pages`."""
        options, table = self._options, _opened(file, self._options)
        if options.layout == "long":
            columns = self._places(table, self._long_columns())
        else:
            places = {tag.address: place_of(table.names, tag.address) for tag in tags}
            columns = {name: place for name, place in places.items() if place is not None}
        if not columns:
            return outline
        seen = Seen()
        for piece in self._pieces(table, columns, numeric_columns(options, tags)):
            if not outline.is_exact:
                seen.add(piece, options.tag if options.layout == "long" else None)
            for rows in _near(piece.rows, outline, start, end).iter_slices(max(1, PAGE_CELLS // len(columns))):
                yield self._parsed(rows, tags, file.name)
            if piece.malformed.height:
                yield Parsed(RawRows(), malformed_rows(piece.malformed, origin=file.name))
        return outline if outline.is_exact else outline.after(seen.span, seen.names)

    def _parsed(self, rows: pl.DataFrame, tags: Sequence[Tag], origin: str) -> Parsed:
        """Return rows as samples and rejected rows; most need no look at each cell."""
        options = self._options
        is_long = options.layout == "long"
        plain = (divided_long if is_long else divided_wide)(rows, tags, options)
        if plain.rows.is_empty():
            return Parsed(RawRows(plain.samples), pl.DataFrame())
        # The cells of a sheet are numbers, which fastexcel writes with a point.
        dialect = Dialect() if options.format_of(origin) == "excel" else options
        cells = (long_cells if is_long else wide_cells)(plain.rows, plain.tags, options)
        found = parse_cells(cells, origin=origin, dialect=dialect, quality=options.grading)
        return Parsed(RawRows(pl.concat([plain.samples, found.rows.samples.cast(SCHEMA)])), found.rejected)

    def _check_values(self, table: Table) -> None:
        """Refuse a long table without its columns, or whose values can be no samples."""
        self._places(table, [self._options.tag])
        places = self._places(table, self._long_columns())
        if refusals := [refusal for name in self._options.values if (refusal := table.refusal(places[name]))]:
            raise SourceError("; ".join(refusals))

    def _long_columns(self) -> list[str]:
        options = self._options
        return [options.tag, *options.values, *([options.grading.column] if options.grading else [])]

    def _places(self, table: Table, columns: Sequence[str], key: str = "") -> dict[str, int]:
        """Return name -> place. Raises `SourceError` if a column is missing."""
        places = {name: place_of(table.names, name) for name in columns}
        if missing := [name for name, place in places.items() if place is None]:
            raise no_column(missing, table.names, key)
        return {name: place for name, place in places.items() if place is not None}

    def _pieces(self, table: Table, columns: dict[str, int], numeric: Collection[str] = frozenset()) -> Iterator[Piece]:
        """Yield the pieces of the table with `INSTANT`, `FAULT` and `GIVEN`."""
        options = self._options
        times = self._places(table, options.timestamps, "timestamp")
        own = dict(zip((_TIME, _CLOCK), times.values(), strict=False))
        if options.timezone_column:
            own[_ZONE] = self._places(table, [options.timezone_column], "timezone_column")[options.timezone_column]
        names = list(own)[: len(times)]
        for rows, malformed in table.pieces({**own, **columns}, numeric=numeric):
            timed = with_instants(rows, names, options.rule, _ZONE if options.timezone_column else None)
            self._check_days(timed, table.names)
            yield Piece(timed.drop(list(own)), malformed)

    def _check_days(self, rows: pl.DataFrame, names: Sequence[str]) -> None:
        """Refuse dates without a time of day where several rows have the same: another column has the time."""
        form = self._options.timestamp_format or ""
        if "%" not in form or any(part in form for part in ("%H", "%I", "%s")):
            return
        same = [INSTANT, *([self._options.tag] if self._options.tag in rows.columns else [])]
        repeated = rows.drop_nulls(INSTANT).filter(pl.struct(same).is_duplicated())
        if repeated.height:
            raise SourceError(
                f"rows {repeated[ROW][0]} and {repeated[ROW][1]} have the same date, and timestamp_format has no time "
                f'of day; name its column too, timestamp = ["Date", "Time"]; there are {", ".join(names)}'
            )


def _near(rows: pl.DataFrame, outline: Outline, start: datetime, end: datetime) -> pl.DataFrame:
    """Return the rows with start <= instant < end, those without one, and those that a glance has not shown."""
    first, last = rows[INSTANT].min(), rows[INSTANT].max()
    if isinstance(first, datetime) and isinstance(last, datetime) and start <= first and last < end:
        return rows  # copying them takes as long as splitting them
    near = within(start, end, INSTANT)
    if not outline.is_exact and outline.span is not None:
        near = near | ~pl.col(INSTANT).is_between(outline.span.earliest, outline.span.latest)
    return rows.filter(near)


def _opened(file: ArchiveFile, options: Options) -> Table:
    kind = options.format_of(file.name)
    if kind == "parquet":
        return ParquetTable(file)
    return ExcelTable(file, options) if kind == "excel" else TextTable(file, options)


def long_cells(table: pl.DataFrame, tags: Sequence[Tag], options: Options) -> pl.DataFrame:
    """Return the rows of a long table as cells for `parse_cells`, one each. A tag's address is its name in the file."""
    has_states = any(tag.kind == "state" for tag in tags)
    words, values = [], []
    empty = pl.lit(value=True)  # whether all columns before this one are empty
    for column in options.values:
        word, number = _cell(table, column, has_text=has_states)
        words.append(pl.when(empty).then(word))
        values.append(pl.when(empty).then(number))
        empty = empty & word.is_null() & number.is_null()
    return table.select(
        row=ROW,
        instant=INSTANT,
        fault=FAULT,
        given=GIVEN,
        address=pl.col(options.tag).cast(pl.String).str.strip_chars(),
        word=pl.coalesce(words),
        number=pl.coalesce(values),
        grade=pl.col(options.grading.column).cast(pl.String) if options.grading else pl.lit(None, pl.String),
    ).join(_addresses(tags), on="address", maintain_order="left")


def wide_cells(table: pl.DataFrame, tags: Sequence[Tag], _options: Options) -> pl.DataFrame:
    """Return the rows of a wide table as cells for `parse_cells`, one per row and tag. A tag's address is its column.

    Empty cells are left out: nothing was reported for that tag at that time.
    """
    addresses, index = _addresses(tags), {"row": ROW, "instant": INSTANT, "fault": FAULT, "given": GIVEN}
    cells = []
    for address, is_text in addresses.select("address", "is_text").unique(maintain_order=True).rows():
        if address in table.columns:
            word, number = _cell(table, address, has_text=is_text)
            wanted = {"address": pl.lit(address), "is_text": pl.lit(is_text)}
            column = table.select(**index, **wanted, word=word, number=number)
            cells.append(column.filter(pl.col("number").is_not_null() | pl.col("word").is_not_null()))
    named = pl.concat(cells).join(addresses, on=["address", "is_text"], maintain_order="left")
    return named.with_columns(grade=pl.lit(None, pl.String))


def _cell(table: pl.DataFrame, column: str, *, has_text: bool) -> tuple[pl.Expr, pl.Expr]:
    """Return a column as text and as numbers; either may be null, and an empty text is.

    Numbers and Booleans are the text of the state that they stand for.
    """
    cell, dtype = pl.col(column), table.schema[column]
    if isinstance(dtype, pl.String | pl.Enum | pl.Categorical):
        text = cell.cast(pl.String)
        return pl.when(text.str.strip_chars() != "").then(text), pl.lit(None, pl.Float64)
    state = state_of_number(cell) if dtype.is_float() or dtype == pl.Boolean else cell.cast(pl.String)
    return (state if has_text else pl.lit(None, pl.String)), cell.cast(pl.Float64)


def _addresses(tags: Sequence[Tag]) -> pl.DataFrame:
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "address": pl.String,
        "tag": pl.String,
        "is_text": pl.Boolean,
        "states": pl.List(pl.String),
    }
    rows = [
        (
            tag.address,
            tag.name,
            tag.kind == "state",
            [str(each).lower() for pair in tag.states.items() for each in pair],
        )
        for tag in tags
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")
