"""The naming rule that a user gives: which asset and which point a tag is, from its path or its address. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from historian.errors import InvalidInput

_MACHINE: Final = "machine"


@dataclass(frozen=True)
class Place:
    """Where a tag belongs; names as the plant file takes them."""

    asset: str
    point: str
    asset_class: str
    element: str = ""
    """The tag's name up to where its asset ends, by which elements of the hierarchy are found."""


@dataclass(frozen=True)
class NamingRule:
    """A regular expression with the groups `asset` and `point`, and perhaps `class`."""

    pattern: re.Pattern[str]

    def place_of(self, *names: str | None) -> Place | None:
        """Return where a tag belongs, by the first of its names that the rule matches; None if it matches none."""
        for name in names:
            match = self.pattern.search(name) if name else None
            if name and match and match["asset"] and match["point"]:
                given = match.groupdict()
                asset_class = plain(given.get("class") or _MACHINE)
                return Place(plain(match["asset"]), plain(match["point"]), asset_class, name[: match.end("asset")])
        return None


def parse_rule(text: str) -> NamingRule:
    """Parse a naming rule.

    Raises:
        InvalidInput: it is no regular expression, or lacks the groups `asset` and `point`.
    """
    example = "for example '(?P<asset>[^/]+)/(?P<point>[^/]+)$'"
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise InvalidInput(f"the rule {text!r} is no regular expression: {error}; write one, {example}") from None
    if missing := {"asset", "point"} - pattern.groupindex.keys():
        raise InvalidInput(f"the rule {text!r} has no group {' and no group '.join(sorted(missing))}; {example}")
    return NamingRule(pattern)


def plain(name: str) -> str:
    """Return a name as the plant file takes it: small letters, digits and underscores, a letter first."""
    text = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return (text if text[:1].isalpha() else f"n{text}")[:64]
