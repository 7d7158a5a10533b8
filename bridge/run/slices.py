"""Divides what a backfill still has to read into slices. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from historian.intervals import gaps

SLICES: Final = 64
"""Largest number of slices of a backfill; a slice is a step of progress, and what an interruption can cost."""
SHORTEST_SLICE: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Slice:
    """A half-open range of time, and the tags that may be incomplete in it."""

    start: datetime
    end: datetime
    tags: tuple[str, ...]


def slices(covered: pl.DataFrame, wanted: pl.DataFrame) -> list[Slice]:
    """Return the slices still to be read, in order of time.

    Args:
        covered: columns of `INTERVALS`.
        wanted: at most one interval per tag, columns of `INTERVALS`.
    """
    if wanted.is_empty():
        return []
    start, end = wanted.select(pl.col("start").min(), pl.col("end").max()).row(0)
    open_ = gaps(covered, wanted["tag"].to_list(), start, end).join(wanted, on="tag", suffix="_wanted")
    open_ = open_.select(
        "tag", start=pl.max_horizontal("start", "start_wanted"), end=pl.min_horizontal("end", "end_wanted")
    ).filter(pl.col("start") < pl.col("end"))
    length = max(SHORTEST_SLICE, -((start - end) // SLICES))  # rounded up: 64 slices, never 65
    found = []
    while start < end:
        stop = min(start + length, end)
        inside = open_.filter(pl.col("start") < stop, pl.col("end") > start)
        if not inside.is_empty():
            # Only the extent of the gaps: what the store has already is not read again.
            first, last = inside.select(pl.col("start").min().clip(start), pl.col("end").max().clip(None, stop)).row(0)
            found.append(Slice(first, last, tuple(inside["tag"].unique().sort())))
        start = stop
    return found
