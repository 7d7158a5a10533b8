"""Coverage: for each tag, the intervals known to be in the store. Their complement is what a backfill has to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import polars as pl

from bridge.edge.database import Edge
from historian.intervals import INTERVALS, union
from historian.times import micros

_TOUCHING: Final = 'FROM coverage WHERE tag IN (SELECT value FROM json_each(?)) AND "end" >= ? AND start <= ?'


class Coverage:
    """The coverage of every tag, in the edge database."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def add(self, covered: pl.DataFrame) -> None:
        """Add intervals, columns of `INTERVALS`. Several processes may do so at the same time."""
        if covered.is_empty():
            return
        # Intervals outside the span of all new ones touch none of them and need not be rewritten.
        tags = covered["tag"].unique().to_list()
        low, high = covered.select(pl.col("start").min(), pl.col("end").max()).row(0)
        with self._edge.transaction() as database:
            rows = union(pl.concat([covered, self.of(tags, low, high)]))
            database.execute(f"DELETE {_TOUCHING}", _bounds(tags, low, high))
            counted = rows.with_columns(pl.col("start", "end").to_physical())
            database.executemany("INSERT INTO coverage VALUES (?, ?, ?)", counted.iter_rows())

    def of(self, tags: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """Return the intervals of `tags` that overlap or touch start <= t < end, sorted by (tag, start)."""
        rows = self._edge.rows(f"SELECT * {_TOUCHING} ORDER BY tag, start", _bounds(tags, start, end))
        counts = {"tag": pl.String(), "start": pl.Int64(), "end": pl.Int64()}
        return pl.DataFrame(rows, schema=counts, orient="row").cast(INTERVALS)


def _bounds(tags: Sequence[str], start: datetime, end: datetime) -> tuple[str, int, int]:
    return json.dumps(list(tags)), micros(start), micros(end)
