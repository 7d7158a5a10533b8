"""The two sides of a drift report: the values of a training set, and the feature rows since."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
from feast import FeatureStore
from feast.types import from_feast_to_pyarrow_type

from features.feast.feature_refs import column_of, views_of
from features.tables.labels import ASSET, EVENT_TIMESTAMP
from historian.errors import InvalidInput, NotEnoughData

_SUFFIXES: Final = (".parquet", ".arrow", ".feather", ".arrows", ".csv")


def training_values(store: FeatureStore, path: Path) -> dict[str, pl.Series]:
    """Return the values of each registered feature in a training set, in the registered type.

    Args:
        store: Feast over the plant's repository.
        path: A file in any format a training set is written in, a directory of them, or an artefact.

    Raises:
        InvalidInput: The training set cannot be read, or has no column of a registered feature.
    """
    fields = {f"{view.name}:{field.name}": field for view in store.list_feature_views() for field in view.features}
    arrow = pa.schema({column_of(ref): from_feast_to_pyarrow_type(field.dtype) for ref, field in fields.items()})
    found = _read(path, pl.Schema(arrow))
    columns = {ref: column_of(ref) for ref in fields if column_of(ref) in found.columns}
    if not columns:
        raise InvalidInput(f"the training set {path} has no column of a registered feature, such as view__feature")
    return {ref: found[column] for ref, column in columns.items()}


def _read(path: Path, types: pl.Schema) -> pl.DataFrame:
    """Return the columns of registered features in all files of a training set."""
    data = path / "data" if (path / "data").is_dir() else path  # not its labels, which may be Parquet too
    files = sorted(file for file in data.rglob("*") if file.suffix.lower() in _SUFFIXES) if data.is_dir() else [data]
    if not files:
        raise InvalidInput(f"there is no training set in {path}; its files end in {', '.join(_SUFFIXES)}")
    try:
        return pl.concat([_features(file, types) for file in files]).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InvalidInput(f"the training set {path} cannot be read: {error}") from None


def _features(file: Path, types: pl.Schema) -> pl.LazyFrame:
    """Return the columns of registered features in their registered types."""
    suffix = file.suffix.lower()
    if suffix == ".csv":
        rows = pl.scan_csv(file, infer_schema=False, schema_overrides=types)
    elif suffix == ".arrows":
        rows = pl.read_ipc_stream(file).lazy()
    else:
        rows = pl.scan_ipc(file) if suffix in (".arrow", ".feather") else pl.scan_parquet(file)
    return rows.select(pl.col(name).cast(types[name]) for name in rows.collect_schema() if name in types)


def live_values(store: FeatureStore, refs: Sequence[str], since: datetime) -> dict[str, pl.Series]:
    """Return feature values of the rows with event timestamp >= `since`; for each window, of the row created last.

    Args:
        store: Feast over the plant's repository.
        refs: `view:feature`
        since: The instant, with a zone.

    Raises:
        NotEnoughData: A view has no feature table yet, or the table lacks a feature.
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
