"""Labels in, features as they were at the labels' times out: the query behind Feast's historical retrieval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pandas as pd
import polars as pl
import pyarrow as pa
from feast.errors import FeastEntityDFMissingColumnsError
from feast.feature_view import FeatureView

from features.feature_source import FeatureRows, any_of, open_rows
from features.point_in_time import EVENT, ROW, as_of_rows
from historian.times import EPOCH

_MICROSECOND: Final = timedelta(microseconds=1)
_LATEST: Final = datetime.max.replace(tzinfo=UTC) - _MICROSECOND


@dataclass(frozen=True)
class ViewQuery:
    """What is asked of one feature view."""

    rows: FeatureRows
    keys: Mapping[str, str]
    """Label column -> source column."""
    columns: Mapping[str, str]
    """Column in the answer -> source column."""
    ttl: timedelta | None


def view_query(
    view: FeatureView, names: Iterable[str], repo_path: Path | None, *, full_feature_names: bool
) -> ViewQuery:
    """Resolves Feast's field mapping (source -> feature) and join-key map (entity -> label column) of a view."""
    source, projection = view.batch_source, view.projection
    column = {feature: name for name, feature in source.field_mapping.items()} if source else {}
    prefix = f"{projection.name_alias or view.name}__" if full_feature_names else ""
    event, created = (source.timestamp_field, source.created_timestamp_column) if source else ("", None)
    return ViewQuery(
        rows=open_rows(
            source,
            repo_path,
            event=column.get(event, event),
            created=column.get(created, created) or None,
        ),
        keys={
            projection.join_key_map.get(key.name, key.name): column.get(key.name, key.name)
            for key in view.entity_columns
        },
        columns={prefix + name: column.get(name, name) for name in names},
        ttl=view.ttl,
    )


def check_labels(columns: Sequence[str], queries: Iterable[ViewQuery]) -> None:
    """Refuses labels that lack a join key, or have a column a feature would need to be called.

    Raises:
        FeastEntityDFMissingColumnsError, ValueError
    """
    keys = {key for query in queries for key in query.keys}
    if absent := keys - set(columns):
        raise FeastEntityDFMissingColumnsError(keys, absent)
    taken = sorted({name for query in queries for name in query.columns if name in columns})
    if taken:
        raise ValueError(f"the labels have columns called as features are: {', '.join(taken)}; rename them")


def historical(labels: pd.DataFrame, time: str, queries: Sequence[ViewQuery], *, known_then: bool) -> pa.Table:
    """The labels as they are, and the features of every query beside them; one row a label, in order."""
    table = pa.Table.from_pandas(labels, preserve_index=False).replace_schema_metadata()
    for query in queries:
        narrow = pl.DataFrame(table.select([*query.keys, time])).rename({time: EVENT})
        found = _features(query, narrow, known_then=known_then)
        for name, values in zip(found.columns, plain_arrow(found).columns, strict=True):
            table = table.append_column(name, values)
    return table


def _features(query: ViewQuery, labels: pl.DataFrame, *, known_then: bool) -> pl.DataFrame:
    """The query's columns for each label; `labels` has the query's keys and `EVENT`."""
    asked = labels.with_columns(_as_source(labels, name, query.rows.schema[key]) for name, key in query.keys.items())
    reach = query.rows.between(*_span(asked[EVENT], query.ttl)) & any_of(query.keys, asked)
    rows = query.rows.times(query.keys, reach)
    # Where a source does not say when its rows were made, nothing can be left out for it.
    known_then = known_then and query.rows.created is not None
    numbers = as_of_rows(asked, rows, list(query.keys), ttl=query.ttl, known_then=known_then)
    needed = pl.col(ROW).is_in(numbers.unique().drop_nulls().implode())
    values = query.rows.values(sorted(set(query.columns.values())), reach & needed)
    answer = pl.DataFrame({ROW: numbers}).join(values, on=ROW, how="left", maintain_order="left")
    return answer.select(**{name: pl.col(column) for name, column in query.columns.items()})


def _as_source(labels: pl.DataFrame, name: str, dtype: pl.DataType) -> pl.Expr:
    """A key column in the source's type; what that type cannot hold exactly becomes null, which equals nothing."""
    given = pl.col(name)
    cast = given.cast(dtype, strict=False)
    return pl.when(cast.cast(labels.schema[name], strict=False) == given).then(cast).alias(name)


def _span(times: pl.Series, ttl: timedelta | None) -> tuple[datetime | None, datetime]:
    """First and last event timestamp that can serve any of the times; an empty span without times."""
    first, last = times.min(), times.max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return EPOCH, EPOCH - _MICROSECOND
    # Python's datetime cuts nanoseconds off, hence one microsecond more at the end.
    return first - ttl if ttl and ttl < first - EPOCH else None, min(last, _LATEST) + _MICROSECOND


def plain_arrow(frame: pl.DataFrame) -> pa.Table:
    """The frame in Arrow's plain types, in one chunk: Feast knows neither large strings nor large lists."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return table.cast(pa.schema([field.with_type(_plain(field.type)) for field in table.schema])).combine_chunks()


def _plain(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(dtype):
        return pa.string()
    if pa.types.is_large_binary(dtype):
        return pa.binary()
    if pa.types.is_large_list(dtype):
        return pa.list_(_plain(dtype.value_type))
    return dtype
