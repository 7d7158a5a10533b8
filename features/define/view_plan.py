"""What a view computes, resolved once from the plant: for each point its groups, kernels and columns, for each asset
the tags that fill these points, their bearings and where the shaft's speed comes from.

Everything downstream (planning, windows, kernels, rows, tables, plots, the reference) reads this plan and
works out nothing again. Partitions carry the plan of one asset to other processes and to other machines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from math import ceil
from types import MappingProxyType
from typing import Final, NamedTuple

from features.define.history import FIRST, LAST, Fact, begun, history_of, spans
from features.define.point_plan import Column, PointPlan, resolve_point
from features.kernels.bearing import misfits
from features.windows.stretches import STRETCH_COLUMNS
from features.windows.tiling import microseconds
from historian.errors import ConfigError
from historian.plant.connections import Tag
from historian.plant.facts import ALWAYS
from historian.plant.model import Bearing
from historian.plant.plant import Plant, View, source_points
from historian.times import from_micros
from historian.waveforms.choosing import LONGEST

_NUMBERS: Final = ("timestamp", "value", "quality")
_CUTS: Final[frozenset[Fact]] = frozenset({"tag", "states"})
"""Facts about the meaning of samples: those from before such a fact began to hold are not used."""


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
    since: int | None
    """Earlier samples are not used: another tag filled the point, or its numbers meant other states. Microseconds."""

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
    changed: frozenset[Fact] = frozenset()
    """The facts that change within each of the windows."""


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
    """The speed the plant file gives the asset: used where no tag measures it, else compared with the tag's."""
    window: timedelta
    hop: timedelta
    eras: tuple[Era, ...] = ()
    """What is computed for windows at other times, if facts about the asset have dates; this plan is the newest."""

    @cached_property
    def sample_tags(self) -> tuple[SampleTag, ...]:
        """Every tag whose samples are read, those of all eras."""
        own = (*self.tags, self.speed) if self.speed else self.tags
        earlier = (tag for era in reversed(self.eras) for tag in era.plan.sample_tags)
        return tuple({tag.name: tag for tag in reversed((*own, *earlier))}.values())[::-1]

    @cached_property
    def point_tags(self) -> tuple[SampleTag, ...]:
        """Every tag that fills a point of the view at some time."""
        found = (*self.tags, *(tag for era in self.eras for tag in era.plan.tags))
        return tuple({tag.name: tag for tag in found}.values())

    def during(self, after: int, until: int) -> Iterator[Era]:
        """Yield the parts of a range of window ends, after < end <= until, each with what is computed there."""
        for era in self.eras or (Era(FIRST, LAST, self),):
            if era.after < until and after < era.until:
                yield Era(max(era.after, after), min(era.until, until), era.plan)

    @property
    def is_epoch(self) -> bool:
        """Whether windows end on the grid of the hop, and not where bursts make them."""
        return all(tag.plan.settings.align == "epoch" for tag in self.tags)

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
        tags = tuple(tag for tag in self.tags if tag.name in names)
        if self.speed and self.speed.name not in names:  # a tag measures the speed: the fixed one does not stand in
            return replace(self, tags=tags, speed=None, fixed_rpm=None)
        return replace(self, tags=tags)


class Era(NamedTuple):
    """What is computed for the windows that end in a range: after < end <= until, microseconds since the epoch."""

    after: int
    until: int
    plan: AssetPlan


@dataclass(frozen=True)
class ViewPlan:
    """What a view computes, for every point and asset."""

    plant: Plant = field(repr=False)
    view: View
    points: tuple[PointPlan, ...]
    names: tuple[str, ...]
    """Of its assets: all of the view's class, sorted."""

    @cached_property
    def assets(self) -> tuple[AssetPlan, ...]:
        """The plans of its assets, resolved when they are first needed: thousands take a while."""
        return tuple(_asset_plan(self.plant, self.view, asset, self.points) for asset in self.names)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the view's rows, point by point."""
        return tuple(column for point in self.points for column in point.columns)

    @property
    def uses(self) -> Mapping[str, frozenset[Fact]]:
        """Point -> the facts that its columns depend on."""
        return {each.name: each.uses for each in self.points}


def view_plan(plant: Plant, view: View) -> ViewPlan:
    """Resolve what a view of the plant computes.

    Raises:
        ConfigError: a group cannot be used, or two groups of other packages have a feature of one name.
    """
    points = plant.classes[view.asset_class].points
    plans = tuple(resolve_point(view, name, points[name]) for name in view.points)
    names = Counter(column.name for plan in plans for column in plan.columns)
    if repeated := [name for name, count in names.items() if count > 1]:
        raise ConfigError(f"{view.name}: several groups have the column {', '.join(repeated)}; leave out one of them")
    return ViewPlan(plant, view, plans, plant.assets_of(view.asset_class))


def _asset_plan(plant: Plant, view: View, asset: str, points: tuple[PointPlan, ...]) -> AssetPlan:
    """Return what is computed for an asset now, with its eras if facts about it have dates."""
    if not plant.dates(asset, source_points(view)):
        return _plan_at(plant, view, asset, points, ALWAYS)
    history = history_of(plant, view, {each.name: each.uses for each in points}, asset)
    eras = []
    for span in spans(history, microseconds(view.window)):
        since = {name: begun(history, name, span.since) for name in history[-1].facts}
        instant = ALWAYS if span.since == FIRST else from_micros(span.since)
        plan = _plan_at(plant, view, asset, points, instant, since, span.changed)
        eras.append(Era(span.after, span.until, plan))
    return replace(eras[-1].plan, eras=tuple(eras)) if len(eras) > 1 else eras[-1].plan


def _plan_at(
    plant: Plant,
    view: View,
    asset: str,
    points: tuple[PointPlan, ...],
    instant: datetime,
    since: Mapping[str, int | None] = MappingProxyType({}),
    changed: frozenset[str] = frozenset(),
) -> AssetPlan:
    """Return what is computed for an asset by the facts of an instant.

    Args:
        plant: the plant.
        view: the view.
        asset: name of the asset.
        points: what the view computes for points of its class.
        instant: the instant.
        since: name of a fact -> since when it has had its value; as in `history_of`.
        changed: names of the facts that change within the windows.
    """
    filled = [(plan, plant.tag_at(asset, plan.name, instant)) for plan in points]
    turns = changed & {"speed_tag", "speed_rpm"}
    speed = plant.tag_at(asset, view.speed, instant) if view.speed and not turns else None
    return AssetPlan(
        asset=asset,
        points=view.points,
        tags=tuple(_point_tag(plan, tag, since, changed) for plan, tag in filled if tag),
        speed=_speed_tag(view, speed, since.get("speed_tag")) if speed else None,
        fixed_rpm=None if turns else plant.asset_at(asset, instant).speed_rpm,
        window=view.window,
        hop=view.hop,
    )


def _point_tag(plan: PointPlan, tag: Tag, since: Mapping[str, int | None], changed: frozenset[str]) -> PointTag:
    has_geometry = tag.bearing is not None and not misfits(tag.bearing)
    of_samples = (*_NUMBERS, "text") if plan.kind in ("state", "digital") else _NUMBERS
    columns = of_samples if tag.sample_rate is None else STRETCH_COLUMNS
    own: frozenset[Fact] = frozenset(fact for fact in plan.uses if f"{plan.name}.{fact}" in changed)
    cuts = _CUTS - own | {"tag"}  # where states change within the windows, none of them is used
    speed: frozenset[Fact] = plan.uses & {"speed"} if changed & {"speed_tag", "speed_rpm"} else frozenset()
    return PointTag(
        name=tag.name,
        sample_rate=tag.sample_rate,
        lookback=_lookback(plan.settings, tag),
        columns=columns,
        since=max((begin for fact in cuts if (begin := since.get(f"{plan.name}.{fact}"))), default=None),
        plan=_point_plan(plan, tag),
        bearing=tag.bearing,
        has_geometry=has_geometry,
        changed=own | speed,
    )


def _point_plan(plan: PointPlan, tag: Tag) -> PointPlan:
    """Return what is computed for a point of one asset, whose range, states and zones may differ from its class's."""
    facts = {"range": tag.range, "states": tag.states, "zones": tag.zones}
    if all(getattr(plan.point, name) == value for name, value in facts.items()):
        return plan
    return resolve_point(plan.settings, plan.name, plan.point.model_copy(update=facts))


def _speed_tag(view: View, tag: Tag, since: int | None) -> SpeedTag:
    staleness = microseconds(tag.max_staleness)
    return SpeedTag(tag.name, tag.sample_rate, _lookback(view, tag), _NUMBERS, since, tag.unit, staleness)


def _lookback(view: View, tag: Tag) -> timedelta:
    """A process tag's value may be as old as its max_staleness; a waveform may start one sample early."""
    if tag.sample_rate is None:
        return view.window + tag.max_staleness
    return view.window + timedelta(microseconds=ceil(1e6 / tag.sample_rate))
