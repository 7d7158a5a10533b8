"""A plant of two compressors and a pump in a directory of its own, and feature rows made by hand for it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from deltalake import write_deltalake

from features.tables.feature_table import FeatureTable, table_path, table_schema
from historian.plant.load import load_plant
from historian.plant.plant import Plant

START = datetime(2026, 3, 1, tzinfo=UTC)


def copied_plant(directory: Path) -> Plant:
    """The plant of tests/cases/feast, copied into the directory."""
    shutil.copytree(Path(__file__).parents[1] / "cases" / "feast", directory)
    return load_plant(directory)


def append_rows(plant: Plant, view: str, *rows: tuple[str, float, float, float | None]) -> None:
    """Appends feature rows to a view: (asset, event and created timestamp in seconds after START, value).

    Every number of a row is `value`, every flag true and every text a word; None makes them all missing.
    """
    FeatureTable(plant, plant.views[view])
    schema = table_schema(plant, plant.views[view])
    values = [
        {
            **{name: _cell(dtype, value) for name, dtype in schema.items()},
            "asset": asset,
            "event_timestamp": START + timedelta(seconds=event),
            "created_timestamp": START + timedelta(seconds=created),
        }
        for asset, event, created, value in rows
    ]
    write_deltalake(table_path(plant, view), pl.DataFrame(values, schema=schema), mode="append")


def _cell(dtype: pl.DataType, value: float | None) -> float | bool | str | None:
    if value is None:
        return None
    kinds: dict[pl.DataType, float | bool | str] = {pl.Boolean(): True, pl.Int64(): int(value), pl.String(): "gap"}
    return kinds.get(dtype, value)
