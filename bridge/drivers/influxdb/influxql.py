"""InfluxQL for reading databases of any form. Pure.

InfluxQL binds values to no names, so every name and value is escaped here, and nothing else becomes part of a query.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from bridge.drivers.influxdb.places import ANY, Place

_PLACES: Final = 100
"""Number of series to ask for at a time: a request is one line of HTTP."""
NUMERIC: Final = frozenset({"float", "integer", "unsigned"})
_KINDS: Final[Mapping[Kind, frozenset[str]]] = {
    "float": NUMERIC,
    "string": frozenset({"string"}),
    "boolean": frozenset({"boolean"}),
}
"""Type that is selected -> the types of fields that InfluxDB returns as this one."""


Kind = Literal["float", "string", "boolean"]


class Selection(NamedTuple):
    """What one request reads: fields of some series of a measurement."""

    measurement: str
    fields: tuple[str, ...]
    kind: Kind
    """Type that is read of the fields; points of another type are left out."""
    places: Mapping[str, Place]
    """Tag -> where its samples are."""


def name(text: str) -> str:
    """Return a name as InfluxQL takes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def literal(text: str) -> str:
    """Return a string as InfluxQL takes it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def source(measurement: str, policy: str) -> str:
    """Return a measurement as FROM takes it, of another retention policy than the default one if that is named."""
    return f"{name(policy)}.{name(measurement)}" if policy else name(measurement)


def among(places: Iterable[Place]) -> str:
    """Return a condition on the Influx tags; empty if every series is wanted."""
    wanted = []
    for tags in dict.fromkeys(place.tags for place in places):
        pairs = [f"{name(key)} = {literal(value)}" for key, value in tags if value != ANY]
        if not pairs:
            return ""
        wanted.append(f"({' AND '.join(pairs)})")
    return f"({' OR '.join(wanted)})"


def select(selection: Selection, quality: str | None, policy: str, start_us: int, end_us: int) -> str:
    """Return the query of a selection's points, start <= time < end, a series a group.

    A field that had another type in earlier shards is read as each of its types by a selection of its own.

    Args:
        selection: what to read.
        quality: the field of qualities, if there is one.
        policy: retention policy; empty for the default one.
        start_us: microseconds.
        end_us: microseconds.
    """
    columns = [f"{name(field)}::{selection.kind} AS {name(field)}" for field in selection.fields]
    columns += [f"{name(quality)} AS {name(quality)}"] if quality and quality not in selection.fields else []
    condition = among(selection.places.values())
    where = f"time >= {start_us}000 AND time < {end_us}000" + (f" AND {condition}" if condition else "")
    return f"SELECT {', '.join(columns)} FROM {source(selection.measurement, policy)} WHERE {where} GROUP BY *"


def selections(places: Mapping[str, Place], types: Mapping[str, Mapping[str, frozenset[str]]]) -> list[Selection]:
    """Divide tags into requests: by measurement and by type.

    Args:
        places: tag -> where its samples are.
        types: measurement -> field -> the types that it has or had.
    """
    found = []
    for measurement in dict.fromkeys(place.measurement for place in places.values()):
        own = [(tag, place) for tag, place in places.items() if place.measurement == measurement]
        for kind, kinds in _KINDS.items():
            held = [each for each in own if kinds & types.get(measurement, {}).get(each[1].field, frozenset())]
            for first in range(0, len(held), _PLACES):
                part = dict(held[first : first + _PLACES])
                fields = tuple(dict.fromkeys(place.field for place in part.values()))
                found.append(Selection(measurement, fields, kind, part))
    return found


def by_field(places: Mapping[str, Place]) -> dict[tuple[str, str], Sequence[Place]]:
    """Return (measurement, field) -> the places there."""
    found: dict[tuple[str, str], list[Place]] = {}
    for place in places.values():
        found.setdefault((place.measurement, place.field), []).append(place)
    return {key: tuple(each) for key, each in found.items()}
