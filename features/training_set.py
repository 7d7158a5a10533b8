"""Labels and features -> a training set: one row a label, in order, with only what could be known at its time.

The same labels against the same feature rows give the same bytes. What each column means and which tags it comes from
travels in the schema, where the format has room for it (Parquet, Arrow).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final, Literal

import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from feast import FeatureStore

from features.feature_refs import column_of, meaning_of, service_refs, views_of
from features.historical import plain_arrow
from features.labels import ASSET, EVENT_TIMESTAMP
from historian.errors import InvalidInput, NotEnoughData
from historian.plant import Plant

Format = Literal["parquet", "arrow", "csv"]

_BY_SUFFIX: Final[dict[str, Format]] = {".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow", ".csv": "csv"}


def default_refs(store: FeatureStore, plant: Plant, labels: pl.DataFrame) -> list[str]:
    """All features of the labelled assets' classes: those of their feature services.

    Raises:
        UnknownFeature: a class has no features, or they are not registered.
    """
    classes = {plant.assets[asset].asset_class for asset in labels[ASSET].unique().to_list()}
    return [ref for name in sorted(classes) for ref in service_refs(store, name)]


def training_set(store: FeatureStore, labels: pl.DataFrame, refs: Sequence[str], *, known_then: bool) -> pa.Table:
    """The labels, and beside them a column `view__feature` for each reference; null where nothing was known.

    Args:
        store: Feast over the plant's repository.
        labels: See `features.labels`; all their columns are kept.
        refs: `view:feature`, in the order of the columns.
        known_then: Use only what had been computed by the label's time: corrections and late data are left out.

    Raises:
        UnknownFeature: a reference is not registered.
        InvalidInput: a label column is called as a feature is.
        NotEnoughData: a view has no rows at all.
        FeatureError: a view's table lacks a column; it was made before the plant file had it.
    """
    views = views_of(store, refs)
    names = [column_of(ref) for ref in views]
    if taken := sorted(set(names) & set(labels.columns)):
        raise InvalidInput(f"the labels have columns called as features are: {', '.join(taken)}; rename them")
    try:
        # Only keys and times cross into pandas; the other label columns never leave Arrow and keep their types.
        found = store.get_historical_features(
            labels.select(ASSET, EVENT_TIMESTAMP).to_pandas(),
            list(views),
            full_feature_names=True,
            filter_by_created_timestamp=known_then,
        ).to_arrow()
    except FileNotFoundError as error:
        raise NotEnoughData(f"{error}; run penstock compute") from None
    table = plain_arrow(labels)
    for (ref, view), name in zip(views.items(), names, strict=True):
        field = found.schema.field(name).with_metadata(meaning_of(ref, view))
        table = table.append_column(field, found[name])
    request = json.dumps({"features": list(views), "known_then": known_then})
    return table.replace_schema_metadata({"penstock": request})


def null_rates(table: pa.Table, refs: Sequence[str]) -> dict[str, float]:
    """The share of rows in which each feature is missing."""
    rows = max(1, table.num_rows)
    return {ref: table[column_of(ref)].null_count / rows for ref in refs}


def format_of(path: Path) -> Format:
    """The format a file's suffix asks for.

    Raises:
        InvalidInput: it asks for none we write.
    """
    if path.suffix.lower() not in _BY_SUFFIX:
        raise InvalidInput(f"{path.name} has no known suffix; end it in one of {', '.join(_BY_SUFFIX)}")
    return _BY_SUFFIX[path.suffix.lower()]


def save(table: pa.Table, path: Path) -> None:
    """Writes a training set in the format of the path's suffix, whole or not at all.

    Raises:
        InvalidInput: the suffix is unknown, or the directory cannot be written to.
    """
    as_format = format_of(path)
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as sink:
            write(table, sink, as_format)
        draft.replace(path)
    except OSError as error:
        raise InvalidInput(f"the training set cannot be written to {path}: {error.strerror}") from None


def write(table: pa.Table, sink: IO[bytes], as_format: Format) -> None:
    """Writes a training set to an open file."""
    if as_format == "parquet":
        pq.write_table(table, sink, compression="zstd")
    elif as_format == "arrow":
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        pl.DataFrame(table).write_csv(sink, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
