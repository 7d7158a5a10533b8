"""SQL text with named parameters, and what the engines write differently. Pure.

Every value is bound. Only names of tables, which are checked or quoted, and numbers of rows become part of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

Value = int | str | datetime
"""A bound value; a datetime without a zone is one of the database's own local time."""

_TOKEN: Final = re.compile(
    r"""'(?:[^']|'')*' | "[^"]*" | `[^`]*` | --[^\n]* | /\*.*?\*/ | :: | :([a-z_]+)\b""", re.VERBOSE | re.DOTALL
)
"""What may hold a colon without being a parameter, or a parameter."""


class Statement(NamedTuple):
    """SQL of one engine, and its values in order."""

    text: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Dialect:
    """What an engine writes differently."""

    marker: Callable[[int, Value], str]
    """Returns the place of a bound value, given its number from 1."""
    quotes: tuple[str, str]
    """Around a name."""
    has_top: bool = False
    """Whether a number of rows is limited by TOP rather than by LIMIT."""

    def quoted(self, name: str) -> str:
        """Return a name of a table or column as the engine takes it, whatever characters it has."""
        opening, closing = self.quotes
        return f"{opening}{name.replace(closing, closing * 2)}{closing}"

    def first_rows(self, columns: str, rest: str, order: str, rows: int) -> str:
        """Return a SELECT of the first `rows` rows in an order.

        Args:
            columns: what is selected.
            rest: from FROM on, without ORDER BY.
            order: name of the column to order by.
            rows: largest number of rows.
        """
        top, limit = (f"TOP ({rows}) ", "") if self.has_top else ("", f" LIMIT {rows}")
        return f"SELECT {top}{columns} {rest} ORDER BY {order}{limit}"

    def bound(self, text: str, values: Mapping[str, Value | Sequence[Value]]) -> Statement:
        """Replace each `:name` of a text by the place of a bound value; several values become a list of places.

        Args:
            text: SQL; a colon in a string, a quoted name, a comment or a cast is none of a parameter.
            values: name -> value or values.

        Raises:
            KeyError: the text has a parameter of another name.
        """
        placed: list[Value] = []

        def place(found: re.Match[str]) -> str:
            if found[1] is None:
                return found[0]
            given = values[found[1]]
            each = [given] if isinstance(given, int | str | datetime) else list(given)
            first = len(placed) + 1
            placed.extend(each)
            return ", ".join(self.marker(first + number, value) for number, value in enumerate(each))

        return Statement(_TOKEN.sub(place, text), tuple(placed))


def parameters(text: str) -> set[str]:
    """Return the names of the parameters in a text."""
    return {found[1] for found in _TOKEN.finditer(text) if found[1] is not None}


def _cast(integer: str, instant: str) -> Callable[[int, Value], str]:
    """Return a marker of an engine that is sent every value as text, which it would compare as floating point."""

    def marker(_: int, value: Value) -> str:
        if isinstance(value, str):
            return "?"
        return f"CAST(? AS {integer if isinstance(value, int) else instant})"

    return marker


POSTGRESQL: Final = Dialect(lambda number, _: f"${number}", ('"', '"'))
SQLITE: Final = Dialect(lambda _, __: "?", ('"', '"'))
MARIADB: Final = Dialect(_cast("SIGNED", "DATETIME(6)"), ("`", "`"))
SQLSERVER: Final = Dialect(_cast("bigint", "datetime2(6)"), ("[", "]"), has_top=True)
