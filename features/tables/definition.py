"""The definition that a feature table's rows were computed by, as stored in the table, and what a change of it means.

Rows with another window, hop, alignment, unit or rate must not be in one table with the old ones: such a change is
refused. Another version of a feature, or a new feature, leaves the table usable: each row's created timestamp shows the
versions it was computed by, and older rows are stale in these columns until they are recomputed. All rows of an asset
are stale if other tags fill its points now, or if its bearing, speed, ranges, states or zones have changed.

The form in which a definition is stored has a version; see `features.tables.definition_format`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256

from features.define.view_plan import ViewPlan
from features.tables.definition_format import read, written
from historian.plant.plant import Plant, View, source_points
from historian.times import format_duration


@dataclass(frozen=True)
class Provenance:
    """By what rows were computed, from one created timestamp up to that of the next provenance."""

    since: int
    """The first created timestamp, in microseconds since the epoch."""
    features: Mapping[str, int]
    """Column -> version."""
    assets: Mapping[str, str]
    """Asset -> a digest of its tags and of what the plant file says of it."""


@dataclass(frozen=True)
class Definition:
    """Everything except samples that the values of a view's rows depend on."""

    window: str
    hop: str
    align: str
    points: Mapping[str, tuple[str, float | str]]
    """Point -> unit, and sample rate or max_staleness."""
    provenance: tuple[Provenance, ...]
    """Oldest first; by the last one rows are computed now."""

    def to_json(self) -> str:
        """Return the form that is stored as the table's description."""
        return written(asdict(self))

    @property
    def features(self) -> Mapping[str, int]:
        """Column -> version, of rows computed now."""
        return self.provenance[-1].features

    @property
    def fresh_since(self) -> int:
        """The first created timestamp from which rows have every column at its present version."""
        since = self.provenance[-1].since
        for before in reversed(self.provenance[:-1]):
            if not self.features.items() <= before.features.items():
                return since
            since = before.since
        return since

    @property
    def stale_columns(self) -> list[str]:
        """Columns that older rows lack, or have by another version, sorted."""
        current = self.features.items()
        return sorted({name for each in self.provenance for name, _ in current - each.features.items()})

    @property
    def stale_assets(self) -> list[str]:
        """Assets with older rows that were computed from other tags or settings, sorted."""
        now = self.provenance[-1].assets
        return sorted(
            {asset for each in self.provenance for asset, was in each.assets.items() if now.get(asset, was) != was}
        )

    def settings_since(self, asset: str) -> int:
        """Return the first created timestamp from which an asset's rows are by its present tags and settings."""
        since = self.provenance[-1].since
        for before in reversed(self.provenance[:-1]):
            if before.assets.get(asset) != self.provenance[-1].assets.get(asset):
                break
            since = before.since
        return since

    def conflict(self, other: Definition) -> str:
        """Return in words what differs in the meaning of windows; empty if rows of both can stand in one table."""
        for key in ("window", "hop", "align"):
            if getattr(self, key) != getattr(other, key):
                return f"{key} was {getattr(self, key)} and is {getattr(other, key)} now"
        for point in self.points.keys() & other.points.keys():
            if self.points[point] != other.points[point]:
                was, now = (" at ".join(map(str, each.points[point])) for each in (self, other))
                return f"{point} was {was} and is {now} now"
        return ""

    def followed_by(self, other: Definition, *, since: int) -> Definition:
        """Return this definition, followed by that of `other` for rows created from `since` on."""
        return replace(other, provenance=(*self.provenance, replace(other.provenance[-1], since=since)))


def definition_of(plant: Plant, plan: ViewPlan) -> Definition:
    """Return the definition by which rows of a view are computed now.

    Args:
        plant: the plant.
        plan: what the view computes.
    """
    view = plan.view
    features = {column.name: column.spec.version for column in plan.columns}
    assets = {each.asset: _digest(plant, view, each.asset) for each in plan.assets}
    return Definition(
        window=format_duration(view.window),
        hop=format_duration(view.hop),
        align=view.align,
        points={
            each.name: (each.point.unit, each.point.sample_rate or format_duration(each.point.max_staleness))
            for each in plan.points
        },
        provenance=(Provenance(0, features, assets),),
    )


def _digest(plant: Plant, view: View, asset: str) -> str:
    """Return a digest of everything about an asset that its rows depend on."""
    described: list[object] = [view.fixed_rpm.get(asset)]
    for name in source_points(view):
        tag, point = plant.tag_of(asset, name), plant.classes[view.asset_class].points[name]
        described += [name, tag.name if tag else None, repr(tag.bearing) if tag else None]
        described += [point.range, dict(point.states), point.unit, format_duration(point.max_staleness)]
        described += (*point.zones.limits, point.zones.source, point.zones.machine) if point.zones else ()
    return sha256(json.dumps(described, default=str).encode()).hexdigest()[:16]


def from_json(text: str) -> Definition:
    """Return the definition of a stored form, of this version or of an older one.

    Raises:
        FeatureError: the form is of a newer version than this program knows, or is no definition.
    """
    found = read(text)
    return Definition(
        window=found["window"],
        hop=found["hop"],
        align=found["align"],
        points={name: (unit, rate) for name, (unit, rate) in found["points"].items()},
        provenance=tuple(Provenance(**each) for each in found["provenance"]),
    )
