"""What a feature table was made by, as it stands in the table itself, and what a change of it means.

Another window, hop, alignment, unit or rate would make rows that must not stand beside the old ones: refused. Another
version of a feature, or one more, leaves the table usable: rows tell by their created timestamp what made them, and
those of before are stale in these columns until they are computed again. So are all rows of an asset of which other
tags fill the points now, or whose bearing, speed, ranges, states or zones are others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

from features.define.catalogue import view_columns
from historian.plant.plant import Plant, View, source_points
from historian.times import format_duration


@dataclass(frozen=True)
class Made:
    """What the rows of a stretch of created timestamps were made by."""

    since: int
    """Microseconds since the epoch; up to the next one."""
    features: Mapping[str, int]
    """Column -> version."""
    machines: Mapping[str, str]
    """Asset -> a digest of its tags and of what the plant file says of it."""


@dataclass(frozen=True)
class Definition:
    """All that the values of a view's rows depend on, besides samples."""

    window: str
    hop: str
    align: str
    points: Mapping[str, tuple[str, float | str]]
    """Point -> unit, and sample rate or max_staleness."""
    made: tuple[Made, ...]
    """Oldest first; the last is what rows are made by now."""

    def to_json(self) -> str:
        """For the table's description."""
        return json.dumps(asdict(self))

    @property
    def features(self) -> Mapping[str, int]:
        """Column -> version, of rows made now."""
        return self.made[-1].features

    @property
    def fresh_since(self) -> int:
        """Rows created from here on have every column at its present version."""
        since = self.made[-1].since
        for before in reversed(self.made[:-1]):
            if not self.features.items() <= before.features.items():
                return since
            since = before.since
        return since

    @property
    def stale_columns(self) -> list[str]:
        """Columns that older rows lack, or have by another version."""
        current = self.features.items()
        return sorted({name for made in self.made for name, _ in current - made.features.items()})

    @property
    def stale_assets(self) -> list[str]:
        """Assets of which older rows were made from other tags or settings."""
        now = self.made[-1].machines
        return sorted(
            {asset for made in self.made for asset, was in made.machines.items() if now.get(asset, was) != was}
        )

    def machine_since(self, asset: str) -> int:
        """Rows of the asset created from here on were made from its present tags and settings."""
        since = self.made[-1].since
        for before in reversed(self.made[:-1]):
            if before.machines.get(asset) != self.made[-1].machines.get(asset):
                break
            since = before.since
        return since

    def conflict(self, other: Definition) -> str:
        """What differs in the meaning of windows, for people; empty if the rows of both can stand in one table."""
        for key in ("window", "hop", "align"):
            if getattr(self, key) != getattr(other, key):
                return f"{key} was {getattr(self, key)} and is {getattr(other, key)} now"
        for point in self.points.keys() & other.points.keys():
            if self.points[point] != other.points[point]:
                was, now = (" at ".join(map(str, each.points[point])) for each in (self, other))
                return f"{point} was {was} and is {now} now"
        return ""

    def followed_by(self, other: Definition, *, since: int) -> Definition:
        """The history with `other` as what makes rows from `since` on."""
        return replace(other, made=(*self.made, replace(other.made[-1], since=since)))


def definition_of(plant: Plant, view: View) -> Definition:
    """What the plant file says now."""
    points = {name: plant.classes[view.asset_class].points[name] for name in view.points}
    features = {column.name: column.spec.version for column in view_columns(plant, view)}
    return Definition(
        window=format_duration(view.window),
        hop=format_duration(view.hop),
        align=view.align,
        points={
            name: (point.unit, point.sample_rate or format_duration(point.max_staleness))
            for name, point in points.items()
        },
        made=(Made(0, features, {asset: _machine(plant, view, asset) for asset in plant.assets_of(view.asset_class)}),),
    )


def _machine(plant: Plant, view: View, asset: str) -> str:
    """A digest of everything about an asset that its rows depend on."""
    described: list[object] = [view.fixed_rpm.get(asset)]
    for name in source_points(view):
        tag, point = plant.tag_of(asset, name), plant.classes[view.asset_class].points[name]
        described += [name, tag.name if tag else None, repr(tag.bearing) if tag else None]
        described += [point.range, dict(point.states), point.unit, format_duration(point.max_staleness)]
        described += point.zones.limits if point.zones else ()
    return sha256(json.dumps(described, default=str).encode()).hexdigest()[:16]


def from_json(text: str) -> Definition:
    """The inverse of `Definition.to_json`; also reads what tables carried before versions were kept."""
    found: dict[str, Any] = json.loads(text)
    made = found.get("made") or [{"since": 0, "features": found["features"], "machines": {}}]
    return Definition(
        window=found["window"],
        hop=found["hop"],
        align=found["align"],
        points={name: (unit, rate) for name, (unit, rate) in found["points"].items()},
        made=tuple(Made(**each) for each in made),
    )
