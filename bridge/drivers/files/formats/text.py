"""Tables in text: lines that are no rows are left out, and no row is shifted, shortened or swallowed by another."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

import polars as pl

from bridge.drivers.files.fields import Lines
from bridge.drivers.files.formats.plain_text import shape_of, split
from bridge.drivers.files.formats.tables import MALFORMED, Piece
from bridge.drivers.files.lines import LINE, NUMBER, REPLACED, ends_of, lines_of, texts
from bridge.drivers.files.opening import ArchiveFile
from bridge.drivers.files.options import Options
from bridge.drivers.files.times import FAULT, GIVEN, ROW
from historian.errors import SourceError

_FIELDS: Final = "#fields"
_QUOTED: Final = "#quoted"
_BEGINNING: Final = 1 << 16
_MOST_SKIPPED: Final = 1_000
"""Largest number of lines before the first row that are cut off one by one."""
_SEP_LINE: Final = r"^\u{FEFF}?[sS][eE][pP]=.?$"
"""What Excel writes first to say its separator."""


class _Header(NamedTuple):
    line: str
    """The line itself; empty if there is none."""
    number: int
    """Its number; if there is none, that of the last line before the first row."""
    names: list[str]


class TextTable:
    """The `Table` in a file of text. Rows are numbered as lines, from 1."""

    def __init__(self, file: ArchiveFile, options: Options, *, glance: bool = False) -> None:
        """Name the table in a file; with `glance`, only the ends of a large file are read, where that is possible."""
        self._file = file
        self._options = options
        self._lines = Lines(options)
        self._ends = ends_of(file, options.encoding) if glance else None

    @property
    def is_glance(self) -> bool:
        """Whether only the ends of the file are read; numbers of rows are then those of its beginning."""
        return self._ends is not None

    @property
    def names(self) -> Sequence[str]:
        """See `Table.names`; without a header, the numbers of the columns."""
        return self._header.names

    def refusal(self, _place: int) -> str:
        """See `Table.refusal`; text is refused cell by cell."""
        return ""

    def pieces(self, columns: Mapping[str, int], *, numeric: Collection[str] = ()) -> Iterator[Piece]:
        """See `Table.pieces`."""
        header, first = self._header, 1
        begin = header.number + self._options.skip_rows_after_header
        shape = shape_of(self._options, header.names, header.line, self._options.timestamps)
        for text in self._texts():
            count = text.count(b"\n")
            skipped = max(0, begin - first + 1)
            plain = None
            if shape is not None and skipped <= _MOST_SKIPPED:
                plain = split(_without(text, skipped), shape, columns, numeric, first + skipped)
            if plain is not None:
                yield Piece(plain)
            else:
                yield from self._by_line(text, first, columns)
            first += count

    def _by_line(self, text: bytes, first: int, columns: Mapping[str, int]) -> Iterator[Piece]:
        """Yield the rows of text that is not plain, looked at line by line."""
        header = self._header
        begin = header.number + self._options.skip_rows_after_header
        lines = self._rows_of(lines_of(text, first)).filter((pl.col(NUMBER) > begin) & (pl.col(LINE) != header.line))
        other = lines.filter(self._is_header(header))
        rows = lines.filter(pl.col(NUMBER) < other[NUMBER].min()) if other.height else lines
        yield self._divided(rows, columns)
        if other.height:
            number, found = other.row(0)
            raise SourceError(f"row {number} is another header: {found[:100]}; divide the file there")

    def _texts(self) -> Iterator[bytes]:
        yield from self._ends or texts(self._file, self._options.encoding)

    @cached_property
    def _header(self) -> _Header:
        skipped = self._options.skip_rows
        start = 1
        for text in self._texts():
            first = self._first_row(text, start)
            start += text.count(b"\n")
            if first.is_empty():
                continue
            number, line = first.select(NUMBER, LINE).row(0)
            if not self._options.has_header:
                return _Header("", number - 1, [str(place + 1) for place in range(first[_FIELDS].item())])
            names = self._split(first, range(first[_FIELDS].item()), first[_FIELDS].item()).row(0)
            return _Header(line, number, [(name or "").strip() for name in names])
        raise SourceError("it is empty" if not skipped else f"it has no line after the first {skipped}; see skip_rows")

    def _first_row(self, text: bytes, start: int) -> pl.DataFrame:
        """Return the first row of a text after `skip_rows`; it is looked for at the beginning, where it mostly is."""
        cut = text.find(b"\n", _BEGINNING) + 1
        for part in (text[:cut], text) if cut else (text,):
            rows = self._rows_of(lines_of(part, start)).filter(pl.col(NUMBER) > self._options.skip_rows)
            if rows.height:
                break
        return self._counted(rows.head(1))

    def _rows_of(self, block: pl.DataFrame) -> pl.DataFrame:
        """Return the lines of a block that are rows, a header among them."""
        rows = block.filter(self._lines.is_row(pl.col(LINE)))
        if rows.height and rows[NUMBER][0] == 1:
            rows = rows.filter((pl.col(NUMBER) > 1) | ~pl.col(LINE).str.contains(_SEP_LINE))
        return rows.with_columns(self._lines.prepared(pl.col(LINE)))

    def _is_header(self, header: _Header) -> pl.Expr:
        """Return whether a line names the columns of the timestamp: exports that were put together have such lines."""
        if not header.line:
            return pl.lit(value=False)
        separator, quote = re.escape(self._lines.separator), re.escape(self._options.quote)
        named = [
            pl.col(LINE).str.contains(
                rf"(?:^|{separator})\s*(?:{quote})?{re.escape(name)}(?:{quote})?\s*(?:{separator}|$)"
            )
            for name in self._options.timestamps
        ]
        return pl.all_horizontal([pl.col(LINE).str.contains(self._options.timestamps[0], literal=True), *named])

    def _divided(self, lines: pl.DataFrame, columns: Mapping[str, int]) -> Piece:
        """Divide rows into columns; those of another number of fields are malformed."""
        names, line = self._header.names, pl.col(LINE)
        width, last_is_empty = len(names), not names[-1]
        lines = self._counted(lines)
        fields = pl.col(_FIELDS)
        filled = fields - line.str.len_bytes() + line.str.strip_chars_end(self._lines.separator).str.len_bytes()
        fits = (fields == width) | ((fields > width) & (filled <= width))
        if last_is_empty:
            fits = fits | (fields == width - 1)
        parts = []
        for _, some in lines.filter(fits).group_by(_QUOTED, maintain_order=True):
            found = self._split(some, columns.values(), width)
            chosen = [
                found.to_series(found.get_column_index(str(place))).alias(name) for name, place in columns.items()
            ]
            parts.append(pl.DataFrame([some[NUMBER].cast(pl.Int64).alias(ROW), *chosen]))
        empty = pl.DataFrame(schema={ROW: pl.Int64, **dict.fromkeys(columns, pl.String)})
        rows = parts[0] if len(parts) == 1 else pl.concat([empty, *parts]).sort(ROW)
        self._check_encoding(rows)
        return Piece(rows, self._malformed(lines.filter(~fits), width))

    def _counted(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Add whether a line has quoted fields, and how many fields it has."""
        lines = lines.with_columns(self._lines.is_quoted(lines[LINE]).alias(_QUOTED))
        return lines.with_columns(self._lines.fields(pl.col(LINE), pl.col(_QUOTED)).alias(_FIELDS))

    def _malformed(self, lines: pl.DataFrame, width: int) -> pl.DataFrame:
        opened = pl.col(LINE).str.count_matches(self._options.quote or "\x00", literal=True) % 2 == 1
        few = pl.lit(f"the row has fewer fields than the {width} of the first line")
        many = pl.lit(f"the row has more fields than the {width} of the first line; see separator, decimal and quote")
        quote = pl.lit("the row has a quote that is not closed, and another number of fields than the first line")
        fault = pl.when(opened).then(quote).when(pl.col(_FIELDS) < width).then(few).otherwise(many)
        found = lines.select(pl.col(NUMBER).alias(ROW), pl.col(LINE).alias(GIVEN), fault.alias(FAULT))
        return found.cast(MALFORMED)

    def _split(self, lines: pl.DataFrame, places: Iterable[int], width: int) -> pl.DataFrame:
        """Split lines of `width` fields, all quoted or none, and return the columns at some places, by number."""
        quoted, quote = bool(lines[_QUOTED][0]), self._options.quote
        found = pl.read_csv(
            lines[LINE].str.join("\n").item().encode(),
            has_header=False,
            separator=self._lines.separator,
            quote_char=quote if quoted else None,
            schema={str(place): pl.String for place in range(width)},
            columns=sorted(set(places)),
            extra_columns="ignore",  # empty ones after separators at the line's end
            missing_columns="insert",  # the empty one after a separator at the header's end
            truncate_ragged_lines=True,
        )
        if quote and not quoted and lines[LINE].str.contains(quote, literal=True).any():
            return found.with_columns(self._lines.unquoted(pl.all()))
        return found

    def _check_encoding(self, rows: pl.DataFrame) -> None:
        strange = [
            (int(row), name, text)
            for name in rows.columns[1:]
            for row, text in rows.filter(pl.col(name).str.contains(REPLACED, literal=True))
            .select(ROW, name)
            .head(1)
            .rows()
        ]
        if strange:
            row, name, text = strange[0]
            encoding = self._options.encoding or "utf-8"
            raise SourceError(
                f'row {row}, column "{name}": "{text}" has bytes that are not {encoding}; '
                'say encoding = "cp1252", or what the file was written in'
            )


def _without(text: bytes, lines: int) -> bytes:
    """Return a text without its first lines."""
    start = 0
    for _ in range(lines):
        start = text.find(b"\n", start) + 1 or len(text)
    return text[start:] if start else text
