"""Divides what a backfill still has to read into slices. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, Literal

import polars as pl

from historian.intervals import gaps

SLICES: Final = 64
"""Largest number of slices of equal length; a slice is a step of progress, and what an interruption can cost."""
SHORTEST_SLICE: Final = timedelta(hours=1)

Order = Literal["oldest", "newest"]
"""Which slice is read first."""


@dataclass(frozen=True)
class Slice:
    """A half-open range of time, and the tags that may be incomplete in it."""

    start: datetime
    end: datetime
    tags: tuple[str, ...]


def slices(
    covered: pl.DataFrame, wanted: pl.DataFrame, *, starts: Sequence[datetime] = (), order: Order = "oldest"
) -> list[Slice]:
    """Return the slices still to be read.

    Args:
        covered: columns of `INTERVALS`.
        wanted: at most one interval per tag, columns of `INTERVALS`.
        starts: where slices begin, in order, as the archive proposes; of equal length if empty.
        order: whether the oldest slice comes first or the newest.
    """
    if wanted.is_empty():
        return []
    start, end = wanted.select(pl.col("start").min(), pl.col("end").max()).row(0)
    open_ = gaps(covered, wanted["tag"].to_list(), start, end).join(wanted, on="tag", suffix="_wanted")
    open_ = open_.select(
        "tag", start=pl.max_horizontal("start", "start_wanted"), end=pl.min_horizontal("end", "end_wanted")
    ).filter(pl.col("start") < pl.col("end"))
    inner = [instant for instant in starts or _equal(start, end) if start < instant < end]
    found = []
    for begin, stop in pairwise([start, *inner, end]):
        inside = open_.filter(pl.col("start") < stop, pl.col("end") > begin)
        if not inside.is_empty():
            # Only the extent of the gaps: what the store has already is not read again.
            first, last = inside.select(pl.col("start").min().clip(begin), pl.col("end").max().clip(None, stop)).row(0)
            found.append(Slice(first, last, tuple(inside["tag"].unique().sort())))
    return found if order == "oldest" else found[::-1]


def _equal(start: datetime, end: datetime) -> list[datetime]:
    """Return where slices of equal length begin."""
    length = max(SHORTEST_SLICE, -((start - end) // SLICES))  # rounded up: 64 slices, never 65
    return [start + number * length for number in range(-((start - end) // length))]
