"""Finds an address among the names of a file, and says what is nearest to one that is not there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from bridge.drivers.files.lines import REPLACED
from historian.errors import SourceError

_BY_NUMBER: Final = re.compile(r"#(\d+)")
_MOST_NAMES: Final = 20
_NEAR: Final = 3


def place_of(names: Sequence[str], address: str) -> int | None:
    """Return the place of a column, counted from 0; None if there is none.

    Args:
        names: the names of all columns, in order.
        address: a name, or `#2` for the second column whatever its name.

    Raises:
        SourceError: several columns have this name.
    """
    count = names.count(address)
    if count > 1:
        places = ", ".join(f"#{place + 1}" for place, name in enumerate(names) if name == address)
        raise SourceError(f"the header names {address} {count} times; choose one by its number, of {places}")
    if count:
        return names.index(address)
    numbered = _BY_NUMBER.fullmatch(address)
    place = int(numbered.group(1)) - 1 if numbered else -1
    return place if 0 <= place < len(names) else None


def no_column(missing: Sequence[str], names: Sequence[str], key: str = "") -> SourceError:
    """Return the error that columns are missing; it quotes those there are, and the key that names the column."""
    text = f"there is no column {', '.join(missing)}; there are {listed(names)}"
    if any(REPLACED in name for name in names):
        text += '; it has bytes that are not UTF-8: say encoding = "cp1252", or what the file was written in'
    elif names[0].startswith("#"):
        text += "; see comment"
    elif len(names) == 1:
        text += "; see separator and skip_rows"
    return SourceError(text + (f"; see {key}" if key else ""))


def nearest(address: str, names: Iterable[str]) -> str:
    """Return the names that are most like an address, for a message; all names if they are few."""
    known = sorted(set(names))
    encoding = ""
    if any(REPLACED in name for name in known):
        encoding = '; it has bytes that are not UTF-8: say encoding = "cp1252", or what the file was written in'
    close = get_close_matches(address, known, n=_NEAR, cutoff=0.5)
    if close:
        return f"the nearest {'are' if len(close) > 1 else 'is'} {', '.join(close)}{encoding}"
    return f"there are {listed(known)}{encoding}" if known else "there is nothing in them"


def listed(names: Sequence[str]) -> str:
    """Return names separated by commas, the first ones of many."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
