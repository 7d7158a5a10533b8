"""Where the samples of a tag are in InfluxDB: a measurement, Influx tags and a field. Pure.

An address is what line protocol has: `vibration,machine=c101,axis=h rms`, measurement, tags and field; backslashes
escape commas, blanks and equals signs. With a pattern, it is what fills the pattern's braces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

ANY: Final = "*"
"""Value of an Influx tag that may be any: series that differ in it are read as one."""
_FIELD: Final = "value"
_UNESCAPED: Final = {each: re.compile(rf"(?<!\\){each}") for each in (",", " ", "=")}
_BRACES: Final = re.compile(r"\{([^{}]+)\}")


class Place(NamedTuple):
    """Where the samples of a tag are."""

    measurement: str
    tags: tuple[tuple[str, str], ...]
    """Influx tags, sorted by key; a series may have more."""
    field: str

    @property
    def is_possible(self) -> bool:
        """Whether every part has a name."""
        return bool(self.measurement and self.field and all(key for key, _ in self.tags))

    def matches(self, tags: Mapping[str, str]) -> bool:
        """Return whether a series with these Influx tags is meant."""
        return all(value in (ANY, tags.get(key, "")) for key, value in self.tags)

    def identity(self, tags: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """Return the tags by which a series differs from others that must not be read as one with it."""
        free = {key for key, value in self.tags if value == ANY}
        return tuple(sorted((key, value) for key, value in tags.items() if key not in free and value))


def place_of(address: str) -> Place:
    """Parse an address as line protocol has it; the field is `value` if there is none.

    Raises:
        ValueError: a part is empty, or a tag has no value.
    """
    key, *rest = _UNESCAPED[" "].split(address.strip(), maxsplit=1)
    measurement, *pairs = _UNESCAPED[","].split(key)
    tags = [_UNESCAPED["="].split(pair, maxsplit=1) for pair in pairs]
    if any(len(pair) != 2 for pair in tags):
        raise ValueError(f"the address {address!r} has a tag without a value; write measurement,tag=value field")
    field = _plain(rest[0]) if rest else _FIELD
    place = Place(_plain(measurement), tuple(sorted((_plain(name), _plain(value)) for name, value in tags)), field)
    if not place.is_possible:
        raise ValueError(f"the address {address!r} lacks a name; write measurement,tag=value field")
    return place


def place_by(pattern: str, address: str) -> Place:
    """Read an address by a pattern such as `{measurement}.{machine}.{field}`; `field` and `measurement` may be fixed.

    Args:
        pattern: line protocol in which each `{name}` stands for a part of the address: `vibration,machine={1} {2}` has
            its parts by number from 1, in the order of `.` or `/` in the address.
        address: the tag list's address.

    Raises:
        ValueError: the address has fewer or more parts than the pattern.
    """
    parts = re.split(r"[./]", address.strip())
    wanted = {int(name) for name in _BRACES.findall(pattern)}
    if wanted != set(range(1, len(parts) + 1)):
        raise ValueError(
            f"the address {address!r} has {len(parts)} parts between points or slashes; pattern {pattern!r} wants "
            f"{max(wanted, default=0)}"
        )
    return place_of(_BRACES.sub(lambda found: _escaped(parts[int(found[1]) - 1]), pattern))


def checked_pattern(pattern: str) -> str:
    """Return a pattern whose braces hold the numbers from 1 on, without a gap.

    Raises:
        ValueError: they do not, or what is around them is no line protocol.
    """
    names = _BRACES.findall(pattern)
    if not names or {*names} != {str(number) for number in range(1, len({*names}) + 1)}:
        raise ValueError(f"pattern {pattern!r} must number its parts from 1: vibration,machine={{1}} {{2}}")
    place_of(_BRACES.sub("x", pattern))
    return pattern


def _plain(text: str) -> str:
    return re.sub(r"\\([,= ])", r"\1", text)


def _escaped(text: str) -> str:
    return re.sub(r"([,= ])", r"\\\1", text)
