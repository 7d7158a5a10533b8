"""The plant as Feast objects: an entity, a feature view per feature set, a feature service per asset class.

All are derived from the plant file, so that there is one source of truth. Units, formulas and tag lineage are stored as
descriptions and tags, so that Feast's registry shows what a feature means and where it comes from.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.types import Bool, Float64, Int64, PrimitiveFeastType, String

from features.define.point_plan import Column
from features.define.view_plan import view_plan
from features.tables.feature_table import table_path
from features.tables.labels import ASSET
from historian.plant.connections import Tag
from historian.plant.plant import Plant, View
from historian.times import format_duration

_TYPES: Final[dict[type[pl.DataType], PrimitiveFeastType]] = {
    pl.Float64: Float64,
    pl.Int64: Int64,
    pl.Boolean: Bool,
    pl.String: String,
}


def feast_objects(plant: Plant) -> list[Entity | FeatureView | FeatureService]:
    """Return the objects that `penstock apply` registers, in the plant's order.

    Args:
        plant: The plant.
    """
    asset = Entity(name=ASSET, join_keys=[ASSET], value_type=ValueType.STRING, description="A machine of the plant.")
    views = {name: _view(plant, view, asset) for name, view in plant.views.items()}
    services = [
        FeatureService(
            name=asset_class,
            features=[views[name] for name, view in plant.views.items() if view.asset_class == asset_class],
            description=f"All features of a {asset_class}.",
        )
        for asset_class in dict.fromkeys(view.asset_class for view in plant.views.values())
    ]
    return [asset, *views.values(), *services]


def tags_of(plant: Plant, view: View, point: str) -> dict[str, str]:
    """Return the lineage of a point: for each asset of the view's class, the tag that fills it, or the tags by date.

    Args:
        plant: The plant.
        view: One of its feature views.
        point: One of the view's points.
    """
    found = {asset: plant.tags_of(asset, point) for asset in plant.assets_of(view.asset_class)}
    return {asset: " then ".join(map(_dated, tags)) for asset, tags in found.items() if tags}


def _dated(tag: Tag) -> str:
    return f"{tag.name} since {tag.since:%FT%TZ}" if tag.since else tag.name


def _source(plant: Plant, view: View) -> FileSource:
    return FileSource(
        name=view.name,
        path=table_path(plant, view.name).as_posix(),
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )


def _view(plant: Plant, view: View, asset: Entity) -> FeatureView:
    window, hop = format_duration(view.window), format_duration(view.hop)
    return FeatureView(
        name=view.name,
        entities=[asset],
        ttl=view.ttl or timedelta(0),
        schema=[Field(name=ASSET, dtype=String), *(_field(column) for column in view_plan(plant, view).columns)],
        source=_source(plant, view),
        description=f"Windows of {window} every {hop}, labelled by their end.",
        tags={
            "window": window,
            "hop": hop,
            **{f"tags of {point}": _lineage(plant, view, point) for point in view.points},
        },
    )


def _lineage(plant: Plant, view: View, point: str) -> str:
    return ", ".join(f"{asset}={tag}" for asset, tag in tags_of(plant, view, point).items())


def _field(column: Column) -> Field:
    spec = column.spec
    tags = {"point": column.point, "unit": column.unit, "formula": spec.formula, "version": str(spec.version)}
    unit = f" [{column.unit}]" if column.unit else ""
    return Field(
        name=column.name,
        dtype=_TYPES[type(column.dtype)],
        description=f"{spec.name} of {column.point}{unit}: {spec.formula}",
        tags={key: text for key, text in tags.items() if text},
    )
