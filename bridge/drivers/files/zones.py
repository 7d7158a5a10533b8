"""Time zones: which there are, and what they call their times."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

FIRST_YEAR: Final = 1980
"""Times before this year are those of clocks that were never set."""


@cache
def abbreviations(zone: str | None) -> dict[str, int]:
    """Return what a zone calls its times -> offset from UTC in microseconds; UTC and its names always.

    An abbreviation that has meant two offsets since 1980 is left out.
    """
    found: dict[str, set[int]] = {name: {0} for name in ("UTC", "GMT", "Z")}
    start = datetime(FIRST_YEAR, 1, 1, tzinfo=ZoneInfo("UTC"))
    for day in range(0, 366 * 60, 7) if zone else []:
        local = (start + timedelta(days=day)).astimezone(ZoneInfo(zone or "UTC"))
        offset = (local.utcoffset() or timedelta(0)) // timedelta(microseconds=1)
        found.setdefault((local.tzname() or "").upper(), set()).add(offset)
    return {name: next(iter(offsets)) for name, offsets in found.items() if len(offsets) == 1 and name.isalpha()}


def is_zone(name: str) -> bool:
    """Return whether a time zone of this name is known."""
    try:
        return bool(ZoneInfo(name).key)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
