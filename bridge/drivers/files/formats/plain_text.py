"""Splits text that has nothing unusual in it at once, without a look at every line.

Most exports are so: every line a row of the same number of fields, no quotes, no comments. Whatever has anything else
is left to `text`, which gives the same result for plain text, in several times the time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from bridge.drivers.files.dialect import Dialect
from bridge.drivers.files.lines import REPLACED
from bridge.drivers.files.times import ROW


class Shape(NamedTuple):
    """What plain text looks like in one file."""

    width: int
    """Number of fields in every line."""
    separator: str
    suspects: tuple[bytes, ...]
    """What text that is not plain has in it: a quote, the beginning of a comment."""
    header: tuple[bytes, re.Pattern[bytes]] | None
    """A name that every other header has as a field, and what finds the field; None without a header."""


def shape_of(dialect: Dialect, names: Collection[str], header: str, words: Sequence[str]) -> Shape | None:
    """Return what plain text looks like in a file; None if none of its text is plain.

    Args:
        dialect: how it is written.
        names: the names of its columns.
        header: its header, empty if it has none.
        words: the names of the columns of the timestamp, which every other header has too.
    """
    separator = dialect.separator
    if len(names) < 2 or separator == " " or not separator.isascii() or (header and not list(names)[-1]):
        return None
    suspects = tuple(each.encode() for each in (dialect.quote, dialect.comment) if each)
    return Shape(len(names), separator, suspects, _field(words[0], separator) if header else None)


def _field(name: str, separator: str) -> tuple[bytes, re.Pattern[bytes]]:
    """Return a name, and what finds it as a field of its own."""
    end, found = re.escape(separator.encode()), re.escape(name.encode())
    return name.encode(), re.compile(rb"(?m)(?:^|%b)[^\S\n]*%b[^\S\n]*(?:%b|$)" % (end, found, end))


def split(
    text: bytes, shape: Shape, columns: Mapping[str, int], numeric: Collection[str], first: int
) -> pl.DataFrame | None:
    """Split plain text into columns, with `ROW`; None if it is not plain.

    Args:
        text: whole lines.
        shape: what plain text looks like.
        columns: name in the result -> place of the column.
        numeric: those of them that become numbers, if all of their fields are numbers; others stay text.
        first: number of the first line.
    """
    if not text or not _is_plain(text, shape):
        return None
    numbers = {columns[name] for name in numeric if name in columns} - {
        place for name, place in columns.items() if name not in numeric
    }
    found = _read(text, shape, columns, numbers)
    if found is None and numbers:
        found = _read(text, shape, columns, set())
    if found is None:
        return None
    rows = pl.int_range(first, first + found.height, dtype=pl.Int64, eager=True).alias(ROW)
    return found.select(rows, **{name: pl.col(str(place)) for name, place in columns.items()})


def _is_plain(text: bytes, shape: Shape) -> bool:
    lines = text.count(b"\n")
    return (
        text.count(shape.separator.encode()) == lines * (shape.width - 1)
        and not text.startswith(b"\n")
        and b"\n\n" not in text
        and not any(each in text for each in shape.suspects)
        and not (shape.header and shape.header[0] in text and shape.header[1].search(text))
        and _is_sound(text)
    )


def _is_sound(text: bytes) -> bool:
    """Return whether all of it is text in the encoding that it was read in."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return REPLACED.encode() not in text


def _read(text: bytes, shape: Shape, columns: Mapping[str, int], numbers: Collection[int]) -> pl.DataFrame | None:
    """Return the columns by number; None if a line has more fields, or a field of `numbers` is no number.

    As the text has as many separators as lines of this width have, no line has fewer fields either.
    """
    try:
        return pl.read_csv(
            text,
            has_header=False,
            separator=shape.separator,
            quote_char=None,
            schema={str(place): pl.Float64 if place in numbers else pl.String for place in range(shape.width)},
            columns=sorted(set(columns.values())),
        )
    except pl.exceptions.PolarsError:
        return None
