"""Reads an archive and the store side by side, task by task, and compares them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import polars as pl

from bridge.drivers.protocols import Extent, ProposesSlices, ReportsProblems
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine, Selection
from bridge.edge.quarantine_rows import REJECTED
from bridge.run.verify.comparison import Comparison, Key
from bridge.run.verify.sides import MOST_SAMPLES, BothSides, Sides, TooManySamples
from bridge.run.verify.signals import slack_us
from bridge.run.verify.tasks import DAY, Task, tasks_of
from historian.errors import SourceError
from historian.plant.connections import ConnectionConfig
from historian.stores.protocols import Reader

_INSTANT: Final = timedelta(microseconds=1)


@dataclass(frozen=True)
class Listeners:
    """What is called while work is under way."""

    advance: Callable[[int], None] = lambda _: None
    """Called with the number of samples that have been compared since the last call."""
    rejects: Callable[[pl.DataFrame], None] = lambda _: None
    """Called with samples of the source that are in quarantine, columns of `REJECTS`."""


@dataclass
class Comparing:
    """The comparison of one archive with the store."""

    connection: ConnectionConfig
    edge: Edge
    store: Reader
    clock: Callable[[], datetime]
    listeners: Listeners = field(default_factory=Listeners)
    most: int = MOST_SAMPLES
    """Largest number of samples of one side in memory."""
    samples: int = 0
    """Number of samples of the source compared so far."""
    failures: list[tuple[Task, str]] = field(default_factory=list)
    """Tasks that could not be read, and why."""
    problems: list[str] = field(default_factory=list)
    """What the archive cannot read in any range."""
    extents: dict[str, Extent] = field(default_factory=dict)
    """Tag -> the range that was compared: that of the archive, or of what was written from it."""

    def __post_init__(self) -> None:
        """Begin without results. Raises `ConfigError` if the connection's configuration cannot work."""
        self.results = Comparison(
            {tag.name: slack_us(tag) for tag in self.connection.tags},
            partial(_quarantine_of, self.edge, self.connection),
        )
        self._sides = BothSides(self.connection, self.edge, self.store, clock=self.clock, most=self.most)
        self._most_tags, self._longest = len(self.connection.tags), timedelta.max

    async def whole(self, start: datetime | None, end: datetime | None) -> None:
        """Compare a range of all tags.

        Args:
            start: first instant; that of the archive, or of what was written from it, if None.
            end: first instant after the range; likewise.

        Raises:
            SourceError: the archive cannot be read at all.
            StoreUnavailable: the store cannot be read.
        """
        archive = self._sides.archive
        await self._sides.connected(archive.open)
        try:
            held = await self._sides.connected(archive.extents)
            self.extents = _united(held, _written(self.store, self.connection), start, end)
            if isinstance(archive, ReportsProblems):
                self.problems = list(await self._sides.connected(archive.problems))
            await self._compare(await self._tasks())
        finally:
            await archive.close()

    async def again(self, days: Iterable[Key]) -> None:
        """Compare days again, in place of what was found about them. Raises as `whole` does."""
        together: dict[datetime, list[str]] = {}
        for key in days:
            self.results.days.pop(key, None)
            together.setdefault(key.start, []).append(key.tag)
        first, last = self._range()
        tasks = [Task(tuple(tags), max(day, first), min(day + DAY, last)) for day, tags in sorted(together.items())]
        self._sides = BothSides(self.connection, self.edge, self.store, clock=self.clock, most=self.most)
        await self._sides.connected(self._sides.archive.open)
        try:
            await self._compare(tasks)
        finally:
            await self._sides.archive.close()

    async def _tasks(self) -> list[Task]:
        if not self.extents:
            return []
        first, last = self._range()
        archive = self._sides.archive
        starts: Sequence[datetime] = ()
        if isinstance(archive, ProposesSlices):
            starts = await self._sides.connected(partial(archive.slice_starts, first, last))
        tasks = tasks_of(sorted(self.extents), first, last, starts)
        return [replace(task, tags=tags) for task in tasks if (tags := self._held(task))]

    def _range(self) -> Extent:
        """Return the range of all tags together."""
        return min(each[0] for each in self.extents.values()), max(each[1] for each in self.extents.values())

    def _held(self, task: Task) -> tuple[str, ...]:
        """Return the tags of a task of which there may be samples in it."""
        return tuple(tag for tag in task.tags if self.extents[tag][0] < task.end and self.extents[tag][1] > task.start)

    async def _compare(self, tasks: Sequence[Task]) -> None:
        waiting = list(reversed(tasks))
        while waiting:
            task = waiting.pop()
            if len(task.tags) > self._most_tags or (len(task.tags) == 1 and task.end - task.start > self._longest):
                waiting += reversed(task.halves())
                continue
            try:
                self._take(task, await self._sides.read(task))
            except TooManySamples:
                self._learn(task)
                waiting.append(task)
            except SourceError as error:
                self.failures.append((task, str(error)))

    def _learn(self, task: Task) -> None:
        """Remember that a task was too large, so that those after it are divided at once."""
        if len(task.tags) > 1:
            self._most_tags = len(task.tags) - 1
        else:
            self._longest = (task.end - task.start) / 2

    def _take(self, task: Task, sides: Sides) -> None:
        self.listeners.rejects(self.results.add(task, sides))
        count = sum(map(len, sides.source.values()))
        self.samples += count
        self.listeners.advance(count)


def _quarantine_of(edge: Edge, connection: ConnectionConfig, tag: str) -> pl.DataFrame:
    """Return what the quarantine has of a tag from the archive: columns of `REJECTED`."""
    return Quarantine(edge).rows(Selection(source=connection.name, tag=tag)).select(REJECTED.names())


def _written(store: Reader, connection: ConnectionConfig) -> dict[str, Extent]:
    """Return tag -> the range of what was ever written from the archive: the source may have lost some of it."""
    tags = [tag.name for tag in connection.tags]
    rows = store.changes(None).filter(pl.col("source") == connection.name, pl.col("tag").is_in(tags))
    spans = rows.group_by("tag").agg(pl.col("first").min(), pl.col("last").max())
    return {tag: (first, last + _INSTANT) for tag, first, last in spans.iter_rows()}


def _united(
    some: Mapping[str, Extent], others: Mapping[str, Extent], start: datetime | None, end: datetime | None
) -> dict[str, Extent]:
    """Return tag -> the range that contains those of both mappings, within start <= t < end."""
    found = {}
    for tag in sorted({*some, *others}):
        extents = [each[tag] for each in (some, others) if tag in each]
        first = max(start, min(each[0] for each in extents)) if start else min(each[0] for each in extents)
        last = min(end, max(each[1] for each in extents)) if end else max(each[1] for each in extents)
        if first < last:
            found[tag] = (first, last)
    return found
