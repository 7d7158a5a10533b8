"""A tag list: a CSV file next to `plant.toml` with one row per tag, checked row by row."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from historian.errors import InvalidInput, Problem
from historian.plant.connections import DriverSpec
from historian.plant.document import readable_message
from historian.plant.model import TagRow

PlacedRow = tuple[str, dict[str | None, str | list[str]]]
"""The place of a row as in a spreadsheet (`row 2` is the first below the header), and its cells by column."""

_COMMON: Final = frozenset(TagRow.model_fields)
"""The columns that every tag list may have."""

_Row = TypeVar("_Row", bound=BaseModel)


def read_rows(path: Path, name: str, *, kind: str = "tag list", rows: str = "tags") -> list[PlacedRow]:
    """Return the rows of a tag list or of another CSV file, each with its place.

    Args:
        path: the file.
        name: its name in the plant file, for messages.
        kind: what the file is, for messages.
        rows: what its rows are, for messages.

    Raises:
        InvalidInput: the file does not exist, is unreadable or has no rows.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            found = [(f"row {reader.line_num}", row) for row in reader]
    except FileNotFoundError:
        raise InvalidInput(f"the {kind} {name} does not exist") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"the {kind} {name} cannot be read: {error}") from None
    if not found:
        raise InvalidInput(f"the {kind} {name} has no {rows}")
    return found


def parse_row(cells: Mapping[str | None, str | list[str]], driver: DriverSpec) -> tuple[TagRow, BaseModel]:
    """Parse one row of a tag list to the common columns and those of the driver. Empty cells count as absent.

    Raises:
        InvalidInput: with every problem of the row.
    """
    if None in cells:
        raise InvalidInput("has more cells than the header has columns; quote cells that contain commas")
    given = {str(key): cell for key, cell in cells.items() if isinstance(cell, str) and cell.strip()}
    common = {key: cell for key, cell in given.items() if key in _COMMON}
    own = {key: cell for key, cell in given.items() if key not in _COMMON}
    problems: list[Problem] = []
    row, options = _parsed(TagRow, common, problems), _parsed(driver.address, own, problems)
    if row is None or options is None:
        raise InvalidInput(problems)
    return row, options


def _parsed(model: type[_Row], cells: Mapping[str, str], problems: list[Problem]) -> _Row | None:
    """Parse cells to a model; if they do not fit it, add to the problems and return None."""
    try:
        return model.model_validate(cells)
    except ValidationError as error:
        problems += _row_problems(error)
        return None


def _row_problems(error: ValidationError) -> Iterator[Problem]:
    for detail in error.errors():
        column = ".".join(map(str, detail["loc"]))
        message = readable_message(detail["msg"], detail["input"] if column else "")
        yield Problem("", "", f"{column}: {message}" if column else message)
