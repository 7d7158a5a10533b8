"""The archive over a REST interface that returns the samples of tags by time: grouping, paging, ends and problems.

What is particular to a historian is its `History`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import polars as pl

from bridge.drivers.protocols import Extent, Page
from bridge.drivers.raw_rows import RawRows
from bridge.drivers.rest.paging import Reading, next_group
from bridge.drivers.slicing import starts_every
from historian.errors import SourceError
from historian.logs import get_logger
from historian.plant.connections import ConnectionConfig, Tag
from historian.samples import SCHEMA
from historian.times import EPOCH

log = get_logger(__name__)

ANSWER: Final = pl.Schema({"stamp": pl.String(), **SCHEMA, "reason": pl.String(), "detail": pl.String()})
"""A sample a row as a historian answers it: `stamp` is its time as the server writes it, and `reason` says why it can
be no sample; null if it is one."""


class History(Protocol):
    """The samples of one historian."""

    earliest: str
    """A time before every sample, as the server writes times."""
    latest: str
    """A time after every sample."""
    finest: timedelta
    """Finest difference between times that it understands."""

    async def open(self) -> None:
        """Connect. Raises `NotConnected` if that cannot be done now, `SourceError` if the login is refused."""

    async def close(self) -> None:
        """Release the connection; may be called twice."""

    async def missing(self, tags: Sequence[Tag]) -> Mapping[str, str]:
        """Return, for each tag that cannot be read, why. Raises `NotConnected`, `SourceError`."""
        ...

    async def page(self, tags: Sequence[Tag], start: str, end: str, most: int) -> Sequence[pl.DataFrame | str]:
        """Return the first samples of tags from `start` on, each with columns of `ANSWER`, or why there are none.

        Args:
            tags: the tags.
            start: where to begin, included.
            end: where to end; before `start`, the newest samples come first.
            most: most samples of a tag.

        Raises:
            NotConnected: the connection is lost.
            SourceError: nothing can be read.
        """
        ...


@dataclass(frozen=True)
class Sizes:
    """How much is requested at a time."""

    samples: int
    """Most samples of a tag in a page."""
    tags: int
    """Most tags in a request."""
    slice: timedelta
    """Length of the slices of a backfill."""


class RestArchive:
    """An `Archive` over a `History`."""

    def __init__(self, connection: ConnectionConfig, history: History, sizes: Sizes) -> None:
        self._name = connection.name
        self._tags = connection.tags
        self._history = history
        self._sizes = sizes
        self._missing: dict[str, str] = {}
        self._merged = 0
        """Number of samples whose time, cut to microseconds, is that of the one before."""

    async def open(self) -> None:
        """See `Archive.open`."""
        await self._history.open()

    async def close(self) -> None:
        """See `Archive.close`."""
        await self._history.close()

    async def extents(self) -> Mapping[str, Extent]:
        """See `Archive.extents`: from the oldest and the newest sample of each tag."""
        self._missing = dict(await self._history.missing(self._tags))
        ends = (self._history.earliest, self._history.latest)
        first, last = await self._times(*ends), await self._times(*reversed(ends))
        for tag in self._tags:
            if tag.name not in first.keys() & last.keys():
                self._missing.setdefault(tag.name, "the server has no samples of it")
        instant = timedelta(microseconds=1)
        return {name: (first[name], last[name] + instant) for name in first if name in last}

    async def problems(self) -> Sequence[str]:
        """See `ReportsProblems.problems`: the tags that the historian does not have, or does not let us read."""
        listed = [(tag, self._missing[tag.name]) for tag in self._tags if tag.name in self._missing]
        return [f"archive {self._name}: {_described(tag, reason)}" for tag, reason in listed]

    async def slice_starts(self, start: datetime, end: datetime) -> Sequence[datetime]:
        """See `ProposesSlices.slice_starts`."""
        return starts_every(self._sizes.slice, start, end)

    async def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`; a page is one answer.

        Raises:
            SourceError: the samples of a tag could not be read completely; everything readable was yielded before.
        """
        finest = self._history.finest
        begin, stop = (
            _written(EPOCH + (start - EPOCH) // finest * finest),
            _written(EPOCH - (EPOCH - end) // finest * finest),
        )
        wanted = [tag for tag in self._tags if tag.name in set(tags) - self._missing.keys()]
        readings = [Reading(tag, begin, self._sizes.samples) for tag in wanted]
        waiting = list(readings)
        while waiting:
            group, waiting = next_group(waiting, self._sizes.tags)
            found = await self._answers(group, stop)
            yield Page(*_divided(found, start, end, origin=f"{self._name}: {group[0].start} to {stop}"))
            waiting = [each for each in group if not each.done] + waiting
        if self._merged:
            log.warning("samples lie within one microsecond; the store keeps one of each", number=self._merged)
            self._merged = 0
        if failures := [_described(each.tag, each.failure) for each in readings if each.failure]:
            listed = "\n".join(failures)
            raise SourceError(f"archive {self._name}: what could be read was read, but not\n{listed}")

    async def _answers(self, group: Sequence[Reading], stop: str) -> pl.DataFrame:
        """Request the next page of some tags; return their new samples: columns of `ANSWER`."""
        tags, most = [each.tag for each in group], group[0].most
        answers = await self._history.page(tags, group[0].start, stop, most)
        total = sum(len(answer) for answer in answers if isinstance(answer, pl.DataFrame))
        found = [ANSWER.to_frame()]
        for reading, answer in zip(group, answers, strict=True):
            if isinstance(answer, str):
                reading.fail(answer)
            else:
                # Whether the limit holds for each tag or for all of them together, no manual says.
                repeated = reading.take(answer["stamp"], is_cut=total >= most)
                found.append(answer.slice(repeated))
        together = pl.concat(found)
        same_time = pl.struct("tag", "timestamp") == pl.struct("tag", "timestamp").shift()
        self._merged += together.filter(same_time, pl.col("stamp") != pl.col("stamp").shift()).height
        return together

    async def _times(self, start: str, end: str) -> dict[str, datetime]:
        """Return the time of the first sample of each tag between two times, in their direction."""
        tags = [tag for tag in self._tags if tag.name not in self._missing]
        found: dict[str, datetime] = {}
        for tag in tags:
            [answer] = await self._history.page([tag], start, end, 1)
            if isinstance(answer, str):
                self._missing[tag.name] = answer
            elif isinstance(at := answer["timestamp"].min(), datetime):
                found[tag.name] = at
        return found


def _written(at: datetime) -> str:
    """Return a time as ISO 8601 in UTC: with milliseconds, or microseconds if it has any."""
    return at.isoformat(timespec="microseconds" if at.microsecond % 1000 else "milliseconds").replace("+00:00", "Z")


def _divided(answer: pl.DataFrame, start: datetime, end: datetime, *, origin: str) -> tuple[RawRows, str, pl.DataFrame]:
    """Divide an answer into samples of the range and rejected rows; servers include the end."""
    sound = answer.filter(pl.col("reason").is_null(), pl.col("timestamp").is_between(start, end, closed="left"))
    rejected = answer.filter(pl.col("reason").is_not_null()).drop("stamp")
    return RawRows(sound.select(SCHEMA.names())), origin, rejected


def _described(tag: Tag, reason: str) -> str:
    return f"{' '.join(tag.listed)}: {tag.name} ({tag.address}): {reason}"
