"""What is read from both sides at a time: a range of time and some tags, few enough samples to be in memory. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from historian.times import EPOCH

DAY: Final = timedelta(days=1)
SHORTEST: Final = timedelta(seconds=1)
"""A range that is not halved any more, however many samples of one tag it has."""


@dataclass(frozen=True)
class Task:
    """A half-open range of time of some tags."""

    tags: tuple[str, ...]
    start: datetime
    end: datetime

    def halves(self) -> tuple[Task, ...]:
        """Return two tasks of half the tags or, of one tag, half the time; none if it is as small as can be."""
        if len(self.tags) > 1:
            middle = len(self.tags) // 2
            return replace(self, tags=self.tags[:middle]), replace(self, tags=self.tags[middle:])
        if self.end - self.start <= SHORTEST:
            return ()
        border = self.start + (self.end - self.start) / 2
        return replace(self, end=border), replace(self, start=border)


def days_between(start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the starts of days of UTC that lie inside a range, in order."""
    first = EPOCH + -((EPOCH - start) // DAY) * DAY
    yield from (first + number * DAY for number in range(-((first - end) // DAY)))


def tasks_of(tags: Sequence[str], start: datetime, end: datetime, starts: Sequence[datetime]) -> list[Task]:
    """Return the tasks of a range, in the order of time.

    Args:
        tags: the tags of all tasks.
        start: first instant.
        end: first instant after the range.
        starts: where the archive is best divided; days of UTC if empty.
    """
    inner = [each for each in starts or days_between(start, end) if start < each < end]
    return [Task(tuple(tags), first, last) for first, last in pairwise([start, *inner, end]) if first < last]
