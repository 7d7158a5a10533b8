"""Remarks on dated facts for `penstock check`: times at which a fact is unknown, and values that nobody dated. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from historian.plant.facts import ALWAYS, bearing_of
from historian.plant.plant import Plant

Segment = tuple[object, datetime, datetime | None]
"""A value, and from and up to when it holds; `ALWAYS` and None for an open end."""


def fact_notes(plant: Plant) -> list[str]:
    """Return a remark for each gap and each undated value of the facts that have dates, by asset."""
    return [f"{asset}: {text}" for asset in plant.assets for text in _notes(plant, asset)]


def _notes(plant: Plant, asset: str) -> Iterator[str]:
    points = plant.classes[plant.assets[asset].asset_class].points
    dates = (ALWAYS, *plant.dates(asset, points))
    if len(dates) == 1:
        return
    yield from _of_fact("speed_rpm", dates, [plant.asset_at(asset, at).speed_rpm for at in dates])
    waveforms = [name for name, point in points.items() if point.kind == "vibration"]
    bearings = {name: [bearing_of(plant.asset_at(asset, at), name) for at in dates] for name in waveforms}
    for name, values in bearings.items():
        yield from _of_fact(f"bearing of {name}", dates, values)
    for name in points:
        for tag, start, end in _segments(dates, [plant.tag_at(asset, name, at) for at in dates]):
            if tag is None and (start, end) != (ALWAYS, None):
                yield f"no tag fills point {name} {_span(start, end)}"


def _of_fact(name: str, dates: Sequence[datetime], values: Sequence[object]) -> Iterator[str]:
    """Yield what is to be said of a fact that changes; nothing if it never does."""
    segments = _segments(dates, values)
    if len(segments) == 1:
        return
    for value, start, end in segments:
        if value is None:
            yield f"{name} is unknown {_span(start, end)}"
        elif start == ALWAYS:
            yield f"the first {name} has no date: it is assumed at any time before {end:%FT%TZ}"


def _segments(dates: Sequence[datetime], values: Sequence[object]) -> list[Segment]:
    """Return the values of a fact, each with the time for which it holds; `values` are those from each date on."""
    begins = [0, *(place for place in range(1, len(values)) if values[place] != values[place - 1])]
    return [(values[a], dates[a], dates[b] if b else None) for a, b in pairwise([*begins, 0])]


def _span(start: datetime, end: datetime | None) -> str:
    begin = "" if start == ALWAYS else f"from {start:%FT%TZ} "
    return begin + (f"until {end:%FT%TZ}" if end else "on")
