"""Labels and features -> a training set: one row a label, in order, with only what could be known at its time.

The same labels against the same feature rows give the same table. What each column means and which tags it comes from
travels in its schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import pyarrow as pa
from feast import FeatureStore, FeatureView

from features.feast.feature_refs import column_of, meaning_of, service_refs, views_of
from features.feast.offline.arrow_types import plain_arrow
from features.feast.offline.point_in_time import EVENT
from features.feast.offline.view_join import features_at, row_numbers
from features.feast.offline.workers import HERE, Workers
from features.tables.labels import ASSET, EVENT_TIMESTAMP
from features.training.pinned import PinnedTable, doubts, pin_all
from historian.errors import InvalidInput
from historian.plant.plant import Plant


@dataclass(frozen=True)
class Knowledge:
    """From whose point of view features are looked up.

    By default the true history: the value that counts today, as if every correction and every late sample had been
    there in time. `known_then` asks each label row what was known at its own time, `as_of` all rows what was at one;
    the tables are to be pinned as of the same instant.
    """

    known_then: bool = False
    as_of: datetime | None = None

    def told(self) -> dict[str, object]:
        """As a request states it."""
        as_of = {"as_of": self.as_of.isoformat().replace("+00:00", "Z")} if self.as_of else {}
        return {"known_then": self.known_then, **as_of}


def default_refs(store: FeatureStore, plant: Plant, labels: pl.DataFrame) -> list[str]:
    """All features of the labelled assets' classes: those of their feature services.

    Raises:
        UnknownFeature: a class has no features, or they are not registered.
    """
    classes = {plant.assets[asset].asset_class for asset in labels[ASSET].unique().to_list()}
    return [ref for name in sorted(classes) for ref in service_refs(store, name)]


def training_set(
    store: FeatureStore, labels: pl.DataFrame, refs: Sequence[str], knowledge: Knowledge
) -> tuple[pa.Table, list[str]]:
    """The labels, and beside them a column `view__feature` for each reference; null where nothing was known.

    Args:
        store: Feast over the plant's repository.
        labels: See `features.tables.labels`; all their columns are kept.
        refs: `view:feature`, in the order of the columns.
        knowledge: What of the features' history may be used.

    Returns:
        The table, and what is in doubt about it: see `doubts`.

    Raises:
        UnknownFeature: a reference is not registered.
        InvalidInput: a label column is called as a feature is.
        NotEnoughData: a view has no rows at all.
        FeatureError: a view's table lacks a column; it was made before the plant file had it.
    """
    views = views_of(store, refs)
    check_names(labels, refs)
    tables = pin_all(views, as_of=knowledge.as_of)
    values = feature_values(labels, tables, list(views), knowledge, advance=lambda _: None)
    table = described(labels, values, views, request={"features": list(views), **knowledge.told()})
    return table, doubts({name: table.moment.found for name, table in tables.items()})


def check_names(labels: pl.DataFrame, refs: Sequence[str]) -> None:
    """Raises `InvalidInput` if a label column is called as a feature is."""
    if taken := sorted(set(map(column_of, refs)) & set(labels.columns)):
        raise InvalidInput(f"the labels have columns called as features are: {', '.join(taken)}; rename them")


def feature_values(
    labels: pl.DataFrame,
    tables: Mapping[str, PinnedTable],
    refs: Sequence[str],
    knowledge: Knowledge,
    workers: Workers = HERE,
    *,
    advance: Callable[[int], None],
) -> pl.DataFrame:
    """A column `view__feature` for each reference, a row for each label in the labels' order.

    The same join as behind Feast's historical retrieval, on tables that are held still.
    """
    found = []
    for name, table in tables.items():
        columns = {column_of(f"{name}:{feature}"): feature for feature in features_of(refs, name)}
        found.append(_looked_up(labels, table, columns, knowledge, workers))
        advance(1)
    return pl.concat(found, how="horizontal").select(map(column_of, refs))


def features_of(refs: Sequence[str], view: str) -> list[str]:
    """The names of the features that are asked of a view."""
    return [ref.partition(":")[2] for ref in refs if ref.startswith(f"{view}:")]


def _looked_up(
    labels: pl.DataFrame, table: PinnedTable, columns: Mapping[str, str], knowledge: Knowledge, workers: Workers
) -> pl.DataFrame:
    """What the table's rows that serve the labels hold, as `columns` (name -> the table's); null where none does."""
    query = table.query(columns, knowledge.as_of)
    asked = labels.select(ASSET, pl.col(EVENT_TIMESTAMP).alias(EVENT))
    return pl.DataFrame(
        features_at(query, row_numbers(query, asked, workers, known_then=knowledge.known_then), workers)
    )


def features_began(
    labels: pl.DataFrame, tables: Mapping[str, PinnedTable], knowledge: Knowledge, workers: Workers = HERE
) -> pl.Series:
    """For each label the start of the earliest window its features were computed from; null where it has none."""
    starts = [
        _looked_up(labels, table, {name: EVENT_TIMESTAMP}, knowledge, workers)[name] - table.window
        for name, table in tables.items()
    ]
    return pl.DataFrame(starts).select(pl.min_horizontal(pl.all()).alias("began")).to_series()


def described(
    labels: pl.DataFrame, values: pl.DataFrame, views: Mapping[str, FeatureView], *, request: Mapping[str, object]
) -> pa.Table:
    """Labels and values as one table whose schema says what was asked for and what each feature means."""
    table, found = plain_arrow(labels), plain_arrow(values)
    for ref, view in views.items():
        name = column_of(ref)
        field = found.schema.field(name).with_metadata(meaning_of(ref, view))
        table = table.append_column(field, found[name])
    return table.replace_schema_metadata({"penstock": json.dumps(request)})


def null_rates(table: pa.Table, refs: Sequence[str]) -> dict[str, float]:
    """The share of rows in which each feature is missing."""
    rows = max(1, table.num_rows)
    return {ref: table[column_of(ref)].null_count / rows for ref in refs}
