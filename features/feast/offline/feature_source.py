"""The rows of a Feast feature view, read with Polars.

Read in two passes: first only keys and times, to find out which rows are needed, then the features of just those rows.
A table of a hundred features and a year of windows need not fit into memory to answer for a few thousand labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
from feast.data_source import DataSource

from features.feast.offline.arrow_types import plain_arrow
from features.feast.offline.file_tables import FileTable, file_source, open_table
from features.feast.offline.point_in_time import CREATED, EVENT, ROW
from historian.errors import AbsentColumn


@dataclass(frozen=True)
class FeatureRows:
    """The rows of one source, with numbers that are valid as long as this object."""

    name: str
    """Name of the source, for messages."""
    table: FileTable
    schema: pl.Schema
    event: str
    """Name of the column with the event timestamp."""
    created: str | None
    """Name of the column with the created timestamp, if the source has one."""

    def times(self, keys: Mapping[str, str], within: pl.Expr) -> pl.LazyFrame:
        """Return keys and times of the rows `within`: `keys` (new name -> column), `EVENT`, `CREATED`, `ROW`.

        Raises:
            AbsentColumn: the source lacks a column.
            ValueError: a time column holds no timestamps.
        """
        self._check([*keys.values(), self.event, *filter(None, [self.created])])
        created = self._time(self.created) if self.created else pl.lit(None, pl.Datetime("us", "UTC"))
        named = {name: pl.col(column) for name, column in keys.items()}
        times = {EVENT: self._time(self.event), CREATED: created, ROW: pl.col(ROW)}
        return self.table.frame.filter(within).select(**named, **times)

    def values(self, columns: Iterable[str], within: pl.Expr) -> pl.DataFrame:
        """Return `ROW` and `columns` of the rows `within`, in the source's order; event and created timestamp in UTC.

        Raises:
            AbsentColumn: the source lacks a column.
            FeatureError: a file was replaced since it was opened.
        """
        names = list(dict.fromkeys(columns))
        self._check(names)
        times = (self.event, self.created)
        chosen = [self._time(name).alias(name) if name in times else pl.col(name) for name in names]
        found = self.table.frame.filter(within).select(ROW, *chosen).collect()
        self.table.check_unchanged()
        return found

    def arrow(self, frame: pl.DataFrame) -> pa.Table:
        """Return columns of this source in their stored Arrow types, as far as Feast supports these."""
        return plain_arrow(frame, self.table.types)

    def count(self) -> int:
        """Return the number of rows, from the files' statistics."""
        return int(self.table.frame.select(pl.len()).collect().item())

    def newest(self) -> datetime | None:
        """Return the newest event timestamp; None without rows.

        Raises:
            AbsentColumn: the source has no such column.
        """
        self._check([self.event])
        found = self.table.frame.select(self._time(self.event).max()).collect().item()
        return found if isinstance(found, datetime) else None

    def between(self, start: datetime | None, end: datetime | None) -> pl.Expr:
        """Return an expression that is true where start <= event timestamp <= end; None leaves that side open."""
        self._check([self.event])
        event = self._time(self.event)
        unit = pl.Datetime("ns" if getattr(self.schema[self.event], "time_unit", "us") == "ns" else "us", "UTC")
        bounds = [event >= pl.lit(_in_utc(start), unit)] if start else []
        bounds += [event <= pl.lit(_in_utc(end), unit)] if end else []
        return pl.all_horizontal(*bounds) if bounds else pl.lit(value=True)

    def _time(self, column: str) -> pl.Expr:
        """Return the column as UTC timestamps.

        A column that is already UTC is not changed, so that a filter on it can use the files' statistics.
        """
        dtype = self.schema[column]
        if not isinstance(dtype, pl.Datetime):
            raise ValueError(f"column {column} of the feature source holds {dtype}, not timestamps")
        return utc(pl.col(column), dtype)

    def _check(self, columns: Sequence[str]) -> None:
        absent = sorted({column for column in columns if column not in self.schema})
        if absent:
            there = [column for column in self.schema if column != ROW]
            raise AbsentColumn(
                f"the feature source {self.name} has no column {', '.join(absent)}; it has {', '.join(there)}. "
                f"Correct the view's schema or the source's field_mapping and run feast apply; or, if a plant file has "
                f"new features, move or delete the table's directory and run penstock compute and penstock apply"
            )


def open_rows(source: DataSource | None, repo_path: Path | None, *, event: str, created: str | None) -> FeatureRows:
    """Open a source, reading only its schema. A Delta table is pinned to its newest version.

    Raises:
        ValueError: the source is no file.
        FileNotFoundError: there is no such file, directory or table.
    """
    table = open_table(files := file_source(source), repo_path)
    return FeatureRows(files.name, table, table.frame.collect_schema(), event, created or None)


def view_rows(source: DataSource | None, repo_path: Path | None) -> FeatureRows:
    """Open a view's source with the times it names; these may be called as in the file or as they are mapped.

    Raises:
        ValueError, FileNotFoundError: as `open_rows`.
    """
    files = file_source(source)
    column = {feature: name for name, feature in files.field_mapping.items()}
    event, created = files.timestamp_field, files.created_timestamp_column
    return open_rows(files, repo_path, event=column.get(event, event), created=column.get(created, created))


def utc(time: pl.Expr, dtype: pl.Datetime) -> pl.Expr:
    """Return a time column in UTC, in us or ns; a time without a zone is UTC, as everywhere in Feast."""
    if dtype.time_zone is None:
        time = time.dt.replace_time_zone("UTC")
    elif dtype.time_zone != "UTC":
        time = time.dt.convert_time_zone("UTC")
    return time.dt.cast_time_unit("us") if dtype.time_unit == "ms" else time


def _in_utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


def any_of(columns: Mapping[str, str], wanted: pl.DataFrame, *, limit: int = 100) -> pl.Expr:
    """Return an expression that is true where all `columns` may hold a wanted value.

    With more than `limit` values only the smallest and the largest are compared, because then the join is faster.

    Args:
        columns: Name in `wanted` -> column of the source.
        wanted: The wanted values.
        limit: Largest number of values that are compared exactly.
    """
    tests = [_any_of(pl.col(column), wanted[name].unique().drop_nulls(), limit) for name, column in columns.items()]
    return pl.all_horizontal(*tests) if tests else pl.lit(value=True)


def _any_of(column: pl.Expr, values: pl.Series, limit: int) -> pl.Expr:
    if len(values) <= limit or values.dtype.is_nested():
        return column.is_in(values.implode())
    first, last = (pl.lit(pl.Series([end], dtype=values.dtype)).first() for end in (values.min(), values.max()))
    return column.is_between(first, last)
