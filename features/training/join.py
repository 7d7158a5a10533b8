"""Labels and a plan -> feature values: one row a label, in order, with only what counts at its time.

The same labels against the same feature rows give the same values. The join is the one behind Feast's historical
retrieval, on pinned tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from features.feast.offline.arrow_types import plain_arrow
from features.feast.offline.point_in_time import EVENT
from features.feast.offline.view_join import features_at, row_numbers
from features.tables.labels import ASSET, EVENT_TIMESTAMP
from features.training.pinned import PinnedTable
from features.training.plan import Plan
from features.training.signature import SIGNATURE_KEY, signature_of, to_json
from historian.errors import InvalidInput


def check_names(labels: pl.DataFrame, plan: Plan) -> None:
    """Raise `InvalidInput` if a label column has the name of a feature.

    Args:
        labels: Any columns.
        plan: Names the feature columns.
    """
    if taken := sorted(set(plan.column_names) & set(labels.columns)):
        raise InvalidInput(f"the labels have columns called as features are: {', '.join(taken)}; rename them")


def feature_values(labels: pl.DataFrame, plan: Plan, *, advance: Callable[[int], None]) -> pl.DataFrame:
    """Return a column `view__feature` for each feature, then the ages; a row for each label in the labels' order.

    Args:
        labels: asset, event_timestamp; any order, repeats allowed.
        plan: What is looked up, and in which mode.
        advance: Called with 1 after each view.

    Raises:
        FeatureError: a view's table lacks a column; it was made before the plant file had it.
    """
    found = []
    for view, table in plan.feature_tables.items():
        found.append(
            _with_age(labels, _looked_up(labels, table, plan.looked_up(view), plan), plan.age_columns.get(view))
        )
        advance(1)
    return pl.concat(found, how="horizontal").select(plan.column_names)


def _with_age(labels: pl.DataFrame, found: pl.DataFrame, age: str | None) -> pl.DataFrame:
    """The columns of a view, with the seconds from its window's end to the label's time in place of that end."""
    if age is None:
        return found
    seconds = (labels[EVENT_TIMESTAMP] - found[age]).dt.total_microseconds() / 1e6
    return found.with_columns(seconds.alias(age))


def features_began(labels: pl.DataFrame, plan: Plan) -> pl.Series:
    """Return for each label the start of the earliest window its features were computed from; null if it has none.

    Args:
        labels: asset, event_timestamp.
        plan: What is looked up, and in which mode.
    """
    starts = [
        _looked_up(labels, table, {view: EVENT_TIMESTAMP}, plan)[view] - table.window
        for view, table in plan.feature_tables.items()
    ]
    return pl.DataFrame(starts).select(pl.min_horizontal(pl.all()).alias("began")).to_series()


def described(
    labels: pl.DataFrame, values: pl.DataFrame, plan: Plan, request: Mapping[str, Any], target: str | None = None
) -> pa.Table:
    """Return labels and values as one table whose schema states the request, the signature and what features mean.

    Args:
        labels: All their columns are kept.
        values: The columns `view__feature`.
        plan: Gives the columns their meaning.
        request: Goes into the schema's metadata as JSON.
        target: The column to be predicted, if one is named; goes into the signature.
    """
    table, found = plain_arrow(labels), plain_arrow(values)
    for column, meaning in plan.meanings.items():
        table = table.append_column(found.schema.field(column).with_metadata(meaning), found[column])
    signature = json.dumps(to_json(signature_of(plan, values, target)))
    return table.replace_schema_metadata({"penstock": json.dumps(request), SIGNATURE_KEY: signature})


def _looked_up(labels: pl.DataFrame, table: PinnedTable, columns: Mapping[str, str], plan: Plan) -> pl.DataFrame:
    """Return `columns` (name -> the table's) of the rows that serve the labels; null where none does."""
    query = table.query(columns)
    times = labels.select(ASSET, pl.col(EVENT_TIMESTAMP).alias(EVENT))
    numbers = row_numbers(query, times, plan.executor, created_by_label_time=plan.created_by_label_time)
    return pl.DataFrame(features_at(query, numbers, plan.executor))
