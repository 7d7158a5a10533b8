"""Time zones: what they call their times, and columns of local times in several of them. Pure and columnar."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

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


def in_zones(naive: pl.Series, zones: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return local times of several zones as instants, and why some are not: a loop over the zones, not the rows."""
    frame = pl.DataFrame({"naive": naive, "zone": zones}).with_columns(
        instant=pl.lit(None, pl.Datetime("us", "UTC")), fault=pl.lit(None, pl.String)
    )
    for zone in frame["zone"].unique().to_list():
        here = pl.col("zone").eq_missing(pl.lit(zone, pl.String))
        if zone is None or not is_zone(zone):
            wrong = pl.lit("the time zone of the row is unknown; see timezone_column")
            frame = frame.with_columns(fault=pl.when(here).then(wrong).otherwise("fault"))
            continue
        local = pl.col("naive").dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
        instant = local.dt.convert_time_zone("UTC")
        unclear = pl.lit(f"the local time occurs twice in {zone} or not at all: the clock changes")
        missing = here & instant.is_null() & pl.col("naive").is_not_null()
        frame = frame.with_columns(
            instant=pl.when(here).then(instant).otherwise("instant"),
            fault=pl.when(missing).then(unclear).otherwise("fault"),
        )
    return frame["instant"], frame["fault"]


def is_zone(name: str) -> bool:
    """Return whether a time zone of this name is known."""
    try:
        return bool(ZoneInfo(name).key)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
