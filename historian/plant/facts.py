"""Facts about an asset over time: which bearing, speed, range, states and zones held when. Pure.

What the plant file says of an asset holds until its first change; each change replaces the facts that it gives. A fact
holds from its `since` (inclusive) up to the next (exclusive).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypedDict

from historian.plant.model import Asset, Bearing, Change, Point, PointFacts, Zones

ALWAYS: Final = datetime.min.replace(tzinfo=UTC)
"""The instant before all dates: facts without `since` hold from it on."""


class Era(NamedTuple):
    """An asset as it is from an instant on, until the next era begins."""

    since: datetime
    """`ALWAYS` of the first."""
    asset: Asset
    """With the facts that hold then, and without changes."""


def eras_of(asset: Asset) -> tuple[Era, ...]:
    """Return an asset's eras, oldest first: one without changes, else one more for each instant of a change."""
    eras = [Era(ALWAYS, asset.model_copy(update={"changes": ()}) if asset.changes else asset)]
    for change in sorted(asset.changes, key=lambda each: each.since):
        after = Era(change.since, _changed(eras[-1].asset, change))
        eras = [*(each for each in eras if each.since != change.since), after]
    return tuple(eras)


def era_at(eras: Sequence[Era], instant: datetime) -> Era:
    """Return the era that an instant belongs to; `eras` is oldest first."""
    return eras[bisect_right([each.since for each in eras], instant) - 1]


def point_of(point: Point, name: str, asset: Asset) -> Point:
    """Return a point of an asset's class with the facts that the asset has instead.

    Args:
        point: the point, as its class describes it.
        name: its name.
        asset: the asset, as it is at some instant.
    """
    given = asset.points.get(name)
    if given is None:
        return point
    update = {key: value for key in PointFacts.model_fields if (value := getattr(given, key)) is not None}
    return point.model_copy(update=update) if update else point


def bearing_of(asset: Asset, point: str) -> Bearing | None:
    """Return the bearing under a vibration point, None if it is unknown."""
    return asset.bearings.get(point, asset.bearing)


def ranges_of(point: Point, name: str, asset: Asset) -> tuple[tuple[datetime, tuple[float, float] | None], ...]:
    """Return `Tag.ranges` of a point.

    Args:
        point: the point, as its class describes it.
        name: its name.
        asset: the asset, with its changes.
    """
    if not asset.changes:
        return ()
    held = [(era.since, point_of(point, name, era.asset).range) for era in eras_of(asset)]
    changes = [later for earlier, later in pairwise(held) if earlier[1] != later[1]]
    return (held[0], *changes) if changes else ()


def speeds_of(asset: Asset) -> tuple[tuple[datetime, float | None], ...]:
    """Return `Tag.fixed_rpm` of an asset's speed tag: its fixed speeds, oldest first; empty if it never has one."""
    held = tuple((era.since, era.asset.speed_rpm) for era in eras_of(asset))
    return held if any(rpm for _, rpm in held) else ()


class TagFacts(TypedDict):
    """The facts about a tag's point that an asset may have instead of its class: fields of `Tag`."""

    range: tuple[float, float] | None
    states: Mapping[str, float | str]
    zones: Zones | None
    bearing: Bearing | None


def facts_at(point: Point, name: str, asset: Asset) -> TagFacts:
    """Return the facts about a point of an asset.

    Args:
        point: the point, as its class describes it.
        name: its name.
        asset: the asset, as it is at some instant.
    """
    held = point_of(point, name, asset)
    bearing = bearing_of(asset, name) if point.kind == "vibration" else None
    return {"range": held.range, "states": held.states, "zones": held.zones, "bearing": bearing}


def _changed(asset: Asset, change: Change) -> Asset:
    """Return the asset after a change."""
    lost = {name.removeprefix("bearings.") for name in change.unknown if name.startswith("bearings.")}
    bearings: dict[str, Bearing | None] = {**asset.bearings, **change.bearings}
    update: dict[str, Any] = {
        # Unknown is not the same as absent: the asset's other bearing is not under that point.
        "bearings": bearings | dict.fromkeys(lost),
        "points": {**asset.points, **_merged(asset.points, change.points)},
        **{key: getattr(change, key) for key in ("bearing", "speed_rpm") if key in change.model_fields_set},
        **{key: None for key in ("bearing", "speed_rpm") if key in change.unknown},
    }
    return asset.model_copy(update=update)


def _merged(before: Mapping[str, PointFacts], after: Mapping[str, PointFacts]) -> dict[str, PointFacts]:
    """Return the facts of the points that change; those that a change does not give stay."""
    empty = PointFacts()
    return {
        name: before.get(name, empty).model_copy(update={key: getattr(given, key) for key in given.model_fields_set})
        for name, given in after.items()
    }
