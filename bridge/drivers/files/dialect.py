"""The dialect of text: how rows, fields and numbers are written. Its keys, and what follows from them for a line."""

from __future__ import annotations

import codecs
import re
from typing import Annotated, Final, Literal

import polars as pl
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from historian.plant.model import Model

_BLANKS: Final = r"[\s\u00A0\u202F\u2009]"
_APOSTROPHES: Final = "['\u2019]"


def _encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError(f"unknown encoding {name!r}; write one such as utf-8, cp1252, utf-16 or shift_jis") from None


class Dialect(Model):
    """How text is written: encoding, lines that are no rows, fields, numbers."""

    encoding: Annotated[str, AfterValidator(_encoding)] | None = Field(
        None, description="text: such as cp1252 or shift_jis; UTF-8 if absent, or what a byte order mark says."
    )
    skip_rows: int = Field(0, ge=0, description="text, Excel: lines before the header, or before the first sample.")
    header: bool | None = Field(
        None,
        description="text, Excel: whether a line names the columns; layout waveform: no, others: yes. Without one an "
        "address is #2, the column's number from 1.",
    )
    skip_rows_after_header: int = Field(0, ge=0, description="text, Excel: lines below the header, such as units.")
    comment: str = Field("", description='text: beginning of lines to leave out, such as "#".')
    separator: Annotated[str, StringConstraints(min_length=1, max_length=1, strip_whitespace=False)] = Field(
        ",", description='text: between fields; " " stands for any number of blanks and tabs.'
    )
    quote: Annotated[str, StringConstraints(max_length=1)] = Field(
        '"', description="text: around fields that hold a separator; empty if there is no such character."
    )
    decimal: Literal[".", ","] = Field(".", description="text, Excel: decimal mark of numbers.")
    thousands: Annotated[Literal["", ".", ",", " ", "'"], StringConstraints(strip_whitespace=False)] = Field(
        "", description="text, Excel: mark between groups of three digits; any other place of it makes no number."
    )
    sheet: str | None = Field(None, description="Excel: name of the sheet; the first one if absent.")

    @model_validator(mode="after")
    def _marks(self) -> Dialect:
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}")
        if self.quote and self.quote == self.separator:
            raise ValueError(f"quote and separator are both {self.quote!r}")
        return self


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
        outside = pl.when(quoted).then(line.str.replace_all(self._quoted, "")).otherwise(line)
        return outside.str.count_matches(self.separator, literal=True) + 1
