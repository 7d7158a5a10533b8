"""The rows that features are retrieved for, in any of the forms Feast takes: a frame, a query, or a range of time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import pandas as pd
import polars as pl
import pyarrow as pa
from feast.data_source import DataSource
from feast.errors import EntityTimestampInferenceException
from feast.feature_view import FeatureView
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from polars.exceptions import PolarsError

from features.feast.offline.arrow_types import plain_arrow
from features.feast.offline.feature_source import utc
from features.feast.offline.file_tables import open_table
from features.feast.offline.point_in_time import EVENT, ROW
from features.feast.offline.view_join import ViewQuery

_TIME: Final = "event_timestamp"
_NAMEABLE: Final = "feature views, file sources and read_parquet('…')"


@dataclass(frozen=True)
class EntityFrame:
    """A table of labels: keys, a time, and any other columns, which are kept."""

    table: pa.Table
    """The labels; the time column is in UTC, all other columns are as given."""
    time: str
    """Name of the column with the label's time."""

    def span(self) -> tuple[datetime | None, datetime | None]:
        """Return the first and the last time; None if there are no labels."""
        times = pl.Series(self.table[self.time])
        first, last = times.min(), times.max()
        return first if isinstance(first, datetime) else None, last if isinstance(last, datetime) else None


def from_pandas(frame: pd.DataFrame) -> EntityFrame:
    """Return the labels of a pandas frame. A time without a zone is UTC. The frame is not changed.

    Raises:
        EntityTimestampInferenceException: there is no column `event_timestamp`, and not exactly one column of times.
        ValueError: a column mixes kinds of values, such as text and numbers.
    """
    time = infer_event_timestamp_from_entity_df(frame.dtypes.to_dict())
    labels = frame.assign(**{time: pd.to_datetime(frame[time], utc=True, cache=False)})
    try:
        table = pa.Table.from_pandas(labels, preserve_index=False, nthreads=1)
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        why = ": ".join(map(str, reversed(error.args)))  # the last one names the column
        raise ValueError(
            f"a column of the labels does not hold values of one kind: {why}; give it one, as by .astype(str)"
        ) from None
    return EntityFrame(table.replace_schema_metadata(), time)


def from_columns(frame: pl.DataFrame | pa.Table) -> EntityFrame:
    """Return the labels of a Polars frame or an Arrow table without converting them to pandas; see `from_pandas`."""
    table = plain_arrow(frame) if isinstance(frame, pl.DataFrame) else frame
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    time = _TIME if _TIME in table.column_names else times[0] if len(times) == 1 else None
    if time is None:
        raise EntityTimestampInferenceException(_TIME)
    column = pl.DataFrame(table.select([time]))
    dtype = column.schema[time]
    if not isinstance(dtype, pl.Datetime):
        raise ValueError(f"column {time} of the labels holds {dtype}, not timestamps; cast it to a timestamp")
    in_utc = plain_arrow(column.select(utc(pl.col(time), dtype)))
    return EntityFrame(table.set_column(table.column_names.index(time), time, in_utc[time]), time)


def from_query(sql: str, registry: BaseRegistry, project: str, repo_path: Path | None) -> EntityFrame:
    """Return the labels of a query in Polars' SQL over registered feature views and file sources, by name.

    A view has Feast's column names, a source those of its files. `read_parquet('…')` and `read_csv('…')`
    read other files.

    Raises:
        ValueError: the query is wrong.
    """
    try:
        found = pl.SQLContext(_tables(sql, registry, project, repo_path)).execute(sql, eager=True)
    except PolarsError as error:
        raise ValueError(f"entity_df is no query that Polars can answer: {error}; it may name {_NAMEABLE}") from None
    return from_columns(found)


def from_range(queries: Sequence[ViewQuery], start: datetime, end: datetime) -> EntityFrame:
    """Return one label for every time start <= T <= end at which any view has a row, with the keys of that row.

    Keys that a view does not have are null. Labels are in order of time, then of keys.
    """
    rows = [query.rows.times(query.keys, query.rows.between(start, end)) for query in queries]
    chosen = [frame.select(*query.keys, EVENT).unique() for frame, query in zip(rows, queries, strict=True)]
    found = pl.concat([frame.cast({EVENT: _finest(rows)}) for frame in chosen], how="diagonal_relaxed").unique()
    keys = list(dict.fromkeys(key for query in queries for key in query.keys))
    ordered = found.sort(EVENT, *keys).select(*keys, pl.col(EVENT).alias(_TIME)).drop_nulls(_TIME)
    return EntityFrame(plain_arrow(ordered.collect()), _TIME)


def _finest(rows: Sequence[pl.LazyFrame]) -> pl.Datetime:
    units = [getattr(frame.collect_schema()[EVENT], "time_unit", "us") for frame in rows]
    return pl.Datetime("ns" if "ns" in units else "us", "UTC")


def _tables(sql: str, registry: BaseRegistry, project: str, repo_path: Path | None) -> dict[str, pl.LazyFrame]:
    words = set(re.findall(r"[\w-]+", sql))
    sources = {source.name: source for source in registry.list_data_sources(project)}
    views = {view.name: view for view in registry.list_feature_views(project)}
    named = {name: _columns(source, repo_path, {}) for name, source in sources.items() if name in words}
    return named | {name: _of_view(view, repo_path) for name, view in views.items() if name in words}


def _of_view(view: FeatureView, repo_path: Path | None) -> pl.LazyFrame:
    return _columns(view.batch_source, repo_path, view.batch_source.field_mapping)


def _columns(source: DataSource, repo_path: Path | None, mapping: dict[str, str]) -> pl.LazyFrame:
    if not isinstance(source, FileSource):
        raise ValueError(f"the query names {source.name}, which is no FileSource but {type(source).__name__}")
    return open_table(source, repo_path).frame.drop(ROW).rename(mapping, strict=False)
