"""What is covered once an outage has been filled from the history of the other side. Pure.

A history may lag behind, and it ends at its newest value. What came after that is known only if the value that the new
session began with is no newer: then nothing has changed in between.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from historian.intervals import INTERVALS

TRUSTED_LAG: Final = timedelta(seconds=5)
"""Longest time by which a device's clock may be behind for our time of connecting to mean something on it."""
NEWEST: Final = pl.Schema({"tag": pl.String(), "newest": INTERVALS["start"]})
FIRST: Final = pl.Schema({"tag": pl.String(), "first": INTERVALS["start"]})


def filled(
    tags: Collection[str],
    *,
    start: datetime,
    began: datetime,
    newest: pl.DataFrame,
    first: pl.DataFrame,
    clocks: pl.DataFrame,
) -> pl.DataFrame:
    """Return the intervals that are covered: columns of `INTERVALS`.

    Args:
        tags: the tags whose history was read completely.
        start: from when on it was read.
        began: when the session after the outage began.
        newest: time of the newest value in the history, of tags that have one; columns of `NEWEST`.
        first: time of the first value that the session has reported; columns of `FIRST`.
        clocks: lag of each device's clock; columns of `continuity.CLOCKS`.
    """
    frame = pl.DataFrame({"tag": sorted(tags)}, schema={"tag": pl.String()}).join(newest, on="tag", how="left")
    frame = frame.join(first, on="tag", how="left").join(clocks.select("tag", "lag"), on="tag", how="left")
    begin, session = pl.lit(start, INTERVALS["start"]), pl.lit(began, INTERVALS["end"])
    unchanged = (pl.col("first") <= pl.coalesce("newest", begin)) & (pl.col("lag") <= TRUSTED_LAG)
    seen = pl.col("newest") + pl.duration(microseconds=1)
    end = pl.max_horizontal(seen, pl.when(unchanged).then(session))
    return frame.select("tag", start=begin, end=end).filter(pl.col("start") < pl.col("end"))
