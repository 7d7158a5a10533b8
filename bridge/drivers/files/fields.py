"""What a dialect makes of text: which lines are rows, how many fields they have, which texts are numbers. Pure."""

from __future__ import annotations

import re
from typing import Final

import polars as pl

from bridge.drivers.files.dialect import Dialect

_BLANKS: Final = r"[\s\u00A0\u202F\u2009]"
_APOSTROPHES: Final = "['\u2019]"


def numbers(words: pl.Expr, dialect: Dialect) -> pl.Expr:
    """Return texts as numbers, null where one is no number in this dialect."""
    if dialect.decimal == "." and not dialect.thousands:
        return words.cast(pl.Float64, strict=False)
    # With a decimal comma a point is no decimal mark: 1.002 may be a thousand and two.
    mark = re.escape(dialect.decimal)
    fraction = rf"(?:{mark}\d*)?(?:[eE][+-]?\d+)?$"
    follows = words.str.contains(rf"^[+-]?(?:\d+{fraction}|{mark}\d+(?:[eE][+-]?\d+)?$)")
    digits = words
    if dialect.thousands:
        between = {" ": _BLANKS, "'": _APOSTROPHES}.get(dialect.thousands, re.escape(dialect.thousands))
        follows = follows | words.str.contains(rf"^[+-]?\d{{1,3}}(?:{between}\d{{3}})+{fraction}")
        digits = digits.str.replace_all(between, "")
    digits = digits.str.replace(",", ".", literal=True) if dialect.decimal == "," else digits
    return pl.when(follows).then(digits.cast(pl.Float64, strict=False))


class Lines:
    """What a dialect makes of lines: which are rows, how many fields each has, and how Polars is to split them."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.separator = dialect.separator
        separator, quote = re.escape(dialect.separator), re.escape(dialect.quote)
        self._opens = rf"(?:^|{separator}){quote}"
        field = rf"(?:{quote}(?:[^{quote}]|{quote}{quote})*{quote}|[^{separator}{quote}]*)"
        self._proper = rf"^{field}(?:{separator}{field})*$"
        self._quoted = f"{quote}[^{quote}]*{quote}"

    def prepared(self, lines: pl.Expr) -> pl.Expr:
        """Return lines in which one separator stands between two fields."""
        if self.separator != " ":
            return lines
        return lines.str.strip_chars(" \t").str.replace_all(r"[ \t]+", " ")

    def is_row(self, line: pl.Expr) -> pl.Expr:
        """Return whether a line is a row: it is not empty, and no comment."""
        filled = line.str.contains(r"\S")
        return filled & ~line.str.starts_with(self._dialect.comment) if self._dialect.comment else filled

    def is_quoted(self, lines: pl.Series) -> pl.Series:
        """Return for each line whether it has quoted fields, each of them closed.

        A quote that is opened and not closed is a character as any other: it ends no later than its line.
        """
        if not self._dialect.quote or not lines.str.contains(self._dialect.quote, literal=True).any():
            return pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(lines))
        return lines.str.contains(self._opens) & lines.str.contains(self._proper)

    def unquoted(self, cell: pl.Expr) -> pl.Expr:
        """Return cells without the quotes around them, for lines in which another quote is not closed."""
        quote = re.escape(self._dialect.quote)
        return cell.str.replace(f"^{quote}([^{quote}]*){quote}$", "${1}") if quote else cell

    def fields(self, line: pl.Expr, quoted: pl.Expr) -> pl.Expr:
        """Return the number of fields of a line."""
        if not self._dialect.quote:
            return line.str.count_matches(self.separator, literal=True) + 1
        outside = pl.when(quoted).then(line.str.replace_all(self._quoted, "")).otherwise(line)
        return outside.str.count_matches(self.separator, literal=True) + 1
