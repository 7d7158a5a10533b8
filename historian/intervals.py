"""Intervals of time per tag, and their arithmetic: union and complement. Pure, on Polars frames.

An interval is half-open, start <= t < end, and one row with the columns of `INTERVALS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from historian.samples import SCHEMA

INTERVALS: Final = pl.Schema({"tag": pl.String(), "start": SCHEMA["timestamp"], "end": SCHEMA["timestamp"]})


def intervals(tags: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """Return one interval for each of `tags`, the same for all: columns of `INTERVALS`."""
    bounds = {"start": pl.lit(start, INTERVALS["start"]), "end": pl.lit(end, INTERVALS["end"])}
    return pl.DataFrame({"tag": tags}, schema={"tag": pl.String()}).with_columns(**bounds)


def union(
    rows: pl.DataFrame, *, by: str = "tag", start: str = "start", end: str = "end", within: timedelta = timedelta(0)
) -> pl.DataFrame:
    """Join the intervals of each key that overlap or touch, and drop empty ones; see `join_touching`."""
    return join_touching(rows.filter(pl.col(start) < pl.col(end)), by=by, start=start, end=end, within=within)


def join_touching(rows: pl.DataFrame, *, by: str, start: str, end: str, within: timedelta) -> pl.DataFrame:
    """Join the intervals of each key that overlap, touch, or lie no further apart than `within`.

    Args:
        rows: intervals in any order; an empty one takes part like any other.
        by: name of the key's column.
        start: name of the column with the start of each interval.
        end: name of the column with the end of each interval.
        within: the widest gap that is closed.

    Returns:
        Columns `by`, `start` and `end`, sorted by key and start.
    """
    ordered = rows.sort(by, start)
    end_so_far = pl.col(end).cum_max().shift().over(by)
    group = (pl.col(start) > end_so_far + within).fill_null(value=True).cum_sum().over(by)
    joined = ordered.group_by(by, group.alias("#group"), maintain_order=True)
    return joined.agg(pl.col(start).min(), pl.col(end).max()).select(by, start, end)


def gaps(covered: pl.DataFrame, tags: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """Return the complement of `covered`: for each of `tags`, the intervals of start <= t < end that it leaves open."""
    clipped = covered.filter(pl.col("tag").is_in(tags)).with_columns(
        pl.col("start").clip(start, end), pl.col("end").clip(start, end)
    )
    # An empty interval at each end of the range makes the open ends gaps like all others.
    closed = union(clipped)
    fenced = pl.concat([intervals(tags, start, start), closed, intervals(tags, end, end)])
    open_ = fenced.sort("tag", "start", "end").select("tag", start=pl.col("end").shift().over("tag"), end="start")
    return open_.filter(pl.col("start") < pl.col("end"))


def overlap(some: pl.DataFrame, others: pl.DataFrame) -> bool:
    """Return whether any interval of one frame overlaps one of the same tag in the other; an empty one never does."""
    pairs = some.join(others, on="tag", suffix="_other")
    meet = pl.max_horizontal("start", "start_other") < pl.min_horizontal("end", "end_other")
    return bool(pairs.select(meet.any()).item())
