"""Feature sources made by hand, in each layout, and the labels that they meet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
from deltalake import write_deltalake
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat, ParquetFormat
from feast.types import Float64, String

START = datetime(2026, 3, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
Layout = Literal["file", "directory", "delta"]


def at(*seconds: float | None) -> pl.Series:
    """Instants, given in seconds after START."""
    return pl.Series([None if s is None else START + timedelta(seconds=s) for s in seconds], dtype=TIME)


def rows(assets: str, event: Sequence[float], created: Sequence[float | None], value: Sequence[float]) -> pl.DataFrame:
    """Feature rows: `assets` names one asset a row by its last letter."""
    return pl.DataFrame(
        {
            "asset": [f"c{letter}" for letter in assets],
            "event_timestamp": at(*event),
            "created_timestamp": at(*created),
            "rms": pl.Series(value, dtype=pl.Float64),
        }
    )


def labels(assets: str, seconds: Sequence[float], **columns: Any) -> pd.DataFrame:
    """Labels as Feast wants them."""
    frame = pl.DataFrame({"asset": [f"c{letter}" for letter in assets], "event_timestamp": at(*seconds), **columns})
    return frame.to_pandas()


def save(frame: pl.DataFrame, path: Path, layout: Layout = "file") -> FileSource:
    """Writes feature rows and gives Feast's source for them."""
    path.mkdir(exist_ok=True)
    if layout == "delta":
        write_deltalake(path, frame, mode="append")
    elif layout == "directory":
        for number, part in enumerate(frame.iter_slices(max(1, frame.height // 3))):
            part.write_parquet(path / f"part-{number}.parquet")
    else:
        frame.write_parquet(path / "rows.parquet")
    return FileSource(
        path=str(path / "rows.parquet" if layout == "file" else path),
        file_format=DeltaFormat() if layout == "delta" else ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )


def view(source: FileSource, *, name: str = "vib", ttl: timedelta | None = None, **fields: Any) -> FeatureView:
    """A view of `rms`, or of `fields`, by asset."""
    return FeatureView(
        name=name,
        entities=[ASSET],
        ttl=ttl,
        schema=[Field(name="asset", dtype=String)]
        + [Field(name=field, dtype=dtype) for field, dtype in (fields or {"rms": Float64}).items()],
        source=source,
    )


ASSET = Entity(name="asset", join_keys=["asset"], value_type=ValueType.STRING)


def retrieved(store: FeatureStore, entity_df: pd.DataFrame, *refs: str, **options: Any) -> pl.DataFrame:
    """Historical features as a Polars frame."""
    return pl.DataFrame(store.get_historical_features(entity_df, list(refs), **options).to_arrow())
