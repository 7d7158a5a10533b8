"""The values of points -> one frame of rows, by way of Arrow: a frame costs as much for one row as for thousands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from features.compute.rows.kernel_values import Values
from features.compute.rows.quality import ProcessQuality, WaveformQuality
from features.define.point_plan import PointPlan
from features.windows.stretches import Integers

_EVENT: Final = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class PointColumns:
    """What is known of the windows of a point."""

    plan: PointPlan
    asset: Integers
    """[windows] number of each one's asset."""
    values: Values
    quality: ProcessQuality | WaveformQuality

    @property
    def end(self) -> Integers:
        """[windows] microseconds since the epoch."""
        return self.quality.windows.end

    def arrays(self) -> list[npt.NDArray[Any]]:
        """[windows] each: the columns of the point's plan."""
        of_quality = (spec.kernel(self.quality) for specs in self.plan.quality.values() for spec in specs)
        return [*(self.values[spec.name] for spec in self.plan.features), *of_quality]


def joined_columns(points: Mapping[str, PointColumns], names: Sequence[str], assets: Sequence[str]) -> pl.DataFrame:
    """Join the columns of points by asset and end; a point that has no window at another's end is `absent` there.

    Args:
        points: by name, those that have a tag on any of the assets.
        names: of all points of the view.
        assets: names of the assets, sorted.

    Returns:
        asset, event_timestamp and the columns of the points, sorted; a point without a tag has only its reason.
    """
    asset, end, places = _keys([(each.asset, each.end) for each in points.values()])
    columns: dict[str, pa.Array] = {
        "asset": pa.array(np.array(assets, np.object_)[asset], pa.large_string()),
        "event_timestamp": pa.array(end).cast(_EVENT),
    }
    for each, place in zip(points.values(), places, strict=True):
        for column, values in zip(each.plan.columns, each.arrays(), strict=True):
            absent = "absent" if column.name == f"{column.point}_reason" else None
            columns[column.name] = _arrow(values, place, len(end), absent)
    for name in names:
        columns.setdefault(f"{name}_reason", pa.array(["absent"] * len(end), pa.large_string()))
    return _typed(pl.DataFrame(pa.table(columns)), points)


def _typed(rows: pl.DataFrame, points: Mapping[str, PointColumns]) -> pl.DataFrame:
    """Return rows with the types of the plans: an array may have another, or none if it is empty."""
    known = dict(zip(rows.columns, rows.dtypes, strict=True))
    columns = (column for each in points.values() for column in each.plan.columns)
    other = [column for column in columns if known[column.name] != column.dtype]
    return rows.with_columns(rows[column.name].cast(column.dtype) for column in other) if other else rows


def _keys(keys: Sequence[tuple[Integers, Integers]]) -> tuple[Integers, Integers, list[Integers | None]]:
    """Return asset and end of every row, and for each point in which rows it has its windows; None if in all."""
    if not keys:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), []
    asset, end = keys[0]
    if all(np.array_equal(asset, one) and np.array_equal(end, other) for one, other in keys[1:]):
        return asset, end, [None] * len(keys)
    ends = np.concatenate([each for _, each in keys])
    origin, span = ends.min(), np.ptp(ends) + 1
    numbers = [one * span + (other - origin) for one, other in keys]
    rows = np.unique(np.concatenate(numbers))
    places = [None if len(each) == len(rows) else np.searchsorted(rows, each) for each in numbers]
    return rows // span, rows % span + origin, places


def _arrow(values: npt.NDArray[Any], place: Integers | None, rows: int, absent: str | None) -> pa.Array:
    """Return a column: NaN and infinity are undefined, so null, as is what has no window."""
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, np.nan)
        return pa.array(_spread(values, place, rows, np.nan), from_pandas=True)
    if values.dtype.kind == "O":
        return pa.array(_spread(values, place, rows, absent), pa.large_string())
    mask = None if place is None else _spread(np.zeros(len(place), np.bool_), place, rows, otherwise=True)
    return pa.array(_spread(values, place, rows, 0), mask=mask)


def _spread(values: npt.NDArray[Any], place: Integers | None, rows: int, otherwise: object) -> npt.NDArray[Any]:
    """[windows] -> [rows]."""
    if place is None:
        return values
    wide = np.full(rows, otherwise, values.dtype)
    wide[place] = values
    return wide
