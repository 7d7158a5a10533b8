"""Compares the two sides task by task, and keeps for each tag and day what was found. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from bridge.run.verify.differences import differences
from bridge.run.verify.rejects import REJECTS, refused, reject_samples
from bridge.run.verify.sides import Sides
from bridge.run.verify.signals import NOTHING, Signal
from bridge.run.verify.summaries import Running
from bridge.run.verify.tasks import DAY, Task
from historian.times import from_micros
from historian.waveforms.timing import Integers

_DAY_US: Final = int(DAY.total_seconds()) * 1_000_000


class Key(NamedTuple):
    """A tag's day of UTC."""

    tag: str
    start: datetime
    """The first instant of the day."""


@dataclass
class Day:
    """What was found about a tag's day."""

    source: Running
    store: Running
    """The same object as `source` for as long as both sides are the same."""
    missing: int = 0
    """Number of samples that the store lacks."""
    extra: int = 0
    """Number of samples that the source lacks: deleted there, or from somewhere else."""
    changed: int = 0
    """Number of samples with another value, text or quality in the store."""
    quarantined: int = 0
    """Number of samples of the source that are in quarantine; they count on neither side."""
    changed_at: list[Integers] = field(default_factory=list)
    """Times of changed samples, microseconds since the epoch."""
    span: tuple[int, int] | None = None
    """Times of the first and the last sample that differs."""

    @property
    def is_equal(self) -> bool:
        """Whether both sides have the same samples."""
        return self.span is None

    def add(self, source: Signal, store: Signal) -> None:
        """Add samples of both sides that are later than those before."""
        if not source.equals(store):
            self._add_differences(source, store)
        if self.store is not self.source or not self.is_equal or not np.array_equal(source.recorded, store.recorded):
            self.store = self.source.copy() if self.store is self.source else self.store
            self.store.add(store)
        self.source.add(source)

    def _add_differences(self, source: Signal, store: Signal) -> None:
        found = differences(source, store)
        self.missing += len(found.missing)
        self.extra += len(found.extra)
        self.changed += len(found.changed)
        self.changed_at.append(source.times[found.changed])
        times = np.concatenate([source.times[found.missing], source.times[found.changed], store.times[found.extra]])
        low, high = int(times.min()), int(times.max())
        self.span = (low, high) if self.span is None else (min(low, self.span[0]), max(high, self.span[1]))


class Comparison:
    """What was found so far."""

    def __init__(self, slacks: Mapping[str, int], quarantine_of: Callable[[str], pl.DataFrame]) -> None:
        """Begin with nothing.

        Args:
            slacks: tag -> microseconds by which the times of a sample may be apart; 0 for all but waveforms.
            quarantine_of: returns what the quarantine has of a tag, columns of `REJECTED`.
        """
        self.days: dict[Key, Day] = {}
        self._slacks = slacks
        self._quarantine_of = quarantine_of

    def add(self, task: Task, sides: Sides) -> pl.DataFrame:
        """Compare the samples of a task, which is later than those before of its tags.

        Returns:
            Samples of the source that are in quarantine: columns of `REJECTS`.
        """
        rejects = [reject_samples(sides.rejected)]
        for tag in task.tags:
            source, store = sides.source.get(tag, NOTHING), sides.store.get(tag, NOTHING)
            source, held_back = self._without_refused(tag, source, store)
            rejects.append(held_back)
            for start, ours, theirs in _by_day(source, store):
                self._day(Key(tag, start)).add(ours, theirs)
        found = pl.concat(rejects)
        self._count(found)
        return found

    def _without_refused(self, tag: str, source: Signal, store: Signal) -> tuple[Signal, pl.DataFrame]:
        """Return the samples without those that the store refused and that are in quarantine therefore."""
        nothing = REJECTS.to_frame()
        if source.equals(store) or not len(missing := differences(source, store).missing):
            return source, nothing
        known = reject_samples(self._quarantine_of(tag))
        if known.is_empty():
            return source, nothing
        is_refused, rows = refused(source, missing, known, self._slacks[tag])
        return source.chosen(~is_refused), rows

    def _day(self, key: Key) -> Day:
        if key not in self.days:
            both = Running(timed=not self._slacks[key.tag])
            self.days[key] = Day(both, both)
        return self.days[key]

    def _count(self, rejects: pl.DataFrame) -> None:
        known = rejects.filter(pl.col("tag").is_in(list(self._slacks)), pl.col("timestamp").is_not_null())
        for tag, day, count in known.group_by("tag", pl.col("timestamp").dt.truncate("1d")).len().iter_rows():
            self._day(Key(tag, day)).quarantined += count


def _by_day(source: Signal, store: Signal) -> Iterator[tuple[datetime, Signal, Signal]]:
    """Yield the start of each day on which a side has samples, and these."""
    ends = [side.times[[0, -1]] for side in (source, store) if len(side)]
    if not ends:
        return
    first, last = (int(each) // _DAY_US for each in (min(each[0] for each in ends), max(each[1] for each in ends)))
    borders = np.arange(first, last + 2) * _DAY_US
    at = [np.searchsorted(side.times, borders).tolist() for side in (source, store)]
    for number, start in enumerate(borders[:-1].tolist()):
        ours, theirs = (
            side.part(places[number], places[number + 1]) for side, places in zip((source, store), at, strict=True)
        )
        if len(ours) or len(theirs):
            yield from_micros(start), ours, theirs
