"""What a view computes, resolved once from the plant: for each point its groups, kernels and columns, for each asset
the tags that fill these points, their bearings and where the shaft's speed comes from.

Everything downstream (planning, windows, kernels, rows, tables, plots, the reference) reads this plan and
works out nothing again. Partitions carry the plan of one asset to other processes and to other machines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property, lru_cache
from itertools import chain
from math import ceil
from typing import Any, Final

import polars as pl

from features.define import quality_columns
from features.define.catalogue import find_group, spectral, zone_spec
from features.define.spec import FeatureGroup, FeatureSpec
from features.kernels.bearing import misfits
from features.kernels.states import state_specs
from features.kernels.window_checks import HELD_CHECKS, waveform_checks
from features.windows.stretches import STRETCH_COLUMNS
from features.windows.tiling import microseconds
from historian.errors import ConfigError
from historian.plant.connections import Tag
from historian.plant.feature_groups import groups_of, point_kind
from historian.plant.model import Band, Bearing, Point
from historian.plant.plant import Plant, View
from historian.waveforms.choosing import LONGEST

_NUMBERS: Final = ("timestamp", "value", "quality")


@dataclass(frozen=True)
class Column:
    """One column of a feature table."""

    name: str
    """`de_h_rms_ac`"""
    point: str
    spec: FeatureSpec[Any]
    dtype: pl.DataType
    unit: str
    """`g`, `mm/s`, `degC/h`; empty for a pure number."""


@dataclass(frozen=True)
class PointPlan:
    """What a view computes for one of its points, on every asset."""

    settings: View
    """The view, without what it says of single assets."""
    name: str
    point: Point
    kind: str
    """As `point_kind` returns it."""
    groups: Mapping[str, FeatureGroup]
    """The features by group, adapted to the view's bands and the point's states and zones."""
    checks: FeatureGroup
    """What is computed of each window to judge its features, and is no column by itself."""
    quality: Mapping[str, tuple[FeatureSpec[Any], ...]]
    """The quality columns, by the headings of `catalogue.QUALITY_COLUMNS`."""

    def __reduce__(self) -> tuple[Callable[[View, str, Point], PointPlan], tuple[View, str, Point]]:
        """Travel as what the plan is resolved from: kernels of other packages need not be picklable."""
        return resolve_point, (self.settings, self.name, self.point)

    @cached_property
    def features(self) -> tuple[FeatureSpec[Any], ...]:
        """The features of all groups, in the order of their columns."""
        return tuple(spec for group in self.groups.values() for spec in group.specs)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Its columns: the features group by group, then the quality columns."""
        unit = self.point.unit
        return tuple(
            Column(f"{self.name}_{spec.name}", self.name, spec, spec.dtype, spec.unit.replace("{unit}", unit))
            for spec in chain(self.features, *self.quality.values())
        )

    @property
    def shows_speed(self) -> bool:
        """Whether rows say with which speed the features were computed."""
        return "speed" in self.quality

    @property
    def length(self) -> int:
        """The length of a window in microseconds."""
        return microseconds(self.settings.window)

    @property
    def hop(self) -> int:
        """The distance from window to window in microseconds."""
        return microseconds(self.settings.hop)

    @property
    def max_staleness(self) -> int:
        """For how many microseconds a value of a process or state point may stand for the present."""
        return microseconds(self.point.max_staleness)


@dataclass(frozen=True)
class SampleTag:
    """A tag whose samples the rows of an asset depend on."""

    name: str
    sample_rate: float | None
    """Hz, of a tag with waveforms; None for a process, state or speed tag, which has samples."""
    lookback: timedelta
    """How far before its end a window needs samples of the tag; so long after a sample may windows end that use it."""
    columns: tuple[str, ...]
    """The columns of its samples, or of its waveforms, that the features depend on."""

    @property
    def read_lookback(self) -> timedelta:
        """How far before its end a window needs what is read of the tag.

        The stretch in which reading begins is cut, and its timestamp rounded. So reading begins a whole stretch earlier
        than the first window ends: in which samples that window has never depends on where the cut is.
        """
        if self.sample_rate is None:
            return self.lookback
        return max(self.lookback, timedelta(microseconds=ceil((LONGEST + 1) * 1e6 / self.sample_rate)))

    @property
    def replaces(self) -> timedelta:
        """How far before a stretch that is written the samples of an older one may be replaced: half a period."""
        return timedelta(microseconds=ceil(0.5e6 / self.sample_rate) + 1 if self.sample_rate else 0)


@dataclass(frozen=True)
class PointTag(SampleTag):
    """The tag that fills a point of the view on one asset."""

    plan: PointPlan
    bearing: Bearing | None
    """The bearing at the point; None where unknown."""
    has_geometry: bool
    """Whether there is a bearing and its geometry is possible."""


@dataclass(frozen=True)
class SpeedTag(SampleTag):
    """The tag that measures the speed of an asset's shaft."""

    unit: str
    """rpm or Hz."""
    max_staleness: int
    """Microseconds."""


@dataclass(frozen=True)
class AssetPlan:
    """What a view computes for one asset, and from which tags."""

    asset: str
    points: tuple[str, ...]
    """All points of the view; a point that no tag fills is absent from the rows."""
    tags: tuple[PointTag, ...]
    """The tags that fill points of the view, in the order of these points."""
    speed: SpeedTag | None
    fixed_rpm: float | None
    """The speed the plant file gives the asset, where no tag measures it."""
    window: timedelta
    hop: timedelta

    @property
    def sample_tags(self) -> tuple[SampleTag, ...]:
        """Every tag whose samples are read."""
        return (*self.tags, self.speed) if self.speed else self.tags

    @property
    def lookback(self) -> timedelta:
        """How far before its end a window needs samples of any of the tags."""
        return max(tag.lookback for tag in self.sample_tags)

    @property
    def read_lookback(self) -> timedelta:
        """How far before its end a window needs what is read of any of the tags."""
        return max(tag.read_lookback for tag in self.sample_tags)

    def with_samples(self, names: Collection[str]) -> AssetPlan:
        """Return the plan without the tags that have no samples; `names` are those that have."""
        if all(tag.name in names for tag in self.sample_tags):
            return self
        speed = self.speed if self.speed and self.speed.name in names else None
        return replace(self, tags=tuple(tag for tag in self.tags if tag.name in names), speed=speed)


@dataclass(frozen=True)
class ViewPlan:
    """What a view computes, for every point and asset."""

    view: View
    points: tuple[PointPlan, ...]
    assets: tuple[AssetPlan, ...]
    """Every asset of the view's class, sorted by name."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the view's rows, point by point."""
        return tuple(column for point in self.points for column in point.columns)


def view_plan(plant: Plant, view: View) -> ViewPlan:
    """Resolve what a view of the plant computes.

    Raises:
        ConfigError: a group cannot be used, or two groups of other packages have a feature of one name.
    """
    settings, points = replace(view, fixed_rpm={}), plant.classes[view.asset_class].points
    plans = tuple(resolve_point(settings, name, points[name]) for name in view.points)
    names = Counter(column.name for plan in plans for column in plan.columns)
    if repeated := [name for name, count in names.items() if count > 1]:
        raise ConfigError(f"{view.name}: several groups have the column {', '.join(repeated)}; leave out one of them")
    assets = tuple(_asset_plan(plant, view, asset, plans) for asset in plant.assets_of(view.asset_class))
    return ViewPlan(view, plans, assets)


def resolve_point(settings: View, name: str, point: Point) -> PointPlan:
    """Resolve what a view computes for a point of its class.

    Args:
        settings: the view.
        name: the point's name.
        point: the point, as its class describes it.

    Raises:
        ConfigError: a group cannot be used.
    """
    groups = _point_groups(settings, point)
    if point.kind != "vibration":
        quality = {"quality of process points": quality_columns.PROCESS}
        return PointPlan(settings, name, point, point_kind(point), groups, HELD_CHECKS, quality)
    quality = {"quality": quality_columns.WAVEFORM}
    if settings.speed is not None or any(group.needs.speed for group in groups.values()):
        quality["speed"] = quality_columns.SPEED
    return PointPlan(settings, name, point, point_kind(point), groups, waveform_checks(point.range), quality)


def _point_groups(view: View, point: Point) -> dict[str, FeatureGroup]:
    names = groups_of(view.features, point)
    groups = {name: _group(name, view.bands, tuple(point.states), alone="process" not in names) for name in names}
    if point.zones and "spectrum" in groups:
        limits = point.zones.limits
        spec = zone_spec(limits, f"{', '.join(map('{:g}'.format, limits))} mm/s", point.zones.source)
        groups["zone"] = FeatureGroup("spectra", (spec,))
    return groups


@lru_cache
def _group(name: str, bands: tuple[Band, ...], states: tuple[str, ...], *, alone: bool) -> FeatureGroup:
    """Return a group with the view's bands and the point's states; `alone` is whether it is no number as well."""
    group = find_group(name)
    if name == "spectrum":
        return replace(group, specs=spectral(bands))
    return replace(group, specs=state_specs(states, alone=alone)) if name == "states" else group


def _asset_plan(plant: Plant, view: View, asset: str, points: tuple[PointPlan, ...]) -> AssetPlan:
    filled = [(plan, plant.tag_of(asset, plan.name)) for plan in points]
    speed = plant.tag_of(asset, view.speed) if view.speed else None
    return AssetPlan(
        asset=asset,
        points=view.points,
        tags=tuple(_point_tag(plan, tag) for plan, tag in filled if tag),
        speed=_speed_tag(view, speed) if speed else None,
        fixed_rpm=view.fixed_rpm.get(asset),
        window=view.window,
        hop=view.hop,
    )


def _point_tag(plan: PointPlan, tag: Tag) -> PointTag:
    has_geometry = tag.bearing is not None and not misfits(tag.bearing)
    of_samples = (*_NUMBERS, "text") if plan.kind in ("state", "digital") else _NUMBERS
    columns = of_samples if tag.sample_rate is None else STRETCH_COLUMNS
    return PointTag(tag.name, tag.sample_rate, _lookback(plan.settings, tag), columns, plan, tag.bearing, has_geometry)


def _speed_tag(view: View, tag: Tag) -> SpeedTag:
    staleness = microseconds(tag.max_staleness)
    return SpeedTag(tag.name, tag.sample_rate, _lookback(view, tag), _NUMBERS, tag.unit, staleness)


def _lookback(view: View, tag: Tag) -> timedelta:
    """A process tag's value may be as old as its max_staleness; a waveform may start one sample early."""
    if tag.sample_rate is None:
        return view.window + tag.max_staleness
    return view.window + timedelta(microseconds=ceil(1e6 / tag.sample_rate))
