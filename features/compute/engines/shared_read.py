"""Small partitions over the same stretch of time are read at once: a live second of fifty assets is one query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from features.compute.partition import Computed, Partition, Samples, compute_partition
from historian.samples import SampleBatch, empty_batch
from historian.times import from_micros, micros

_SAMPLES: Final = 1_000_000
_SLACK: Final = 10_000_000
"""Microseconds by which partitions may lie apart and still be read together."""


class Held:
    """Samples that were read before."""

    def __init__(self, pages: Iterable[SampleBatch]) -> None:
        rows = pl.concat([empty_batch(), *pages])
        self._by_tag = {str(tag): part for (tag,), part in rows.partition_by("tag", as_dict=True).items()}

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """See `Reader.read`; one page."""
        parts = [_between(self._by_tag[tag], micros(start), micros(end)) for tag in sorted(tags) if tag in self._by_tag]
        yield SampleBatch(pl.concat(parts) if parts else empty_batch())


def _between(rows: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    """Those of one tag, which are in order; quicker than a query."""
    first, stop = np.searchsorted(rows["timestamp"].to_physical().to_numpy(), [start, end])
    return rows[int(first) : int(stop)]


def grouped(partitions: Iterable[Partition]) -> Iterator[list[Partition]]:
    """The partitions, in order; those of a group are to be read at once."""
    group: list[Partition] = []
    for partition in partitions:
        if group and not _near([*group, partition]):
            yield group
            group = []
        group.append(partition)
    if group:
        yield group


def compute_group(store: Samples, group: Sequence[Partition]) -> Iterator[Computed]:
    """`compute_partition` of each.

    Raises:
        StoreUnavailable: the store cannot be read.
    """
    reader = store if len(group) == 1 else _read(store, group)
    return (compute_partition(reader, each) for each in group)


def _near(group: Sequence[Partition]) -> bool:
    starts, ends = [each.start for each in group], [each.span.until for each in group]
    apart = max(starts) - min(starts) + max(ends) - min(ends)
    return sum(each.samples for each in group) <= _SAMPLES and apart <= _SLACK


def _read(store: Samples, group: Sequence[Partition]) -> Held:
    start, end = min(each.start for each in group), max(each.span.until for each in group)
    names = [tag.name for each in group for tag in each.tags]
    return Held(store.read(sorted(set(names)), from_micros(start), from_micros(end)))
