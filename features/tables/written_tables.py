"""Tables a person wrote (labels, events): CSV or Parquet, read as they are and checked with file and row.

Of a CSV every cell is text here: which columns are numbers only their reader knows.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow.parquet as pq
from pyarrow import ArrowException

from historian.errors import InvalidInput, Problem, near_misses

_SHOWN: Final = 100
_FORMATS: Final = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
EXAMPLE: Final = "2026-03-01T00:00:00Z"
_YEARS_1_TO_9999: Final = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True)
class WrittenTable:
    """A table and where it stands, so that a problem can be told with file and row."""

    frame: pl.DataFrame
    file: str
    first_row: int = 1
    """The number of the frame's first row: 2 in a CSV, as a spreadsheet shows it."""

    def problem(self, row: int, text: str) -> Problem:
        """`text` as a problem of a row of the frame, counted from 0."""
        return Problem(self.file, f"row {row + self.first_row}", text)

    def refuse(self, *texts: str) -> None:
        """Raises `InvalidInput` for what is wrong with the table as a whole, if there is anything."""
        if texts:
            raise InvalidInput([Problem(self.file, "", text) for text in texts])

    def refuse_rows(self, problems: Sequence[Problem]) -> None:
        """Raises `InvalidInput` with the first hundred problems, if there are any."""
        if len(problems) > _SHOWN:
            rows = len({problem.place for problem in problems})
            more = Problem(self.file, "", f"{rows} rows have problems; the first {_SHOWN} of them are shown")
            raise InvalidInput([*problems[:_SHOWN], more])
        if problems:
            raise InvalidInput(problems)


def read_written(path: Path, what: str) -> WrittenTable:
    """Reads a CSV (all columns text) or, with any other suffix, a Parquet file.

    Args:
        what: What the file holds, for messages: `label`, `event`.

    Raises:
        InvalidInput: there is no such file, it cannot be read, or two of its columns have one name.
    """
    is_csv = path.suffix.lower() == ".csv"
    try:
        _check_names(path.name, _csv_names(path) if is_csv else pq.read_schema(path).names)
        frame = pl.read_csv(path, infer_schema=False) if is_csv else pl.read_parquet(path)
    except FileNotFoundError:
        raise InvalidInput(f"there is no {what} file {path}") from None
    except (OSError, UnicodeDecodeError, csv.Error, ArrowException, pl.exceptions.PolarsError) as error:
        kind = "CSV" if is_csv else "Parquet"
        raise InvalidInput([Problem(path.name, "", f"cannot be read as {kind}: {error}")]) from None
    return WrittenTable(frame.cast({pl.Categorical: pl.String}), path.name, 2 if is_csv else 1)


def _csv_names(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file), [])


def _check_names(file: str, names: Sequence[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        text = f"has several columns called {', '.join(map(repr, repeated))}; give each its own name"
        raise InvalidInput([Problem(file, "", text)])


def absent_columns(frame: pl.DataFrame, names: Sequence[str]) -> list[str]:
    """A complaint for each of `names` the frame lacks."""
    told = ", ".join(frame.columns) or "none"
    return [f"has no column {name!r}; it has {told}" for name in names if name not in frame.columns]


def name_complaints(frame: pl.DataFrame, column: str) -> list[str]:
    """A complaint if the column does not hold text."""
    dtype = frame.schema[column]
    return [] if dtype == pl.String() else [f"column {column} holds {dtype}, not the names of assets"]


def time_complaints(frame: pl.DataFrame, column: str) -> list[str]:
    """A complaint if no cell of the column could be an instant with a zone."""
    dtype = frame.schema[column]
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        return [f"column {column} holds times without a zone; store them in UTC, with the zone"]
    if not isinstance(dtype, pl.Datetime | pl.String):
        return [f"column {column} holds {dtype}, not times such as {EXAMPLE}"]
    return []


def instants(column: pl.Series) -> pl.Series:
    """Text or timestamps -> UTC microseconds; null where there is no time, one without a zone, or one no year has."""
    if column.dtype == pl.String():
        text = column.str.replace(" ", "T", literal=True)
        times = pl.coalesce([text.str.to_datetime(pattern, time_unit="us", strict=False) for pattern in _FORMATS])
    else:
        times = pl.lit(column.dt.convert_time_zone("UTC").dt.cast_time_unit("us"))
    # Polars has a year 0 and years after 9999; Python's datetime, which formats and compares them, has not.
    return pl.select(pl.when(times.is_between(*_YEARS_1_TO_9999)).then(times).alias(column.name)).to_series()


def asset_problems(table: WrittenTable, assets: Collection[str], *, column: str) -> Iterator[Problem]:
    """A problem for each cell that names no asset of the plant."""
    cells = table.frame[column]
    wrong = (~cells.is_in(sorted(assets)).fill_null(value=False)).arg_true()
    told = {name: f"unknown asset {name!r}{near_misses(name, assets)}" for name in cells[wrong].unique() if name}
    for row, given in zip(wrong, cells[wrong], strict=True):
        yield table.problem(row, told.get(given, f"{column} is empty"))


def time_problems(table: WrittenTable, times: pl.Series, *, optional: bool = False) -> Iterator[Problem]:
    """A problem for each cell that is no instant; `times` is what `instants` made of the column."""
    cells = table.frame[times.name]
    for row in (times.is_null() & (cells.is_not_null() | (not optional))).arg_true():
        yield table.problem(row, _time_complaint(times.name, cells[row]))


def _time_complaint(column: str, given: str | None) -> str:
    if not given:
        return f"{column} is empty"
    try:
        naive = datetime.fromisoformat(given).tzinfo is None
    except ValueError:
        naive = False
    if naive:
        return f"the time {given!r} has no zone; write {EXAMPLE} for UTC, or an offset such as +01:00"
    return f"{given!r} is not a time; write {EXAMPLE}"
