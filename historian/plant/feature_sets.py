"""Checks of feature sets against their class and its assets, and their resolution to views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from historian.errors import ConfigError, near_misses
from historian.plant.feature_groups import GroupNeeds, groups_of, needs_of, point_kind
from historian.plant.model import BANDS, Asset, AssetClass, Facts, FeatureSet, Point
from historian.plant.plant import View
from historian.stated import RPM_PER
from historian.times import format_duration


def view_of(
    name: str,
    class_name: str,
    points: Mapping[str, Point],
    features: FeatureSet,
) -> View:
    """Return the view of a feature set that has no problems.

    Args:
        name: name of the view.
        class_name: name of the asset class.
        points: the points of the class, by name.
        features: the feature set.
    """
    return View(
        name=name,
        asset_class=class_name,
        points=features.points,
        kind="vibration" if points[features.points[0]].kind == "vibration" else "process",
        window=features.window,
        hop=features.hop or features.window,
        align=features.align,
        ttl=features.ttl,
        features=features.features,
        bands=features.bands,
        speed=features.speed,
    )


def complaints(asset_class: AssetClass, features: FeatureSet, assets: Mapping[str, Asset]) -> list[str]:
    """Return every problem of a feature set.

    Args:
        asset_class: its class.
        features: the feature set.
        assets: the assets of the class, by name.
    """
    unknown = [name for name in features.points if name not in asset_class.points]
    if unknown:
        return [f"unknown point {name!r}{near_misses(name, asset_class.points)}" for name in unknown]
    points = {name: asset_class.points[name] for name in features.points}
    found = [*_mixed(points, features), *(text for each in points.items() for text in _length(*each, features))]
    try:
        needs = {group: needs_of(group) for group in features.features}
        groups = set(chain.from_iterable(groups_of(features.features, point) for point in points.values()))
    except ValueError as error:
        return [*found, str(error)]
    except ConfigError as error:
        return [*found, *(problem.text for problem in error.problems)]
    found += [*_unfit(points, features, needs), *_speed(asset_class, features)]
    if turning := [group for group in sorted(groups) if needs_of(group).speed and not features.speed]:
        found += _without_speed(turning, assets)
    if rolling := [group for group in sorted(groups) if needs_of(group).bearing]:
        found += _without_bearing(rolling, points, assets)
    if features.bands != BANDS and "spectrum" not in groups:
        found.append("bands belong to the group spectrum, which is not among its features")
    return found


def _mixed(points: Mapping[str, Point], features: FeatureSet) -> Iterator[str]:
    kinds = {point.kind == "vibration" for point in points.values()}
    if len(kinds) > 1:
        yield "mixes vibration with process points; give each kind a feature set of its own"
    elif features.align == "burst" and kinds == {False}:
        yield 'align = "burst" is for vibration points'


def _length(name: str, point: Point, features: FeatureSet) -> Iterator[str]:
    samples = features.window.total_seconds() * (point.sample_rate or 0)
    if point.sample_rate is not None and (abs(samples - round(samples)) > 1e-6 or round(samples) < 16):
        yield (
            f"window {format_duration(features.window)} holds {samples:g} samples of {name} at "
            f"{point.sample_rate:g} Hz; it must hold a whole number of them, at least 16"
        )


def _unfit(points: Mapping[str, Point], features: FeatureSet, needs: Mapping[str, GroupNeeds]) -> Iterator[str]:
    kinds = {name: point_kind(point) for name, point in points.items()}
    for group, need in needs.items():
        if need.kinds.isdisjoint(kinds.values()):
            yield f"the group {group} is for {', '.join(sorted(need.kinds))} points; none of its points is one"
    for name, kind in kinds.items():
        if needs and not any(kind in need.kinds for need in needs.values()):
            yield f"none of the groups {', '.join(features.features)} is for {name}, a {kind} point"


def _speed(asset_class: AssetClass, features: FeatureSet) -> Iterator[str]:
    if features.speed is None:
        return
    speed = asset_class.points.get(features.speed)
    if speed is None or speed.kind != "speed":
        known = [name for name, point in asset_class.points.items() if point.kind == "speed"]
        yield f"speed {features.speed!r} is no point of kind speed{near_misses(features.speed, known)}"
    elif speed.unit not in RPM_PER:
        yield f"speed {features.speed!r} is in {speed.unit or 'no unit'}; give the point the unit rpm or Hz"
    if all(asset_class.points[name].kind != "vibration" for name in features.points):
        yield "speed is for vibration points"


def _without_speed(groups: Sequence[str], assets: Mapping[str, Asset]) -> Iterator[str]:
    without = sorted(name for name, asset in assets.items() if not any(each.speed_rpm for each in _ever(asset)))
    if without or not assets:
        or_give = f", or give {', '.join(without)} a speed_rpm" if without else ""
        names = " and ".join(groups)
        yield f"{names} cannot be computed without speed: name a point of that kind with speed = ...{or_give}"


def _without_bearing(groups: Sequence[str], points: Iterable[str], assets: Mapping[str, Asset]) -> Iterator[str]:
    for name, asset in assets.items():
        ever = _ever(asset)
        missing = [point for point in points if not any(each.bearing or point in each.bearings for each in ever)]
        if missing:
            what = f"{' and '.join(groups)} cannot be computed without a bearing for {', '.join(missing)}"
            yield f"{what}: give asset {name} a bearing, or bearings"


def _ever(asset: Asset) -> tuple[Facts, ...]:
    """Return all that is known of an asset at any time: a fact may be unknown at first and known from a change on."""
    return (asset, *asset.changes)
