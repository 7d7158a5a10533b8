"""The query behind Feast's historical retrieval: labels with the features as they were at the labels' times."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import polars as pl
import pyarrow as pa
from feast.errors import FeastEntityDFMissingColumnsError

from features.feast.offline.entity_frames import EntityFrame
from features.feast.offline.join_executor import JoinExecutor, join_executor
from features.feast.offline.point_in_time import EVENT
from features.feast.offline.view_join import ViewQuery, features_at, row_numbers, rows_within

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class HistoricalRetrieval:
    """A query for labels with the features of every view as further columns; one row per label, in order."""

    labels: EntityFrame
    queries: Sequence[ViewQuery]
    created_by_label_time: bool
    memory_limit: int
    """Largest memory of the join in bytes; on Ray, of each task."""
    ray_address: str | None = None
    """Address of a Ray cluster to run the join on; this machine if None."""

    def table(self) -> pa.Table:
        """Return all rows."""
        (whole,) = self.pieces(max(1, self.labels.table.num_rows))
        return whole

    def pieces(self, rows: int | None = None) -> Iterator[pa.Table]:
        """Yield the same rows, `rows` labels at a time, or as many as the memory limit allows; at least one piece.

        The join runs once, and the features are read for each piece: cheap when labels are in order of time.

        Args:
            rows: Number of labels per piece, at least 1.
        """
        step = rows or rows_within(self.memory_limit, self._width)
        limit = self.memory_limit // self._at_once if self.ray_address is None else self.memory_limit
        with join_executor(max(1, limit), self.ray_address) as executor:
            numbers = self._views(lambda query: self._numbers(query, executor))
            for start in range(0, max(1, self.labels.table.num_rows), step):
                yield self._piece(numbers, start, step, executor)

    def _numbers(self, query: ViewQuery, executor: JoinExecutor) -> pl.Series:
        labels = pl.DataFrame(self.labels.table.select([*query.keys, self.labels.time]))
        return row_numbers(
            query, labels.rename({self.labels.time: EVENT}), executor, created_by_label_time=self.created_by_label_time
        )

    def _piece(self, numbers: Sequence[pl.Series], start: int, rows: int, executor: JoinExecutor) -> pa.Table:
        chosen = dict(zip(map(id, self.queries), numbers, strict=True))
        return _joined(
            self.labels.table.slice(start, rows),
            self._views(lambda query: features_at(query, chosen[id(query)].slice(start, rows), executor)),
        )

    def _views(self, of: Callable[[ViewQuery], _Answer]) -> list[_Answer]:
        if len(self.queries) == 1:  # a thread would keep memory of its own
            return [of(self.queries[0])]
        with ThreadPoolExecutor(self._at_once) as pool:
            return list(pool.map(of, self.queries))

    @property
    def _at_once(self) -> int:
        return max(1, min(len(self.queries), os.cpu_count() or 1))

    @property
    def _width(self) -> int:
        return len(self.labels.table.column_names) + sum(len(query.columns) for query in self.queries)


def check_labels(labels: pa.Schema, queries: Sequence[ViewQuery]) -> None:
    """Check that the labels have every join key, and no column with the name of a feature.

    Args:
        labels: Schema of the labels.
        queries: One query per view.

    Raises:
        FeastEntityDFMissingColumnsError: a join key is missing.
        ValueError: a join key holds lists, or a column has the name of a feature.
    """
    keys = {key for query in queries for key in query.keys}
    if absent := keys - set(labels.names):
        raise FeastEntityDFMissingColumnsError(keys, absent)
    for key in sorted(keys):
        if pa.types.is_nested(kind := labels.field(key).type):
            raise ValueError(f"the join key {key} of the labels holds {kind}; give one value a row, as by explode")
    taken = sorted({name for query in queries for name in query.columns if name in labels.names})
    if taken:
        raise ValueError(f"the labels have columns called as features are: {', '.join(taken)}; rename them")


def _joined(labels: pa.Table, features: Iterable[pa.Table]) -> pa.Table:
    for view in features:
        for name, values in zip(view.column_names, view.columns, strict=True):
            labels = labels.append_column(name, values)
    return labels
