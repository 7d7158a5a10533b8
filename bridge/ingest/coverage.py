"""Coverage: per tag, the stretches of time proven to be in the store. Its complement, the gaps, is what to backfill.

The arithmetic is pure, on frames of stretches; `Coverage` keeps them in the edge database.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import polars as pl

from bridge.edge.database import Edge
from historian.samples import SCHEMA, SampleBatch
from historian.times import micros

STRETCHES: Final = pl.Schema({"tag": pl.String(), "start": SCHEMA["timestamp"], "end": SCHEMA["timestamp"]})
"""A stretch is half-open: start <= timestamp < end."""

_OVERFLOW: Final = 0x480
"""Info type DataValue and its bit Overflow: OPC UA Part 4, 7.39.2."""


def stretches(tags: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """The same stretch for each of `tags`."""
    bounds = {"start": pl.lit(start, STRETCHES["start"]), "end": pl.lit(end, STRETCHES["end"])}
    return pl.DataFrame({"tag": tags}, schema={"tag": pl.String()}).with_columns(**bounds)


def reached(batch: SampleBatch, reach: pl.DataFrame) -> pl.DataFrame:
    """What a batch proves when it follows, without interruption, on one that had reached to `reach`.

    Per tag from the batch's first sample, or from where `reach` ended, to its last sample: in one unbroken session a
    source tells every change, so that between two batches there was nothing. A sample with the Overflow bit says that
    some before it were lost: then nothing before it is proven. Both frames are stretches.
    """
    time, lost = pl.col("timestamp"), pl.col("quality") & _OVERFLOW == _OVERFLOW
    own = batch.group_by("tag", maintain_order=True).agg(
        start=time.min(), end=time.max() + pl.duration(microseconds=1), after_loss=time.filter(lost).max()
    )
    before = reach.group_by("tag").agg(before=pl.col("end").max())
    joined = own.join(before, on="tag", how="left", maintain_order="left")
    start = pl.coalesce("after_loss", pl.min_horizontal("start", "before"))
    return joined.select("tag", start=start, end=pl.max_horizontal("end", "before"))


def union(covered: pl.DataFrame) -> pl.DataFrame:
    """The same stretches, with those that overlap or touch joined into one; sorted by (tag, start)."""
    rows = covered.filter(pl.col("start") < pl.col("end")).sort("tag", "start")
    reach_before = pl.col("end").cum_max().shift().over("tag")
    group = (pl.col("start") > reach_before).fill_null(value=True).cum_sum().over("tag")
    joined = rows.group_by("tag", group.alias("group"), maintain_order=True)
    return joined.agg(pl.col("start").min(), pl.col("end").max()).select(STRETCHES.names())


def gaps(covered: pl.DataFrame, tags: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """The complement: the stretches of start <= t < end that `covered` leaves open, for each of `tags`."""
    clipped = covered.filter(pl.col("tag").is_in(tags)).with_columns(
        pl.col("start").clip(start, end), pl.col("end").clip(start, end)
    )
    # An empty stretch at each end of the range makes the open ends gaps like all others.
    closed = union(clipped)
    fenced = pl.concat([stretches(tags, start, start), closed, stretches(tags, end, end)]).sort("tag", "start", "end")
    open_ = fenced.select("tag", start=pl.col("end").shift().over("tag"), end="start")
    return open_.filter(pl.col("start") < pl.col("end"))


_TOUCHING: Final = 'FROM coverage WHERE tag IN (SELECT value FROM json_each(?)) AND "end" >= ? AND start <= ?'


class Coverage:
    """Coverage at rest."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def widen(self, proven: pl.DataFrame) -> None:
        """Adds stretches. Several processes may do so at once."""
        if proven.is_empty():
            return
        # What lies wholly outside the new stretches' common span cannot touch any of them, and stays as it is.
        tags = proven["tag"].unique().to_list()
        low, high = proven.select(pl.col("start").min(), pl.col("end").max()).row(0)
        with self._edge.transaction() as database:
            rows = union(pl.concat([proven, self.of(tags, low, high)]))
            database.execute(f"DELETE {_TOUCHING}", _bounds(tags, low, high))
            counted = rows.with_columns(pl.col("start", "end").to_physical())
            database.executemany("INSERT INTO coverage VALUES (?, ?, ?)", counted.iter_rows())

    def of(self, tags: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """The stretches of `tags` that overlap or touch start <= t < end, sorted by (tag, start)."""
        rows = self._edge.rows(f"SELECT * {_TOUCHING} ORDER BY tag, start", *_bounds(tags, start, end))
        counts = {"tag": pl.String(), "start": pl.Int64(), "end": pl.Int64()}
        return pl.DataFrame(rows, schema=counts, orient="row").cast(STRETCHES)


def _bounds(tags: Sequence[str], start: datetime, end: datetime) -> tuple[str, int, int]:
    return json.dumps(list(tags)), micros(start), micros(end)
