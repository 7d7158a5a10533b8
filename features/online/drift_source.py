"""The two sides of a drift report: what a training set holds, and the feature rows since."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import polars as pl
from feast import FeatureStore

from features.feature_refs import column_of, views_of
from features.labels import ASSET, EVENT_TIMESTAMP
from historian.errors import InvalidInput, NotEnoughData


def training_values(store: FeatureStore, path: Path) -> dict[str, pl.Series]:
    """The values of each registered feature that a training set has a column `view__feature` of.

    Raises:
        InvalidInput: it cannot be read, or has no such column.
    """
    refs = [f"{view.name}:{feature.name}" for view in store.list_feature_views() for feature in view.features]
    data = path / "data" if (path / "data").is_dir() else path  # beside it lie the labels, which may be Parquet too
    try:
        rows = pl.scan_parquet(data / "**/*.parquet" if data.is_dir() else data)
        names = rows.collect_schema()
        columns = {ref: column_of(ref) for ref in refs if _is_number(names.get(column_of(ref)))}
        found = rows.select(columns.values()).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InvalidInput(f"the training set {path} cannot be read as Parquet: {error}") from None
    if not columns:
        raise InvalidInput(f"the training set {path} has no column of a registered feature, such as view__feature")
    return {ref: found[column] for ref, column in columns.items()}


def live_values(store: FeatureStore, refs: Sequence[str], since: datetime) -> dict[str, pl.Series]:
    """The values of features in the rows with event timestamp >= `since`, of each window the row created last.

    Raises:
        NotEnoughData: a view has no feature table yet, or it lacks one of the features.
    """
    found: dict[str, pl.Series] = {}
    for name, view in {view.name: view for view in views_of(store, refs).values()}.items():
        columns = [ref.partition(":")[2] for ref in refs if ref.partition(":")[0] == name]
        try:
            rows = pl.scan_delta(view.batch_source.path)
        except FileNotFoundError:
            raise NotEnoughData(f"there are no rows of {name} yet; run penstock compute") from None
        if absent := [column for column in columns if column not in rows.collect_schema()]:
            raise NotEnoughData(f"the rows of {name} have no {', '.join(absent)} yet; run penstock compute")
        recent = rows.filter(pl.col(EVENT_TIMESTAMP) >= since).select(
            ASSET, EVENT_TIMESTAMP, "created_timestamp", *columns
        )
        newest = recent.sort("created_timestamp").unique([ASSET, EVENT_TIMESTAMP], keep="last").collect()
        found |= {f"{name}:{column}": newest[column] for column in columns}
    return found


def _is_number(dtype: pl.DataType | None) -> bool:
    return dtype is not None and (dtype.is_numeric() or dtype == pl.Boolean())
