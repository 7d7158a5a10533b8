"""Labels in, features as they were at the labels' times out: the query behind Feast's historical retrieval."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

import polars as pl
import pyarrow as pa
from feast.errors import FeastEntityDFMissingColumnsError

from features.offline.entity_frames import EntityFrame
from features.offline.point_in_time import EVENT
from features.offline.ray_join import ray_features
from features.offline.view_join import ViewQuery, features_at, row_numbers

# A piece of an answer is held about four times: as read, gathered, in Arrow, and in whoever takes it.
_COPIES: Final = 4
_VALUE_BYTES: Final = 16
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class HistoricalRetrieval:
    """The labels as they are, and the features of every query beside them; one row a label, in order."""

    labels: EntityFrame
    queries: Sequence[ViewQuery]
    known_then: bool
    memory_limit: int
    """Bytes the join may take."""
    ray_address: str | None = None
    """A Ray cluster to do the join on."""

    def table(self) -> pa.Table:
        """The whole answer."""
        if self.ray_address is None:
            return self._piece(self._numbers(), 0, self.labels.table.num_rows)
        return _beside(self.labels.table, self._views(self._on_ray))

    def pieces(self, rows: int | None = None) -> Iterator[pa.Table]:
        """The same answer, `rows` labels at a time, or as many as the memory limit allows; at least one piece.

        The join is done once, and the features are read for each piece: cheap when labels are in order of time.
        """
        step = rows or self._piece_rows()
        numbers = self._numbers()
        for start in range(0, max(1, self.labels.table.num_rows), step):
            yield self._piece(numbers, start, step)

    def _numbers(self) -> list[pl.Series]:
        def numbers(query: ViewQuery) -> pl.Series:
            limit = max(1, self.memory_limit // self._at_once)
            return row_numbers(query, self._asked(query), known_then=self.known_then, memory_limit=limit)

        return self._views(numbers)

    def _piece(self, numbers: Sequence[pl.Series], start: int, rows: int) -> pa.Table:
        chosen = dict(zip(map(id, self.queries), numbers, strict=True))
        return _beside(
            self.labels.table.slice(start, rows),
            self._views(lambda query: features_at(query, chosen[id(query)].slice(start, rows))),
        )

    def _views(self, of: Callable[[ViewQuery], _Answer]) -> list[_Answer]:
        if len(self.queries) == 1:  # a thread would keep memory of its own
            return [of(self.queries[0])]
        with ThreadPoolExecutor(self._at_once) as pool:
            return list(pool.map(of, self.queries))

    def _on_ray(self, query: ViewQuery) -> pa.Table:
        return ray_features(query, self._asked(query), address=self.ray_address or "", known_then=self.known_then)

    def _asked(self, query: ViewQuery) -> pl.DataFrame:
        return pl.DataFrame(self.labels.table.select([*query.keys, self.labels.time])).rename({self.labels.time: EVENT})

    @property
    def _at_once(self) -> int:
        return max(1, min(len(self.queries), os.cpu_count() or 1))

    def _piece_rows(self) -> int:
        columns = len(self.labels.table.column_names) + sum(len(query.columns) for query in self.queries)
        return max(1, self.memory_limit // (columns * _VALUE_BYTES * _COPIES))


def check_labels(columns: Sequence[str], queries: Iterable[ViewQuery]) -> None:
    """Refuses labels that lack a join key, or have a column a feature would need to be called.

    Raises:
        FeastEntityDFMissingColumnsError, ValueError
    """
    keys = {key for query in queries for key in query.keys}
    if absent := keys - set(columns):
        raise FeastEntityDFMissingColumnsError(keys, absent)
    taken = sorted({name for query in queries for name in query.columns if name in columns})
    if taken:
        raise ValueError(f"the labels have columns called as features are: {', '.join(taken)}; rename them")


def _beside(labels: pa.Table, features: Iterable[pa.Table]) -> pa.Table:
    for view in features:
        for name, values in zip(view.column_names, view.columns, strict=True):
            labels = labels.append_column(name, values)
    return labels
