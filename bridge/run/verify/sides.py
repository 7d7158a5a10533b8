"""Reads a task from the archive, through the rules of ingest, and from the store; writes nothing to either."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

import polars as pl

from bridge.delivery.retry import wait_after
from bridge.drivers.protocols import Page, open_archive
from bridge.drivers.raw_rows import RawRows, joined
from bridge.edge.database import Edge
from bridge.edge.quarantine_rows import REJECTED, as_rejected
from bridge.ingest.ingest import Ingest
from bridge.run.verify.signals import NOTHING, Signal, aligned, sample_signals, slack_us, waveform_signals
from bridge.run.verify.tasks import Task
from historian.errors import NotConnected
from historian.logs import get_logger
from historian.plant.connections import ConnectionConfig
from historian.samples import KEY, SampleBatch, is_in_order
from historian.stores.protocols import Reader
from historian.times import micros
from historian.waveforms.batch import WaveformBatch

MOST_SAMPLES: Final = 4_000_000
"""Largest number of samples of one side in memory, some 400 MB for both sides; a task that has more is halved."""
ATTEMPTS: Final = 5
"""Number of failed connections in a row after which reading gives up."""

Result = TypeVar("Result")
Batch = TypeVar("Batch", SampleBatch, WaveformBatch)

log = get_logger(__name__)


class TooManySamples(Exception):
    """A task has more samples than may be in memory."""


@dataclass(frozen=True)
class Sides:
    """The samples of a task."""

    source: dict[str, Signal]
    """Tag -> samples of the source that ingest accepts."""
    store: dict[str, Signal]
    """Tag -> samples of the store, with the times of their counterparts."""
    rejected: pl.DataFrame
    """Rows of the source that ingest rejects: columns of `REJECTED`."""


class BothSides:
    """An archive and a store, read side by side."""

    def __init__(
        self,
        connection: ConnectionConfig,
        edge: Edge,
        store: Reader,
        *,
        clock: Callable[[], datetime],
        most: int = MOST_SAMPLES,
        wait: Callable[[Exception, int], float] = wait_after,
    ) -> None:
        """Create the archive without opening it. Raises `ConfigError` if the connection's configuration cannot work."""
        self.archive = open_archive(connection)
        self._name = connection.name
        self._ingest = Ingest(connection, edge, live=False)
        self._store = store
        self._slacks = {tag.name: slack_us(tag) for tag in connection.tags}
        self._clock = clock
        self._most = most
        self._wait = wait
        self._passed: dict[str, tuple[datetime, int]] = {}

    async def read(self, task: Task) -> Sides:
        """Return the samples of a task.

        Raises:
            TooManySamples: there are more than may be in memory; read the halves of the task.
            SourceError: a part of the archive cannot be read.
            StoreUnavailable: the store cannot be read.
        """
        limit = self._most if task.halves() else None
        pages = await self.connected(lambda: self._pages(task, limit))
        source, rejected = await asyncio.to_thread(self._accepted, task, pages)
        store = await asyncio.to_thread(self._stored, task, limit)
        for tag in task.tags:
            self._align(task, tag, source, store)
        return Sides(source, store, rejected)

    async def connected(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Run the work; whenever the connection is lost, wait, reopen the archive, and run it again."""
        failures = 0
        while True:
            try:
                if failures:
                    await self.archive.open()
                return await work()
            except NotConnected as error:
                failures += 1
                await self.archive.close()
                if failures == ATTEMPTS:
                    raise
                wait = self._wait(error, failures)
                log.warning("archive not connected", source=self._name, reason=str(error), retry_in_s=round(wait, 1))
                await asyncio.sleep(wait)

    async def _pages(self, task: Task, limit: int | None) -> list[Page]:
        pages, total = list[Page](), 0
        async with aclosing(self.archive.read(task.tags, *self._wider(task))) as found:
            async for page in found:
                total += page.rows.samples.height + int(page.rows.waveforms["count"].cast(pl.Int64).sum())
                if limit is not None and total > limit:
                    raise TooManySamples
                pages.append(page)
        return pages

    def _wider(self, task: Task) -> tuple[datetime, datetime]:
        """Return the range in which counterparts of the task's samples may be."""
        slack = max((self._slacks[tag] for tag in task.tags), default=0)
        margin = timedelta(microseconds=2 * slack + 2) if slack else timedelta(0)
        return task.start - margin, task.end + margin

    def _accepted(self, task: Task, pages: Sequence[Page]) -> tuple[dict[str, Signal], pl.DataFrame]:
        """Return what ingest accepts of the source, and what it rejects."""
        rows = _in_order(joined(RawRows(), *(page.rows for page in pages)))
        found = self._ingest.validate(rows, now=self._clock())
        samples, waveforms = found.batches
        parts = [as_rejected(page.rejected) for page in pages if page.rejected is not None]
        rejected = pl.concat([REJECTED.to_frame(), *parts, found.rejected])
        within = pl.col("timestamp").is_null() | _within(task)
        few = SampleBatch(samples.filter(_within(task)))  # an archive may return more than a range
        return {**sample_signals([few]), **waveform_signals([waveforms])}, rejected.filter(within)

    def _stored(self, task: Task, limit: int | None) -> dict[str, Signal]:
        waves = [tag for tag in task.tags if self._slacks[tag]]
        others = [tag for tag in task.tags if not self._slacks[tag]]
        samples = self._store.read(others, task.start, task.end) if others else ()
        stretches = self._store.read_waveforms(waves, *self._wider(task)) if waves else ()
        found = sample_signals(_at_most(limit, samples))
        return {**found, **waveform_signals(_at_most(limit, stretches))}

    def _align(self, task: Task, tag: str, source: dict[str, Signal], store: dict[str, Signal]) -> None:
        """Give the samples of the store the times of their counterparts, and keep those of the task, in place.

        A sample near the end of the task before may have been rounded to either side of it; it counts once.
        """
        slack = self._slacks[tag]
        if not slack:
            return
        until, last = self._passed.get(tag, (None, 0))
        first = last + slack + 1 if until == task.start and last else micros(task.start)
        ours = source.get(tag, NOTHING)
        for side, signal in ((source, ours), (store, aligned(store.get(tag, NOTHING), ours, slack))):
            side[tag] = signal.chosen((signal.times >= first) & (signal.times < micros(task.end)))
        ends = [int(side[tag].times[-1]) for side in (source, store) if len(side[tag])]
        self._passed[tag] = (task.end, max(ends, default=last if until == task.start else 0))


def _within(task: Task) -> pl.Expr:
    return pl.col("timestamp").is_between(task.start, task.end, closed="left")


def _at_most(limit: int | None, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield batches; raise `TooManySamples` if they have more samples than the limit."""
    total = 0
    for batch in batches:
        total += int(batch["count"].cast(pl.Int64).sum()) if "count" in batch.columns else batch.height
        if limit is not None and total > limit:
            raise TooManySamples
        yield batch


def _in_order(rows: RawRows) -> RawRows:
    """Return the samples grouped by tag, so that normalising need not sort pages that are in order by strings."""
    samples = rows.samples
    if samples.is_empty() or any(samples[name].null_count() for name in KEY) or is_in_order(samples):
        return rows
    by_tag = samples.partition_by("tag", as_dict=True, maintain_order=True)
    parts = [by_tag[tag] for tag in sorted(by_tag)]
    in_time = [part if part["timestamp"].is_sorted() else part.sort("timestamp", maintain_order=True) for part in parts]
    return rows._replace(samples=pl.concat(in_time))
