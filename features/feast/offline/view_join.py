"""Joins one feature view to labels: finds the rows known at their times, then reads the features of those rows.

The join holds only keys, times and row numbers. If even these would exceed the memory limit, or if several processors
can share the work, the labels are partitioned by key and joined part by part. Each part reads its own keys, and the
result is bit-identical.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from feast.feature_view import FeatureView

from features.feast.offline.feature_source import FeatureRows, any_of, view_rows
from features.feast.offline.join_executor import JoinExecutor
from features.feast.offline.point_in_time import EVENT, ROW, as_of_rows
from historian.times import EPOCH

_MICROSECOND: Final = timedelta(microseconds=1)
_LATEST: Final = datetime.max.replace(tzinfo=UTC) - _MICROSECOND
_LABEL: Final = "__label"
# A join holds a row about three times: as read, in order of time, and in the buckets of the as-of join.
_COPIES: Final = 3
_TEXT_BYTES: Final = 32
_NUMBER_BYTES: Final = 8
# A feature is held about four times: as read, gathered, in Arrow, and in the caller.
_FEATURE_BYTES: Final = 4 * 16


@dataclass(frozen=True)
class ViewQuery:
    """The keys and features to look up in one feature view."""

    rows: FeatureRows
    keys: Mapping[str, str]
    """Label column -> source column."""
    columns: Mapping[str, str]
    """Column of the result -> source column."""
    ttl: timedelta | None


def view_query(
    view: FeatureView, names: Iterable[str], repo_path: Path | None, *, full_feature_names: bool
) -> ViewQuery:
    """Resolve Feast's field mapping (source -> feature) and join-key map (entity -> label column) of a view.

    Args:
        view: A registered view, with its projection.
        names: Names of its features.
        repo_path: Base of relative paths of sources.
        full_feature_names: Whether a feature's column is named `view__feature`.

    Raises:
        ValueError, FileNotFoundError: as `features.feast.offline.feature_source.view_rows`.
    """
    rows, projection = view_rows(view.batch_source, repo_path), view.projection
    column = {feature: name for name, feature in view.batch_source.field_mapping.items()}
    prefix = f"{projection.name_to_use()}__" if full_feature_names else ""
    return ViewQuery(
        rows=rows,
        keys={
            projection.join_key_map.get(key.name, key.name): column.get(key.name, key.name)
            for key in view.entity_columns
        },
        columns={prefix + name: column.get(name, name) for name in names},
        ttl=view.ttl,
    )


def row_numbers(
    query: ViewQuery, labels: pl.DataFrame, executor: JoinExecutor, *, created_by_label_time: bool
) -> pl.Series:
    """Return for each label the number of the source's row that serves it, null if none does.

    Args:
        query: The query of the view.
        labels: The query's keys and `EVENT`, any order.
        executor: Runs the join; larger joins than its memory limit are divided.
        created_by_label_time: Whether rows created after the label's time are left out, if the source has a created
            timestamp.
    """
    cast = labels.with_columns(_as_source(labels, name, query.rows.schema[key]) for name, key in query.keys.items())
    parts = _parts(query, cast.with_row_index(_LABEL), executor)
    by_created = created_by_label_time and query.rows.created is not None
    numbers: pl.DataFrame = pl.concat(executor.run(partial(_joined, query, by_created), parts))
    return numbers.sort(_LABEL)[ROW]


def _joined(query: ViewQuery, created_by_label_time: bool, part: pl.DataFrame) -> pl.DataFrame:  # noqa: FBT001 - of a partial
    numbers = as_of_rows(
        part, _candidates(query, part), list(query.keys), ttl=query.ttl, created_by_label_time=created_by_label_time
    )
    return part.select(_LABEL).with_columns(numbers.alias(ROW))


def features_at(query: ViewQuery, numbers: pl.Series, executor: JoinExecutor) -> pa.Table:
    """Return the query's columns of the numbered rows, in that order; null where there is no number.

    Args:
        query: The query of the view.
        numbers: Row numbers from `row_numbers`.
        executor: Runs the reading of features.
    """
    if executor.parts == 1:
        return _read(query, numbers)
    order = numbers.arg_sort()  # each part reads its own range of the source
    size = min(-(-len(numbers) // executor.parts), rows_within(executor.memory_limit, len(query.columns)))
    parts = [(start, numbers[order[start : start + size]]) for start in range(0, max(1, len(order)), max(1, size))]
    found = dict(executor.run(partial(_read_part, query), parts))
    return pa.concat_tables(found[start] for start, _ in parts).take(order.arg_sort().to_arrow()).combine_chunks()


def rows_within(memory_limit: int, columns: int) -> int:
    """Return the number of rows that fit into memory.

    Args:
        memory_limit: Memory in bytes.
        columns: Number of columns of a row.
    """
    return max(1, memory_limit // (max(1, columns) * _FEATURE_BYTES))


def _read_part(query: ViewQuery, part: tuple[int, pl.Series]) -> tuple[int, pa.Table]:
    start, numbers = part
    return start, _read(query, numbers)


def _read(query: ViewQuery, numbers: pl.Series) -> pa.Table:
    rows = numbers.drop_nulls().unique().sort()
    within = pl.lit(value=False)
    if len(rows):  # the span lets the reader skip parts of the files
        within = pl.col(ROW).is_between(rows[0], rows[-1]) & pl.col(ROW).is_in(rows.implode())
    values = query.rows.values(query.columns.values(), within).rechunk()  # gathering from many chunks is slow
    places = _places(values[ROW], numbers)
    found = query.rows.arrow(values.select(pl.exclude(ROW).gather(places)))
    return pa.table([found[column] for column in query.columns.values()], names=list(query.columns))


def split(labels: pl.DataFrame, keys: Iterable[str], count: int) -> Iterator[pl.DataFrame]:
    """Yield the labels in at most `count` parts without common keys, by ranges of the key column with most values.

    A key is never divided: labels without keys, or with a single one, stay together.

    Args:
        labels: The keys and other columns.
        keys: Columns that identify an entity.
        count: Largest number of parts, at least 1.
    """
    keys = list(keys)
    if count <= 1 or not keys or not labels.height:
        yield labels
        return
    key = max(keys, key=lambda name: labels[name].n_unique())
    place = pl.col(key).rank("dense").cast(pl.Int64) - 1
    part = (place * count // (place.max() + 1)).fill_null(0)  # a null key matches no row, so any part will do
    for _, labels_of_part in labels.group_by(part, maintain_order=True):
        yield labels_of_part


def _parts(query: ViewQuery, labels: pl.DataFrame, executor: JoinExecutor) -> Iterator[pl.DataFrame]:
    width = sum(_bytes_of(query.rows.schema[column]) for column in query.keys.values()) + 3 * _NUMBER_BYTES
    wanted = query.rows.count() * width * _COPIES
    if wanted > executor.memory_limit:  # the rows that these labels need may be fewer than the whole table
        wanted = _candidates(query, labels).select(pl.len()).collect().item() * width * _COPIES
    return split(labels, query.keys, max(executor.parts, -(-wanted // executor.memory_limit)))


def _bytes_of(dtype: pl.DataType) -> int:
    return _NUMBER_BYTES if dtype.is_numeric() or dtype.is_temporal() else _TEXT_BYTES


def _candidates(query: ViewQuery, labels: pl.DataFrame) -> pl.LazyFrame:
    """Return keys and times of the rows that may serve any of the labels."""
    within = query.rows.between(*_span(labels[EVENT], query.ttl)) & any_of(query.keys, labels)
    return query.rows.times(query.keys, within)


def _places(sorted_rows: pl.Series, numbers: pl.Series) -> pl.Series:
    """Return the place of each number in `sorted_rows`, which has all of them, by a lookup table."""
    if not len(sorted_rows):
        return pl.Series([None], dtype=pl.UInt32).new_from_index(0, len(numbers))
    first = int(sorted_rows[0])
    place = np.zeros(int(sorted_rows[-1]) - first + 1, np.uint32)
    place[sorted_rows.to_numpy() - first] = np.arange(len(sorted_rows), dtype=np.uint32)
    found = pl.Series(place[numbers.fill_null(first).to_numpy() - first])
    return pl.select(pl.when(numbers.is_not_null()).then(found)).to_series()


def _as_source(labels: pl.DataFrame, name: str, dtype: pl.DataType) -> pl.Expr:
    """Return a key column in the source's type; a value without exact equivalent becomes null, matching nothing."""
    given = pl.col(name)
    cast = given.cast(dtype, strict=False)
    return pl.when(cast.cast(labels.schema[name], strict=False) == given).then(cast).alias(name)


def _span(times: pl.Series, ttl: timedelta | None) -> tuple[datetime | None, datetime]:
    """Return the first and last event timestamp that can serve any of the times; an empty span without times."""
    first, last = times.min(), times.max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return EPOCH, EPOCH - _MICROSECOND
    # Python's datetime truncates nanoseconds, hence one microsecond more at the end.
    return first - ttl if ttl and ttl < first - EPOCH else None, min(last, _LATEST) + _MICROSECOND
