"""The intervals that a live session covers: those for which the bridge has every value there was to read.

Only a source that reports every change covers anything: between two polls, or between two samples that a server takes,
a value may have come and gone. Coverage starts when the session begins, because a source timestamp can be anything.
Nothing was missed between two samples of a tag if their timestamps are as far apart as their arrivals. If they are not,
a clock was set or something was lost, and nothing is covered across that step. A stretch of a waveform covers the time
from its first to its last sample, whatever came before it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from bridge.drivers.raw_rows import RawRows
from bridge.ingest.tag_numbers import Spans, TagNumbers, instants
from historian.intervals import INTERVALS, union
from historian.quality import OVERFLOW
from historian.times import micros
from historian.waveforms.timing import Integers

TOLERANCE: Final = timedelta(seconds=5)
"""Longest time by which the interval between two samples may exceed that between their arrivals, because of delays."""

_TOLERANCE_US: Final = TOLERANCE // timedelta(microseconds=1)
MARKED_EVERY: Final = timedelta(seconds=10)
"""Time between two marks of coverage. A mark has a row a tag and is joined with what is covered already, so that one
with every batch would take more time than the samples."""


class Marks:
    """Collects the intervals that a source has covered since its last mark."""

    def __init__(self, now: datetime) -> None:
        self._parts: list[pl.DataFrame] = []
        self._since: int | None = None
        self._taken = now

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been covered."""
        return not self._parts

    def add(self, covered: pl.DataFrame) -> None:
        """Add intervals, columns of `INTERVALS`."""
        if covered.height:
            self._parts.append(covered)

    def rely_on(self, batch: int | None) -> None:
        """Name the batch that has samples of these intervals; the first one counts."""
        self._since = batch if self._since is None else self._since

    def is_due(self, now: datetime) -> bool:
        """Return whether it is time for a mark."""
        return not self.is_empty and not timedelta(0) <= now - self._taken < MARKED_EVERY

    def take(self, now: datetime) -> tuple[pl.DataFrame, int | None]:
        """Return the intervals, joined, and the first batch that they rely on; forget both."""
        taken = union(pl.concat(self._parts)), self._since
        self._parts, self._since, self._taken = [], None, now
        return taken


class SessionCoverage:
    """Derives coverage from the samples of one session, in the order in which they arrive."""

    def __init__(self, tags: Collection[str], *, began: datetime) -> None:
        """Start a session.

        Args:
            tags: the tags for which the source reports every change.
            began: the earliest time at which a report could arrive.
        """
        self._numbers = TagNumbers(sorted(tags))
        self._began = micros(began)
        # Treated as if each tag had been read when the session began: every change is reported from then on.
        self._last = np.full(len(tags), self._began)
        self._arrived = np.full(len(tags), self._began)
        self._seen = np.zeros(len(tags), np.bool_)

    def extend(self, rows: RawRows, *, now: datetime) -> pl.DataFrame:
        """Return the intervals that raw rows cover in addition.

        Args:
            rows: raw rows, those of each kind in the order in which they arrived.
            now: time of arrival.

        Returns:
            Columns of `INTERVALS`.
        """
        if not len(self._last) or rows.is_empty:
            return INTERVALS.to_frame()
        spans, arrival = Spans(rows, self._numbers), micros(now)
        # A tag's first report may repeat an old value with its old timestamp; use the start of the session instead.
        old = ~self._seen[spans.tag] & spans.head & (spans.last < self._began)
        at, until = (np.where(old, self._began, each) for each in (spans.first, spans.last))
        last, waited = self._before(spans, until, arrival)
        lost = (spans.quality & OVERFLOW) == OVERFLOW
        sound = ~(lost | old) & (last >= self._began) & (at >= self._began)
        in_time = (at <= arrival + _TOLERANCE_US) & (at - last <= waited + _TOLERANCE_US) & (at >= last)
        joined = sound & in_time
        within = (until > at) & (until >= self._began) & (until <= arrival + _TOLERANCE_US)
        self._remember(spans.tag, until, arrival)
        tag = np.concatenate((spans.tag[joined], spans.tag[within]))
        start = np.concatenate((last[joined], np.maximum(at[within], self._began)))
        return self._union(tag, start, np.concatenate((at[joined], until[within])) + 1)

    def _before(self, spans: Spans, until: Integers, arrival: int) -> tuple[Integers, Integers]:
        """Return [rows] the time of the sample before each row, and how long after it the row arrived."""
        order = np.argsort(spans.tag, kind="stable")
        shifted = np.empty_like(until)
        shifted[order[1:]] = until[order[:-1]]
        last = np.where(spans.head, self._last[spans.tag], shifted)
        return last, np.where(spans.head, arrival - self._arrived[spans.tag], 0)

    def _remember(self, tag: Integers, until: Integers, arrival: int) -> None:
        self._last[tag] = until  # of several rows of a tag, NumPy keeps the last one
        self._arrived[tag] = arrival
        self._seen[tag] = True

    def _union(self, tag: Integers, start: Integers, end: Integers) -> pl.DataFrame:
        """Join the intervals of each tag that overlap or touch."""
        instant, rank = np.unique(np.concatenate((start, end)), return_inverse=True)
        shift = tag * len(instant)  # so that the ranks of different tags are apart
        order = np.argsort(rank[: len(tag)] + shift, kind="stable")
        first = (rank[: len(tag)] + shift)[order]
        reach = np.maximum.accumulate((rank[len(tag) :] + shift)[order])
        heads = np.flatnonzero(first > np.append(-1, reach)[:-1])
        tails = np.append(heads[1:], len(tag))[: len(heads)] - 1
        of = tag[order][heads]
        columns = {
            "tag": self._numbers.names(of),
            "start": instants(start[order][heads]),
            "end": instants(instant[reach[tails] - of * len(instant)]),
        }
        return pl.DataFrame(columns, schema=INTERVALS)
