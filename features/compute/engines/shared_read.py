"""Small partitions of about the same time are read together: a live second of fifty assets is one query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from features.compute.partition import Computed, Partition, Samples, compute_partition
from historian.samples import SampleBatch, empty_batch
from historian.times import micros
from historian.waveforms.batch import WaveformBatch, empty_waveforms
from historian.waveforms.cutting import cut

_SAMPLES: Final = 1_000_000
"""Most samples of a group."""
_SLACK: Final = timedelta(seconds=10)
"""How far partitions may lie apart and still be read together."""


class ReadSamples:
    """Samples and waveforms in memory, read as from a store."""

    def __init__(self, pages: Iterable[SampleBatch], waveforms: Iterable[WaveformBatch]) -> None:
        self._samples = _by_tag(pl.concat([empty_batch(), *pages]))
        self._waveforms = _by_tag(pl.concat([empty_waveforms(), *waveforms]))

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """See `Reader.read`; one page."""
        held = [self._samples[tag] for tag in sorted(tags) if tag in self._samples]
        parts = [_between(rows, micros(start), micros(end)) for rows in held]
        yield SampleBatch(pl.concat([empty_batch(), *parts]))

    def read_waveforms(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[WaveformBatch]:
        """See `Reader.read_waveforms`; one page."""
        held = [self._waveforms[tag] for tag in sorted(tags) if tag in self._waveforms]
        yield WaveformBatch(pl.concat([empty_waveforms(), *(cut(WaveformBatch(rows), start, end) for rows in held)]))


def _by_tag(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    return {str(tag): part for (tag,), part in rows.partition_by("tag", as_dict=True).items()}


def _between(rows: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    """Return the rows from start up to end, of one tag in order; quicker than a query."""
    first, stop = np.searchsorted(rows["timestamp"].to_physical().to_numpy(), [start, end])
    return rows[int(first) : int(stop)]


def grouped(partitions: Iterable[Partition]) -> Iterator[list[Partition]]:
    """Group partitions, in order, that are to be read together."""
    group: list[Partition] = []
    for partition in partitions:
        if group and not _near([*group, partition]):
            yield group
            group = []
        group.append(partition)
    if group:
        yield group


def compute_group(store: Samples, group: Sequence[Partition]) -> Iterator[Computed]:
    """Compute each partition of a group, from one read of the store.

    Raises:
        StoreUnavailable: the store cannot be read.
    """
    reader = store if len(group) == 1 else _read(store, group)
    return (compute_partition(reader, each) for each in group)


def _near(group: Sequence[Partition]) -> bool:
    starts, ends = [each.start for each in group], [each.end for each in group]
    apart = max(starts) - min(starts) + max(ends) - min(ends)
    return sum(each.samples for each in group) <= _SAMPLES and apart <= _SLACK


def _read(store: Samples, group: Sequence[Partition]) -> ReadSamples:
    between = min(each.start for each in group), max(each.end for each in group)
    tags = {tag.name: tag.sample_rate for each in group for tag in each.plan.sample_tags}
    slow, fast = ([name for name in sorted(tags) if (tags[name] is None) == is_slow] for is_slow in (True, False))
    return ReadSamples(
        store.read(slow, *between) if slow else [],
        store.read_waveforms(fast, *between) if fast else [],
    )
