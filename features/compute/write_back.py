"""Feature values as samples of the store: `[historian] write_features`, for people whose tools read the historian.

The root mean square of point `de_h` of asset `c101` becomes the tag `c101.de_h.rms_ac`, stamped with the window's end.
Samples are written before the rows they come from are appended: a run that dies in between computes the same rows
again, and the store takes the same samples as the same write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from features.define.point_plan import Column, resolve_point
from features.define.view_plan import ViewPlan
from historian.errors import ConfigError, near_misses
from historian.plant.plant import Plant
from historian.quality import BAD_NO_DATA, GOOD
from historian.samples import SCHEMA, normalise
from historian.stores.protocols import Sink

SOURCE: Final = "features"
"""The source of these samples in the store's ledger."""


@dataclass(frozen=True)
class WrittenFeature:
    """A column of a view whose values become samples."""

    column: Column
    assets: tuple[str, ...]
    """The assets on which a tag fills the column's point."""


def written_features(plant: Plant, plan: ViewPlan) -> tuple[WrittenFeature, ...]:
    """Return the columns of a view that are written to the store.

    Raises:
        ConfigError: `write_features` names a feature that no view has, or one that two views compute of one point, or
            whose tag a tag list has already.
    """
    if not plant.write_features:
        return ()
    columns = tuple(_chosen(plant)[plan.view.name])
    filled = {asset.asset: {tag.plan.name for tag in asset.tags} for asset in plan.assets}
    found = [
        WrittenFeature(column, tuple(asset for asset, points in filled.items() if column.point in points))
        for column in columns
    ]
    names = [tag_name(asset, each.column) for each in found for asset in each.assets]
    if taken := [name for name in names if name in plant.tags]:
        raise ConfigError(f"write_features would write to {', '.join(taken)}, which a tag list has; rename that tag")
    return tuple(found)


def tag_name(asset: str, column: Column) -> str:
    """Return the tag of a feature: `c101.de_h.rms_ac`."""
    return f"{asset}.{column.point}.{column.spec.name}"


def writer(plant: Plant, plan: ViewPlan, store: Sink, clock: Callable[[], datetime]) -> Callable[[pl.DataFrame], None]:
    """Return a function that writes the chosen features of a view's rows to the store.

    Raises:
        ConfigError: see `written_features`.
    """
    chosen = written_features(plant, plan)

    def write(rows: pl.DataFrame) -> None:
        if chosen and not rows.is_empty():
            store.write(normalise(feature_samples(rows, chosen)).batch, source=SOURCE, now=clock())

    return write


def feature_samples(rows: pl.DataFrame, chosen: Sequence[WrittenFeature]) -> pl.DataFrame:
    """Return feature rows as samples, columns of `SCHEMA`; a feature without a value is a Bad sample.

    So a value that was withdrawn or corrected to nothing does not stay in the store as the newest.
    """
    return pl.concat([SCHEMA.to_frame(), *(_samples(rows, each) for each in chosen)])


def _samples(rows: pl.DataFrame, written: WrittenFeature) -> pl.DataFrame:
    column = written.column
    is_text, value = column.dtype == pl.String(), pl.col(column.name)
    return rows.filter(pl.col("asset").is_in(written.assets)).select(
        tag=pl.format(tag_name("{}", column), "asset"),
        timestamp="event_timestamp",
        value=pl.lit(None, pl.Float64) if is_text else value.cast(pl.Float64),
        text=value if is_text else pl.lit(None, pl.String),
        quality=pl.when(value.is_null()).then(BAD_NO_DATA).otherwise(GOOD).cast(pl.UInt32),
    )


def _chosen(plant: Plant) -> Mapping[str, list[Column]]:
    """Return the columns to write by view; their tags differ."""
    found: dict[str, list[Column]] = {name: [] for name in plant.views}
    known: set[str] = set()
    views: dict[tuple[str, str, str], str] = {}
    for name, asset_class, column in _columns(plant):
        known.add(column.spec.name)
        if column.spec.name not in plant.write_features:
            continue
        if other := views.get((asset_class, column.point, column.spec.name)):
            raise ConfigError(
                f"write_features: {other} and {name} both compute {column.spec.name} of {column.point}, so its tag "
                "would have two values; leave the feature out"
            )
        views[asset_class, column.point, column.spec.name] = name
        found[name].append(column)
    for feature in plant.write_features:
        if feature not in known:
            raise ConfigError(f"write_features: no view computes {feature!r}{near_misses(feature, known)}")
    return found


def _columns(plant: Plant) -> Iterator[tuple[str, str, Column]]:
    """Yield view, asset class and column, of every view."""
    for name, view in plant.views.items():
        points = plant.classes[view.asset_class].points
        for point in view.points:
            yield from (
                (name, view.asset_class, column) for column in resolve_point(view, point, points[point]).columns
            )
