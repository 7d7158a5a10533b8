"""Where a Feast feature view's rows lie on disk, read with Polars: a Parquet file or directory, or a Delta table.

Read in two passes: first only keys and times, to find out which rows are needed, then the features of just those rows.
A table of a hundred features and a year of windows need not fit into memory to answer for a few thousand labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from feast.data_format import DeltaFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource

from features.point_in_time import CREATED, EVENT, ROW
from historian.errors import FeatureError


@dataclass(frozen=True)
class FeatureRows:
    """The rows of one source. They have numbers, which hold as long as this object does."""

    frame: pl.LazyFrame
    """All columns of the source, and `ROW`."""
    schema: pl.Schema
    event: str
    """Column with the event timestamp."""
    created: str | None
    """Column with the created timestamp, if the source has one."""

    def times(self, keys: Mapping[str, str], within: pl.Expr) -> pl.DataFrame:
        """Keys and times of the rows `within`: `keys` (new name -> column), `EVENT`, `CREATED`, `ROW`.

        Raises:
            FeatureError: the source lacks a column.
            ValueError: a time column holds no timestamps.
        """
        self._check([*keys.values(), self.event, *filter(None, [self.created])])
        created = self._time(self.created) if self.created else pl.lit(None, pl.Datetime("us", "UTC"))
        named = {name: pl.col(column) for name, column in keys.items()}
        times = {EVENT: self._time(self.event), CREATED: created, ROW: pl.col(ROW)}
        return self.frame.filter(within).select(**named, **times).collect()

    def values(self, columns: Sequence[str], within: pl.Expr) -> pl.DataFrame:
        """`ROW` and `columns` of the rows `within`, in the source's order; event and created timestamp in UTC.

        Raises:
            FeatureError: the source lacks a column.
        """
        self._check(columns)
        times = (self.event, self.created)
        chosen = [self._time(name).alias(name) if name in times else pl.col(name) for name in columns]
        return self.frame.filter(within).select(ROW, *chosen).collect()

    def between(self, start: datetime | None, end: datetime | None) -> pl.Expr:
        """True where start <= event timestamp <= end; None leaves that side open."""
        self._check([self.event])
        event = self._time(self.event)
        unit = pl.Datetime("ns" if getattr(self.schema[self.event], "time_unit", "us") == "ns" else "us", "UTC")
        bounds = [event >= pl.lit(_in_utc(start), unit)] if start else []
        bounds += [event <= pl.lit(_in_utc(end), unit)] if end else []
        return pl.all_horizontal(*bounds) if bounds else pl.lit(value=True)

    def _time(self, column: str) -> pl.Expr:
        """The column as UTC timestamps; a time without a zone is UTC, as everywhere in Feast.

        A column that is UTC already is left alone, so that a filter on it still reaches the files' statistics.
        """
        dtype = self.schema[column]
        if not isinstance(dtype, pl.Datetime):
            raise ValueError(f"column {column} of the feature source holds {dtype}, not timestamps")
        time = pl.col(column)
        if dtype.time_zone is None:
            time = time.dt.replace_time_zone("UTC")
        elif dtype.time_zone != "UTC":
            time = time.dt.convert_time_zone("UTC")
        return time.dt.cast_time_unit("us") if dtype.time_unit == "ms" else time

    def _check(self, columns: Sequence[str]) -> None:
        absent = sorted({column for column in columns if column not in self.schema})
        if absent:
            raise FeatureError(
                f"the feature source has no column {', '.join(absent)}; it has {', '.join(self.schema)}. If the "
                f"plant's features have changed, move or delete its directory, run penstock compute and penstock apply"
            )


def open_rows(source: DataSource | None, repo_path: Path | None, *, event: str, created: str | None) -> FeatureRows:
    """Opens a source; reads its schema only. A Delta table is pinned to its newest version.

    Raises:
        ValueError: the source is no file.
        FileNotFoundError: there is no such file, directory or table.
    """
    if not isinstance(source, FileSource):
        raise ValueError(f"the Polars offline store reads FileSource, not {type(source).__name__}")
    uri = FileSource.get_uri_for_file_path(repo_path, source.path)
    if not isinstance(source.file_format, DeltaFormat):
        frame = pl.scan_parquet(uri)
    elif DeltaTable.is_deltatable(uri):
        frame = pl.scan_delta(DeltaTable(uri))
    else:
        raise FileNotFoundError(f"there is no Delta table at {uri}: no features have been computed yet")
    frame = frame.with_row_index(ROW).cast({pl.Categorical: pl.String})  # pandas' categories are strings
    return FeatureRows(frame, frame.collect_schema(), event, created)


def _in_utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


def any_of(columns: Mapping[str, str], wanted: pl.DataFrame, *, limit: int = 1000) -> pl.Expr:
    """True where each of `columns` (name in `wanted` -> column) holds a value that `wanted` asks for.

    A column of which more than `limit` values are asked for is not looked at: the join is quicker then.
    """
    asked = {column: wanted[name].unique().drop_nulls() for name, column in columns.items()}
    tests = [pl.col(column).is_in(values.implode()) for column, values in asked.items() if len(values) <= limit]
    return pl.all_horizontal(*tests) if tests else pl.lit(value=True)
