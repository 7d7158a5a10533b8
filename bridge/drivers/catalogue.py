"""What a historian knows about its tags besides their samples: the columns of catalogues and of events.

A driver's `browse` returns a catalogue, its `events` the events; each with the columns that the other side can fill.
`penstock import-tags` makes tag lists, assets, an events table and dated renames of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl

from historian.errors import SourceError

_INSTANT: Final = pl.Datetime("us", "UTC")

VARIABLES: Final = pl.Schema(
    {
        "address": pl.String(),  # as the tag list takes it
        "path": pl.String(),  # names on the way to it, joined by /
        "type": pl.String(),  # of the value, in the other side's words
        "unit": pl.String(),
        "low": pl.Float64(),  # range of the value
        "high": pl.Float64(),
        "description": pl.String(),
        "states": pl.String(),  # digital states as `states_text` writes them
        "replaces": pl.String(),  # address under which the signal was recorded before `since`
        "since": _INSTANT,
    }
)
"""Columns of a catalogue, a tag a row. All but `address` may be null or absent."""

EVENTS: Final = pl.Schema(
    {
        "address": pl.String(),  # of the tag it belongs to; null if it belongs to an element of the hierarchy
        "path": pl.String(),  # of the tag or the element
        "kind": pl.String(),  # name of the event frame's template, "alarm", "annotation", ...
        "start": _INSTANT,
        "end": _INSTANT,  # null if it is an instant, or not over
        "known_at": _INSTANT,  # when it was entered, where the other side records that
        "text": pl.String(),
    }
)
"""Columns of events: event frames, alarms and annotations, one a row. `kind` and `start` are never null."""


def completed(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Return a catalogue or events with exactly the columns of a schema; absent ones are null, others are dropped.

    Args:
        frame: columns that a driver could fill.
        schema: `VARIABLES` or `EVENTS`.
    """
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in frame.columns]
    return frame.with_columns(absent).select(schema.names()).cast(schema)


def states_text(states: Mapping[str, float | str]) -> str:
    """Return the states of a digital tag as a cell of a catalogue: `{"OFF": 0, "ON": 1}`.

    Args:
        states: name of a state -> its number or text.
    """
    return json.dumps(dict(states), ensure_ascii=False)


def states_of(text: str | None) -> dict[str, float | str]:
    """Return the states in a cell of a catalogue, the inverse of `states_text`; empty if it is empty.

    Raises:
        SourceError: the cell is not a JSON object of numbers and texts.
    """
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not _are_plain(found.values()):
        raise SourceError(f'states {text!r} are not an object of numbers and texts; write {{"OFF": 0, "ON": 1}}')
    return found


def _are_plain(values: Iterable[object]) -> bool:
    return all(isinstance(each, str | int | float) and not isinstance(each, bool) for each in values)
