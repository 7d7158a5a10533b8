"""The newest value of each tag with its age, unit and quality, for `penstock values`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from historian.errors import InvalidInput, near_misses
from historian.plant.plant import Plant
from historian.quality import quality_name
from historian.stores.protocols import Reader


@dataclass(frozen=True)
class NewestValue:
    """The newest sample of a tag; every field except `tag` and `unit` is None if the tag has no samples."""

    tag: str
    timestamp: datetime | None
    age_s: float | None
    """Age in seconds; negative for a timestamp in the future."""
    value: float | str | None
    """A number or a text; None for a Bad sample without a value."""
    unit: str
    quality: str | None
    """OPC UA's name of the quality, such as `Good` or `BadTimeout`."""


def newest_values(plant: Plant, store: Reader, patterns: Sequence[str], *, now: datetime) -> list[NewestValue]:
    """Return the newest value of each tag of the plant that matches, sorted by tag.

    Args:
        plant: the plant that has the tags.
        store: the store to read.
        patterns: names of tags, or patterns with `*`, `?` and `[…]`; all tags if empty.
        now: the current time, from which ages are counted.

    Raises:
        InvalidInput: no tag matches a name or pattern; lists all of them.
        StoreError: the store cannot be read.
    """
    names = _matching(plant, patterns)
    found = {row["tag"]: row for row in store.latest(names).iter_rows(named=True)}
    values = []
    for name in names:
        row, unit = found.get(name), plant.tags[name].unit or ""
        if row is None:
            values.append(NewestValue(name, None, None, None, unit, None))
            continue
        value = row["text"] if row["value"] is None else row["value"]
        age = (now - row["timestamp"]).total_seconds()
        values.append(NewestValue(name, row["timestamp"], age, value, unit, quality_name(row["quality"])))
    return values


def _matching(plant: Plant, patterns: Sequence[str]) -> list[str]:
    if not patterns:
        return sorted(plant.tags)
    found: set[str] = set()
    unknown = []
    for pattern in patterns:
        # A tag's name matches that tag even if it contains brackets.
        matching = {pattern} if pattern in plant.tags else {tag for tag in plant.tags if fnmatchcase(tag, pattern)}
        found |= matching
        unknown += [] if matching else [f"no tag is called or matches {pattern!r}{near_misses(pattern, plant.tags)}"]
    if unknown:
        raise InvalidInput("\n".join(unknown))
    return sorted(found)
