"""What a view computes for a point, resolved once from the class of its assets: groups, kernels and columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

import polars as pl

from features.define import quality_columns
from features.define.catalogue import find_group, spectral, zone_specs
from features.define.history import Fact, facts_of
from features.define.spec import FeatureGroup, FeatureSpec
from features.kernels.machine_features import gear_specs
from features.kernels.states import state_specs
from features.kernels.window_checks import HELD_CHECKS, SPEED_CHECKS, waveform_checks
from features.windows.tiling import microseconds
from historian.plant.feature_groups import groups_of, point_kind
from historian.plant.model import Band, Point
from historian.plant.plant import View


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
    checks: tuple[FeatureGroup, ...]
    """What is computed of each window to judge its features, and is no column by itself."""
    quality: Mapping[str, tuple[FeatureSpec[Any], ...]]
    """The quality columns, by the headings of `catalogue.QUALITY_COLUMNS`."""

    @cached_property
    def facts(self) -> Mapping[str, frozenset[Fact]]:
        """Feature or check -> the facts, in addition to the tag, that it depends on."""
        found = {spec.name: facts_of(name, group, spec) for name, group in self.groups.items() for spec in group.specs}
        return {**found, "clipped": frozenset({"range"})} if self.point.kind == "vibration" else found

    @cached_property
    def uses(self) -> frozenset[Fact]:
        """The facts that its columns depend on."""
        used: set[Fact] = {"tag", "speed"} if self.shows_speed else {"tag"}
        return frozenset(used).union(*self.facts.values())

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
        return PointPlan(settings, name, point, point_kind(point), groups, (HELD_CHECKS,), quality)
    quality = {"quality": quality_columns.WAVEFORM}
    if settings.speed is not None or any(group.needs.speed for group in groups.values()):
        quality["speed"] = quality_columns.SPEED
    checks = [
        waveform_checks(point.range),
        *([SPEED_CHECKS] if any(each.needs.speed for each in groups.values()) else []),
    ]
    return PointPlan(settings, name, point, point_kind(point), groups, tuple(checks), quality)


def _point_groups(view: View, point: Point) -> dict[str, FeatureGroup]:
    names = groups_of(view.features, point)
    groups = {name: _group(name, view.bands, tuple(point.states), alone="process" not in names) for name in names}
    if "gears" in groups:
        groups["gears"] = replace(groups["gears"], specs=gear_specs(point.teeth))
    if point.zones and "spectrum" in groups:
        limits = point.zones.limits
        written = f"{', '.join(map('{:g}'.format, limits))} mm/s"
        groups["zone"] = FeatureGroup("spectra", zone_specs(limits, written, point.zones.source, point.zones.machine))
    return groups


@lru_cache
def _group(name: str, bands: tuple[Band, ...], states: tuple[str, ...], *, alone: bool) -> FeatureGroup:
    """Return a group with the view's bands and the point's states; `alone` is whether it is no number as well."""
    group = find_group(name)
    if name == "spectrum":
        return replace(group, specs=spectral(bands))
    return replace(group, specs=state_specs(states, alone=alone)) if name == "states" else group
