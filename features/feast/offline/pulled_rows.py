"""Rows as they are stored, without labels, for materialisation, saved datasets and logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl
import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL

from features.feast.offline.feature_source import FeatureRows
from features.feast.offline.point_in_time import EVENT, ROW, newest_rows

_PIECE_ROWS: Final = 200_000


@dataclass(frozen=True)
class PulledRows:
    """A query for columns and times of the rows with start <= event timestamp <= end, in the source's order."""

    rows: FeatureRows
    keys: Sequence[str]
    columns: Sequence[str]
    """Columns to return; all columns of the source if empty."""
    start: datetime | None
    end: datetime | None
    latest: bool
    """Whether to return only the newest row of each key."""

    def table(self) -> pa.Table:
        """Return all rows."""
        return self._pulled(self._within())

    def pieces(self, rows: int | None = None) -> Iterator[pa.Table]:
        """Yield the same rows in pieces, each from `rows` consecutive rows of the source."""
        within, step = self._within(), rows or _PIECE_ROWS
        for first in range(0, max(1, self.rows.count()), step):
            yield self._pulled(within & pl.col(ROW).is_between(first, first + step - 1))

    def _within(self) -> pl.Expr:
        within = self.rows.between(self.start, self.end)
        if not self.latest:
            return within
        # Two streams over keys and times, one after the other, hold only one instant's rows of each key. As one query,
        # the second would hold all rows until the first has ended.
        times = self.rows.times({key: key for key in self.keys}, within)
        last = times.group_by(self.keys).agg(pl.col(EVENT).max()) if self.keys else times.select(pl.col(EVENT).max())
        candidates = times.join(last.collect().lazy(), on=[*self.keys, EVENT], how="semi").collect()
        return within & pl.col(ROW).is_in(newest_rows(candidates, self.keys).implode())

    def _pulled(self, within: pl.Expr) -> pa.Table:
        """Return the rows; a view without entities gets Feast's constant key."""
        times = [self.rows.event, self.rows.created] if self.rows.created else [self.rows.event]
        columns = [*self.keys, *self.columns, *times] if self.columns else [*self.rows.schema]
        found = self.rows.arrow(self.rows.values([name for name in columns if name != ROW], within).drop(ROW))
        if self.keys:
            return found
        return found.append_column(DUMMY_ENTITY_ID, pa.repeat(DUMMY_ENTITY_VAL, found.num_rows))
