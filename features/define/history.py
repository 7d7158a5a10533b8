"""Which facts about an asset the rows of a view depend on, when each held, and which windows lie on both sides of a
change. Pure.

A window uses the facts that held in all of it. Where one of them changes inside a window, the features that use it are
missing, with the reason `changed`; other features are computed. A date that lies on a window's border changes nothing
in the window.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple

from features.define.spec import FeatureGroup, FeatureSpec
from historian.plant.connections import Tag
from historian.plant.facts import ALWAYS
from historian.plant.plant import Plant, View, source_points
from historian.times import format_duration, micros

Fact = Literal["tag", "bearing", "speed", "range", "states", "zones"]
"""Kinds of facts; each kind of a point has at most one value at a time."""

FIRST: Final = -(2**63)
LAST: Final = 2**63 - 1
"""Instants before and after all others, in microseconds since the epoch."""


class Held(NamedTuple):
    """The facts that rows depend on, from an instant on."""

    since: int
    """Microseconds since the epoch; `FIRST` of the first."""
    facts: Mapping[str, Any]
    """Name, such as `de.bearing`, `speed_tag` or `speed_rpm`, -> value, as in JSON."""


class Span(NamedTuple):
    """Windows by their ends, after < end <= until, for which the same facts hold."""

    after: int
    until: int
    since: int
    """When the facts that hold at the windows' ends began to hold."""
    changed: frozenset[str]
    """Names of the facts that change within each of the windows."""


def facts_of(group: str, takes: FeatureGroup, spec: FeatureSpec[Any]) -> frozenset[Fact]:
    """Return the facts, in addition to the tag, that a feature depends on.

    Args:
        group: name of its group.
        takes: the group.
        spec: the feature.
    """
    uses: dict[Fact, bool] = {
        "bearing": "geometry" in spec.reasons,
        "speed": "no_speed" in spec.reasons,
        "states": takes.takes == "states",
        "zones": group == "zone",
    }
    return frozenset(fact for fact, used in uses.items() if used)


def history_of(plant: Plant, view: View, uses: Mapping[str, frozenset[Fact]], asset: str) -> tuple[Held, ...]:
    """Return the facts that an asset's rows depend on, oldest first; each differs from the one before.

    Args:
        plant: the plant.
        view: one of its views.
        uses: point of the view -> the facts that its columns depend on.
        asset: name of the asset.
    """
    history = [Held(FIRST, _facts(plant, view, uses, asset, ALWAYS))]
    for instant in plant.dates(asset, source_points(view)):
        if (facts := _facts(plant, view, uses, asset, instant)) != history[-1].facts:
            history.append(Held(micros(instant), facts))
    return tuple(history)


def spans(history: Sequence[Held], length: int) -> Iterator[Span]:
    """Divide all windows by the facts that hold in them.

    Args:
        history: oldest first.
        length: length of a window in microseconds.
    """
    dates = [each.since for each in history[1:]]
    cuts = sorted({cut for date in dates for cut in (date, date + length - 1)})
    for after, until in pairwise([FIRST, *cuts, LAST]):
        # Both are the same for all ends in (after, until]: the window is [end - length, end).
        first, last = bisect_right(dates, until - length), bisect_right(dates, after)
        held = [each.facts for each in history[first : last + 1]]
        names = frozenset(name for facts in held for name in facts)
        changed = frozenset(name for name in names if any(facts.get(name) != held[-1].get(name) for facts in held))
        yield Span(after, until, history[last].since, changed)


def begun(history: Sequence[Held], name: str, instant: int) -> int | None:
    """Return since when a fact has had the value that it has at an instant; None if always.

    Args:
        history: oldest first.
        name: of the fact.
        instant: microseconds since the epoch.
    """
    since, before = None, history[0].facts.get(name)
    for each in history[1:]:
        if each.since <= instant and each.facts.get(name) != before:
            since, before = each.since, each.facts.get(name)
    return since


def _facts(
    plant: Plant, view: View, uses: Mapping[str, frozenset[Fact]], asset: str, instant: datetime
) -> dict[str, Any]:
    """Return the facts at an instant by name."""
    facts: dict[str, Any] = {}
    for name in view.points:
        tag = plant.tag_at(asset, name, instant)
        facts[f"{name}.tag"] = tag.name if tag else None
        facts |= {f"{name}.{fact}": _value(tag, fact) for fact in sorted(uses[name] - {"tag", "speed"}) if tag}
    if any("speed" in each for each in uses.values()):
        tag = plant.tag_at(asset, view.speed, instant) if view.speed else None
        measured = tag and [tag.name, tag.unit, format_duration(tag.max_staleness)]
        fixed = plant.asset_at(asset, instant).speed_rpm
        facts |= {"speed_tag": measured} if measured else {}
        facts |= {"speed_rpm": fixed} if fixed or not measured else {}
    return facts


def _value(tag: Tag, fact: Fact) -> Any:
    """Return a fact about a tag's point as in JSON."""
    match fact:
        case "bearing":
            return tag.bearing.model_dump(mode="json", exclude_defaults=True) if tag.bearing else None
        case "zones":
            return tag.zones.model_dump(mode="json") if tag.zones else None
        case "range":
            return list(tag.range) if tag.range else None
        case _:
            return dict(tag.states)
