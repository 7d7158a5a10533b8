"""Process tags from tables in CSV or Parquet: one sample per row (long) or one column per tag (wide)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from bridge.drivers.files.layout import PAGE_CELLS, ArchiveFile, Span, within
from bridge.drivers.files.options import Options, suffix
from bridge.drivers.files.values import FAULT, GIVEN, INSTANT, ROW, Parsed, parse_cells, with_instants
from historian.errors import SourceError
from historian.plant.connections import Tag
from historian.state_values import state_of_number


class TableFiles:
    """The `Layout` of tables. Rows are numbered as in a spreadsheet: in CSV the header is row 1."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def span(self, file: ArchiveFile, tags: Sequence[Tag]) -> Span | None:
        """See `Layout.span`; reads the timestamp column only."""
        del tags  # every tag of a file has the same times
        ends = [(table[INSTANT].min(), table[INSTANT].max()) for table in self._tables(file.path, [])]
        known = [instant for pair in ends for instant in pair if isinstance(instant, datetime)]
        return Span(min(known), max(known)) if known else None

    def pages(self, file: ArchiveFile, tags: Sequence[Tag], start: datetime, end: datetime) -> Iterator[Parsed]:
        """See `Layout.pages`."""
        options = self._options
        if options.layout == "long":
            columns = [options.tag, options.value, *([options.quality] if options.quality else [])]
        else:
            columns = list(dict.fromkeys(tag.address for tag in tags))
        known = _column_names(file.path, options.separator)
        present, missing = [name for name in columns if name in known], [name for name in columns if name not in known]
        absent = SourceError(f"there is no column {', '.join(missing)}; there are {', '.join(known)}")
        if missing and (options.layout == "long" or not present):
            raise absent
        cells_of = long_cells if options.layout == "long" else wide_cells
        for table in self._tables(file.path, present):
            cells = cells_of(table.filter(within(start, end, INSTANT)), tags, options)
            yield parse_cells(cells, origin=file.name, decimal=options.decimal)
        if missing:
            raise absent

    def _tables(self, path: Path, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield pieces of the file: `ROW`, `INSTANT`, `FAULT` and the columns."""
        options = self._options
        size = PAGE_CELLS // max(1, len(columns))
        wanted = list(dict.fromkeys([options.timestamp, *columns]))
        known = _column_names(path, options.separator)
        if options.timestamp not in known:
            raise SourceError(f'there is no column {options.timestamp}; there are {", ".join(known)}; see "timestamp"')
        if suffix(path) == ".parquet":
            tables = _parquet_tables(path, wanted, size)
        else:
            tables = _csv_tables(path, wanted, size, options.separator)
        for table in tables:
            yield with_instants(table, options.timestamp, zone=options.timezone, pattern=options.timestamp_format)


def long_cells(table: pl.DataFrame, tags: Sequence[Tag], options: Options) -> pl.DataFrame:
    """Return the rows of a long table as cells for `parse_cells`, one each. A tag's address is its name in the file."""
    value, nothing = pl.col(options.value), pl.lit(None, pl.String)
    as_text = _is_words(table.schema[options.value])
    return table.select(
        row=ROW,
        instant=INSTANT,
        fault=FAULT,
        given=GIVEN,
        address=pl.col(options.tag).cast(pl.String),
        word=_word(table, options.value) if as_text or any(tag.kind == "state" for tag in tags) else nothing,
        number=pl.lit(None, pl.Float64) if as_text else value.cast(pl.Float64),
        grade=pl.col(options.quality).cast(pl.String) if options.quality else nothing,
    ).join(_addresses(tags), on="address", maintain_order="left")


def wide_cells(table: pl.DataFrame, tags: Sequence[Tag], _options: Options) -> pl.DataFrame:
    """Return the rows of a wide table as cells for `parse_cells`, one per row and tag. A tag's address is its column.

    Empty cells are left out: nothing was reported for that tag at that time.
    """
    addresses, index = _addresses(tags), {"row": ROW, "instant": INSTANT, "fault": FAULT, "given": GIVEN}
    cells = []
    for address, is_text in addresses.select("address", "is_text").unique(maintain_order=True).rows():
        if address in table.columns:
            as_word = is_text or _is_words(table.schema[address])
            word = _word(table, address) if as_word else pl.lit(None, pl.String)
            number = pl.lit(None, pl.Float64) if as_word else pl.col(address).cast(pl.Float64)
            wanted = {"address": pl.lit(address), "is_text": pl.lit(is_text)}
            column = table.select(**index, **wanted, word=word, number=number)
            cells.append(column.filter(pl.col("number").is_not_null() | (pl.col("word").str.strip_chars() != "")))
    named = pl.concat(cells).join(addresses, on=["address", "is_text"], maintain_order="left")
    return named.with_columns(grade=pl.lit(None, pl.String))


def _is_words(dtype: pl.DataType) -> bool:
    """Return whether the values of a column are words: texts, or the names of an enumeration."""
    return isinstance(dtype, pl.String | pl.Enum | pl.Categorical)


def _word(table: pl.DataFrame, column: str) -> pl.Expr:
    """Return a column as text; of numbers and Booleans the states that they stand for."""
    dtype = table.schema[column]
    is_number = dtype.is_float() or dtype == pl.Boolean
    return state_of_number(pl.col(column)) if is_number else pl.col(column).cast(pl.String)


def _addresses(tags: Sequence[Tag]) -> pl.DataFrame:
    rows = [(tag.address, tag.name, tag.kind == "state") for tag in tags]
    return pl.DataFrame(rows, schema={"address": pl.String, "tag": pl.String, "is_text": pl.Boolean}, orient="row")


def _column_names(path: Path, separator: str) -> list[str]:
    if suffix(path) == ".parquet":
        return pl.scan_parquet(path).collect_schema().names()
    return pl.scan_csv(path, separator=separator, infer_schema=False).collect_schema().names()


def _csv_tables(path: Path, columns: list[str], size: int, separator: str) -> Iterator[pl.DataFrame]:
    lines = pl.scan_csv(path, separator=separator, infer_schema=False, row_index_name=ROW, row_index_offset=2)
    return lines.select(ROW, *columns).collect_batches(chunk_size=size, maintain_order=True)


def _parquet_tables(path: Path, columns: list[str], size: int) -> Iterator[pl.DataFrame]:
    first = 1
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=size, columns=columns):
            yield pl.DataFrame(batch).with_row_index(ROW, offset=first)
            first += batch.num_rows
