"""When blocks are read: a grid of times for each interval. Pure; seconds on any clock that never jumps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta


def next_poll(last: int, *, elapsed: float, every: float) -> int:
    """Return the number of the next poll: the one that is due, or the one after `last`.

    Args:
        last: number of the last poll.
        elapsed: seconds since poll 0.
        every: seconds between polls.
    """
    return max(last + 1, int(elapsed // every))


@dataclass
class _Grid:
    """The polls of one interval: start + k * every. Late polls do not shift later ones."""

    every: timedelta
    start: float
    last: int = -1
    skipped: int = 0

    @property
    def next_at(self) -> float:
        return self.start + (self.last + 1) * self.every.total_seconds()

    def take(self, now: float) -> None:
        poll = next_poll(self.last, elapsed=now - self.start, every=self.every.total_seconds())
        self.skipped += poll - self.last - 1
        self.last = poll


class Schedule:
    """The grids of all intervals of a source."""

    def __init__(self, intervals: Iterable[timedelta], *, start: float) -> None:
        """Begin all grids at `start`, which is the time of the first poll."""
        self._grids = [_Grid(every, start) for every in sorted(set(intervals))]

    @property
    def next_at(self) -> float:
        """When the next poll is due."""
        return min(grid.next_at for grid in self._grids)

    @property
    def skipped(self) -> int:
        """Number of polls skipped because earlier ones took longer than their interval."""
        return sum(grid.skipped for grid in self._grids)

    def take(self, now: float) -> set[timedelta]:
        """Return the intervals that are due by `now`, and count their polls as made."""
        due = [grid for grid in self._grids if grid.next_at <= now]
        for grid in due:
            grid.take(now)
        return {grid.every for grid in due}
