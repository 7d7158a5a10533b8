"""Facts about assets where somebody wrote them, in the plant file or in its event table, and their checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from historian.errors import InvalidInput, Problem, near_misses
from historian.plant.document import Document, readable_message
from historian.plant.model import Asset, AssetClass, Bearing, Change, Facts, Point, PointFacts
from historian.plant.tag_list import read_rows

_COLUMN: Final = re.compile(r"(bearing|bearings|speed_rpm|unknown|points)(\..*)?")
"""A column of an event table that holds a fact."""
_INSTANT: Final = "happened_at"


@dataclass(frozen=True)
class Statement:
    """Facts about an asset, and where they are written."""

    asset: str
    facts: Facts
    problem: Callable[..., Problem]
    """Make a problem of a text and of the keys, under those of the facts, that it is about."""

    @property
    def keys(self) -> set[str]:
        """Names of the facts, such as `bearing`, `bearings.de` and `points.de.range`."""
        given: set[str] = self.facts.model_fields_set & {"bearing", "speed_rpm"}
        given |= {f"points.{name}.{key}" for name, each in self.facts.points.items() for key in each.model_fields_set}
        unknown = self.facts.unknown if isinstance(self.facts, Change) else ()
        return {*given, *unknown, *(f"bearings.{point}" for point in self.facts.bearings)}


def plant_statements(assets: Mapping[str, Asset], document: Document) -> Iterator[Statement]:
    """Yield the statements of a plant file: for each asset what it says itself, then its changes."""

    def placed(*prefix: str) -> Callable[..., Problem]:
        return lambda text, *keys: document.problem(text, *prefix, *keys)

    for name, asset in assets.items():
        yield Statement(name, asset, placed("assets", name))
        for number, change in enumerate(asset.changes):
            yield Statement(name, change, placed("assets", name, "changes", str(number)))


def read_replacements(path: Path, name: str, assets: Iterable[str]) -> tuple[list[Statement], list[Problem]]:
    """Read the changes in an event table: a row with facts is a change, any other row is some other event.

    Its columns are `asset`, `happened_at` and facts: `bearing.balls`, `bearings.de_h.balls`, `speed_rpm`, `unknown`.

    Args:
        path: the CSV file.
        name: its name in the plant file, for messages.
        assets: names of the assets.

    Returns:
        The changes, and the problems of the others.

    Raises:
        InvalidInput: the file cannot be read, or lacks a column.
    """
    rows, known = read_rows(path, name, kind="event table", rows="events"), list(assets)
    columns = {str(column) for column in rows[0][1]}
    if absent := [column for column in ("asset", _INSTANT) if column not in columns]:
        raise InvalidInput(f"the event table {name} has no column {' and '.join(absent)}")
    if fixed := sorted(column for column in columns if column.startswith("points.")):
        raise InvalidInput(
            f"the event table {name} has the column {fixed[0]}: it may have bearings and speeds; write ranges, states "
            f"and zones as [[assets.NAME.changes]]"
        )
    found: list[Statement] = []
    problems: list[Problem] = []
    for place, cells in rows:
        try:
            found += _statement(cells, known, name, place)
        except InvalidInput as error:
            problems += [Problem(name, place, problem.text) for problem in error.problems]
    return found, problems


def _statement(cells: Mapping[str | None, object], assets: Sequence[str], file: str, place: str) -> list[Statement]:
    """Return the change in a row, if it has facts."""
    given = {str(key): cell.strip() for key, cell in cells.items() if isinstance(cell, str) and cell.strip()}
    facts = {key: cell for key, cell in given.items() if _COLUMN.fullmatch(key)}
    if not facts:
        return []
    asset = given.get("asset", "")
    if asset not in assets:
        raise InvalidInput(f"unknown asset {asset!r}{near_misses(asset, assets)}")
    if _INSTANT not in given:
        raise InvalidInput(f"{_INSTANT} is empty, so nobody knows from when on {', '.join(sorted(facts))} holds")
    nested: dict[str, Any] = {"since": given[_INSTANT]}
    for key, cell in facts.items():
        _put(nested, key.split("."), cell.split() if key == "unknown" else cell)
    return [Statement(asset, _change(nested), lambda text, *_: Problem(file, place, text))]


def _put(nested: dict[str, Any], keys: Sequence[str], value: object) -> None:
    for key in keys[:-1]:
        nested = nested.setdefault(key, {})
    nested[keys[-1]] = value


def _change(values: Mapping[str, Any]) -> Change:
    try:
        return Change.model_validate(values)
    except ValidationError as error:
        details = [(".".join(map(str, each["loc"])), each) for each in error.errors()]
        texts = [
            f"{_INSTANT if place == 'since' else place}: {readable_message(each['msg'], each['input'])}".removeprefix(
                ": "
            )
            for place, each in details
        ]
        raise InvalidInput([Problem("", "", text) for text in texts]) from None


def fact_problems(
    statements: Sequence[Statement], classes: Mapping[str, AssetClass], assets: Mapping[str, Asset]
) -> Iterator[Problem]:
    """Yield every problem of statements: facts that cannot be, and two for the same time.

    Args:
        statements: of all assets.
        classes: the asset classes, by name.
        assets: the assets, by name.
    """
    seen: dict[tuple[str, object, str], Statement] = {}
    for each in statements:
        asset_class = classes.get(assets[each.asset].asset_class)
        yield from _impossible(each, asset_class.points if asset_class else {})
        since = each.facts.since if isinstance(each.facts, Change) else None
        for key in sorted(each.keys):
            if (each.asset, since, key) in seen:
                yield each.problem(f"asset {each.asset}: {key} has two values since {since:%FT%TZ}; delete one of them")
            seen[each.asset, since, key] = each


def _impossible(statement: Statement, points: Mapping[str, Point]) -> Iterator[Problem]:
    facts, asset = statement.facts, f"asset {statement.asset}"
    waveforms = [name for name in points if points[name].kind == "vibration"]
    lost = facts.unknown if isinstance(facts, Change) else ()
    named = {*facts.bearings, *(name.removeprefix("bearings.") for name in lost if "." in name)}
    for point in sorted(named - set(waveforms)):
        text = f"{asset}: bearings has no vibration point {point!r}{near_misses(point, waveforms)}"
        yield statement.problem(text, "bearings")
    places: dict[str, Bearing | None] = {"bearing": facts.bearing}
    places |= {f"bearings.{point}": bearing for point, bearing in facts.bearings.items()}
    for place, bearing in places.items():
        if bearing and bearing.ball_diameter >= bearing.pitch_diameter:
            prefix = "" if place == "bearing" else f"{place}: "
            text = f"{asset}: {prefix}ball_diameter must be smaller than pitch_diameter"
            yield statement.problem(text, *place.split("."))
    for name, given in facts.points.items():
        if text := _misfit(name, given, points):
            yield statement.problem(f"{asset}: points.{name}: {text}", "points", name)


def _misfit(name: str, given: PointFacts, points: Mapping[str, Point]) -> str:
    """Return why facts about a point do not fit its class, empty if they do."""
    if name not in points:
        return f"the class has no such point{near_misses(name, points)}"
    point = points[name]
    if given.zones and not point.zones:
        return "zones replace those of the class's point, which has none"
    if given.states is not None and set(given.states) != set(point.states):
        return f"states must have the names that the class lists: {', '.join(point.states) or 'none'}"
    try:
        Point.model_validate({**point.model_dump(), **given.model_dump(exclude_none=True)})
    except ValidationError as error:
        return readable_message(error.errors()[0]["msg"], "")
    return ""
