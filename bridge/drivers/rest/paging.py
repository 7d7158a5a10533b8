"""Paging by time: where no cursor exists, the next page begins at the last time of the one before. Pure.

That time is included again, because several samples may have it and the page may have ended between them. "The last
time and a millisecond" loses the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from historian.plant.connections import Tag

MOST_AT_ONCE: Final = 150_000
"""Most samples to request of a tag whose samples have the same time; PI Web API's default limit."""


class Reading:
    """How far the history of one tag has been read."""

    def __init__(self, tag: Tag, start: str, most: int) -> None:
        """Start at a time, as the server writes times; request `most` samples a page."""
        self.tag, self.start, self.most = tag, start, most
        self.done = False
        self.failure = ""
        """Why the history could not be read completely."""
        self._usual = most
        self._seen = 0
        """Number of samples of the time `start` that have been returned."""

    def take(self, stamps: pl.Series, *, is_cut: bool) -> int:
        """Process the times of a page, in order; return how many of its first samples have been returned before.

        Args:
            stamps: texts, as the server writes times.
            is_cut: whether more may follow.
        """
        repeated = min(self._seen, int((stamps.head(self._seen) == self.start).sum())) if self._seen else 0
        self.done = not is_cut
        if self.done or stamps.is_empty():
            return repeated
        last = stamps[-1]
        at_last = int((stamps == last).sum())
        if at_last < len(stamps) or last != self.start:
            self.start, self.most = last, self._usual
        if at_last == len(stamps):
            self._widen(last)
        self._seen = at_last
        return repeated

    def fail(self, reason: str) -> None:
        """End with a failure."""
        self.failure, self.done = reason, True

    def _widen(self, last: str) -> None:
        """Request more, because all samples of a page have the same time."""
        if self.most >= MOST_AT_ONCE:
            self.fail(f"more than {self.most:,} samples have the time {last}, and the server returns no more at once")
        self.most = min(4 * self.most, MOST_AT_ONCE)


def next_group(waiting: Sequence[Reading], size: int) -> tuple[list[Reading], list[Reading]]:
    """Divide readings into those of the next request, which want the same, and the others."""
    wanted, group, others = (waiting[0].start, waiting[0].most), list[Reading](), list[Reading]()
    for each in waiting:
        (group if len(group) < size and (each.start, each.most) == wanted else others).append(each)
    return group, others
