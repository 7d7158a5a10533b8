"""Tables written by a person (labels, events): CSV or Parquet, checked completely, problems reported by file and row.

Every cell of a CSV is text here: only the caller knows which columns are numbers.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow.parquet as pq
from pyarrow import ArrowException

from historian.errors import InvalidInput, Problem, near_misses

_SHOWN: Final = 100
_FORMATS: Final = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
_INSTANT: Final = pl.Datetime("us", "UTC")
EXAMPLE: Final = "2026-03-01T00:00:00Z"
_YEARS_1_TO_9999: Final = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True)
class Columns:
    """The columns that a table of one kind must or may have, and what is wrong with a row."""

    row: str
    """What a row is, for messages: `label`, `event`."""
    asset: str
    """The column that names an asset of the plant."""
    times: tuple[str, ...]
    """Instants that every row must have."""
    optional_times: tuple[str, ...] = ()
    """Instants that a row, or the whole table, may lack."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Text columns, each with examples of its words."""
    mistakes: Mapping[str, pl.Expr] = field(default_factory=dict)
    """What else a row may have wrong: message -> true where it has."""


@dataclass(frozen=True)
class WrittenTable:
    """A table and where it came from, so that problems can be reported with file and row."""

    frame: pl.DataFrame
    file: str
    first_row: int = 1
    """The number of the frame's first row: 2 in a CSV, as a spreadsheet shows it."""

    def checked(self, columns: Columns, assets: Collection[str]) -> pl.DataFrame:
        """Return the table with every time column as UTC microseconds; times that it lacks are null.

        Args:
            columns: What the table should hold.
            assets: The names of the plant's assets.

        Raises:
            InvalidInput: with every problem of the columns or, if there is none, the first hundred of the rows.
        """
        problems = [Problem(self.file, "", text) for text in _column_problems(self.frame, columns)]
        if not problems:
            parsed, mistakes = _parsed(self.frame, columns, assets)
            problems = [Problem(self.file, f"row {row + self.first_row}", text) for row, text in mistakes]
        if problems:
            raise InvalidInput(self._shortened(problems))
        return parsed

    def _shortened(self, problems: Sequence[Problem]) -> Sequence[Problem]:
        if len(problems) <= _SHOWN:
            return problems
        rows = len({problem.place for problem in problems})
        more = Problem(self.file, "", f"{rows} rows have problems; the first {_SHOWN} of them are shown")
        return [*problems[:_SHOWN], more]


def read_checked(path: Path, columns: Columns, assets: Collection[str]) -> pl.DataFrame:
    """Read a CSV (all columns text) or, with any other suffix, a Parquet file, and check it.

    Args:
        path: The file.
        columns: What it should hold.
        assets: The names of the plant's assets.

    Returns:
        As `WrittenTable.checked`.

    Raises:
        InvalidInput: there is no such file, it cannot be read, two of its columns have one name, or as
            `WrittenTable.checked`.
    """
    table = _read(path, columns.row)
    return table.checked(columns, assets)


def _read(path: Path, kind: str) -> WrittenTable:
    is_csv = path.suffix.lower() == ".csv"
    try:
        _check_names(path.name, _csv_names(path) if is_csv else pq.read_schema(path).names)
        frame = pl.read_csv(path, infer_schema=False) if is_csv else pl.read_parquet(path)
    except FileNotFoundError:
        raise InvalidInput(f"there is no {kind} file {path}") from None
    except (OSError, UnicodeDecodeError, csv.Error, ArrowException, pl.exceptions.PolarsError) as error:
        form = "CSV" if is_csv else "Parquet"
        raise InvalidInput([Problem(path.name, "", f"cannot be read as {form}: {error}")]) from None
    return WrittenTable(frame.cast({pl.Categorical: pl.String}), path.name, 2 if is_csv else 1)


def _csv_names(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file), [])


def _check_names(file: str, names: Sequence[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        text = f"has several columns called {', '.join(map(repr, repeated))}; give each its own name"
        raise InvalidInput([Problem(file, "", text)])


def _column_problems(frame: pl.DataFrame, columns: Columns) -> Iterator[str]:
    present = ", ".join(frame.columns) or "none"
    absent = [name for name in (columns.asset, *columns.words, *columns.times) if name not in frame.columns]
    yield from (f"has no column {name!r}; it has {present}" for name in absent)
    if absent:
        return
    if frame.is_empty():
        yield f"has no {columns.row}s"
    for name, expected in {columns.asset: "the names of assets", **columns.words}.items():
        if frame.schema[name] != pl.String():
            yield f"column {name} holds {frame.schema[name]}, not {expected}"
    for name in (*columns.times, *columns.optional_times):
        if name in frame.columns:
            yield from _time_column_problems(name, frame.schema[name])


def _time_column_problems(name: str, dtype: pl.DataType) -> Iterator[str]:
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        yield f"column {name} holds times without a zone; store them in UTC, with the zone"
    elif not isinstance(dtype, pl.Datetime | pl.String):
        yield f"column {name} holds {dtype}, not times such as {EXAMPLE}"


def _parsed(
    frame: pl.DataFrame, columns: Columns, assets: Collection[str]
) -> tuple[pl.DataFrame, Iterator[tuple[int, str]]]:
    """The table with all its time columns, as instants, and the mistakes of its rows."""
    absent = [name for name in columns.optional_times if name not in frame.columns]
    written = frame.with_columns(pl.lit(None, _INSTANT).alias(name) for name in absent)
    parsed = written.with_columns(_instants(written[name]) for name in (*columns.times, *columns.optional_times))
    return parsed, _row_mistakes(written, parsed, columns, assets)


def _row_mistakes(
    written: pl.DataFrame, parsed: pl.DataFrame, columns: Columns, assets: Collection[str]
) -> Iterator[tuple[int, str]]:
    """Pairs of a row, counted from 0, and what is wrong with it."""
    yield from _asset_mistakes(written[columns.asset], assets)
    for name in (*columns.times, *columns.optional_times):
        yield from _time_mistakes(written[name], parsed[name], optional=name in columns.optional_times)
    for name in columns.words:
        yield from ((row, f"{name} is empty") for row in parsed[name].is_null().arg_true())
    for text, wrong in columns.mistakes.items():
        yield from ((row, text) for row in parsed.select(wrong).to_series().arg_true())


def _asset_mistakes(cells: pl.Series, assets: Collection[str]) -> Iterator[tuple[int, str]]:
    wrong = (~cells.is_in(sorted(assets)).fill_null(value=False)).arg_true()
    text = {name: f"unknown asset {name!r}{near_misses(name, assets)}" for name in cells[wrong].unique() if name}
    for row, given in zip(wrong, cells[wrong], strict=True):
        yield row, text.get(given, f"{cells.name} is empty")


def _time_mistakes(written: pl.Series, parsed: pl.Series, *, optional: bool) -> Iterator[tuple[int, str]]:
    for row in (parsed.is_null() & (written.is_not_null() | (not optional))).arg_true():
        yield row, _time_mistake(written.name, written[row])


def _time_mistake(column: str, given: str | None) -> str:
    if not given:
        return f"{column} is empty"
    try:
        naive = datetime.fromisoformat(given).tzinfo is None
    except ValueError:
        naive = False
    if naive:
        return f"the time {given!r} has no zone; write {EXAMPLE} for UTC, or an offset such as +01:00"
    return f"{given!r} is not a time; write {EXAMPLE}"


def _instants(column: pl.Series) -> pl.Series:
    """Text or timestamps as UTC microseconds; null where there is no time, one without a zone, or one no year has."""
    if column.dtype == pl.String():
        text = column.str.replace(" ", "T", literal=True)
        times = pl.coalesce([text.str.to_datetime(pattern, time_unit="us", strict=False) for pattern in _FORMATS])
    else:
        times = pl.lit(column.dt.convert_time_zone("UTC").dt.cast_time_unit("us"))
    # Polars has a year 0 and years after 9999; Python's datetime, which formats and compares them, has not.
    return pl.select(pl.when(times.is_between(*_YEARS_1_TO_9999)).then(times).alias(column.name)).to_series()
