"""How far the history of one node has been read, and what to request next. Keeps state, but does no I/O.

Servers page in different ways, and each of them has lost values for somebody: a page may be empty although more
follows, a continuation point may be lost, and a server may return as many values as it likes without a point although
there are more. So a page that may have been cut is followed by a request from its last time on, which is included:
values of one time may be on both sides of the border. Values that have been returned already are left out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
from asyncua import ua

from bridge.drivers.opcua.columns import NEVER, Columns, selected
from bridge.drivers.opcua.history_messages import Range
from historian.times import format_instant, from_micros
from historian.waveforms.timing import Integers

IDLE: Final = 100
"""Number of pages in a row without a new value after which reading goes on by time, without the continuation point."""
RESTARTS: Final = 5
"""Number of times in a row that reading may go on by time without finding a new value."""
MOST_AT_ONCE: Final = 1_000_000
"""Most values to request of a node whose values have the same time."""


@dataclass
class Paging:
    """What is known of a server's limits, and of how it divides its answers."""

    nodes: int
    """Most nodes in a request."""
    most: int
    """Most values of a node in a response."""
    gives_points: bool = False
    """Whether it has ever returned a continuation point; then it returns one wherever it cuts at a limit of its own."""
    longest: int = 0
    """Largest number of values in a page so far: a shorter page has not been cut at a limit of the server."""


class Reading:
    """Reads the history of one node from `start` up to, but not including, `end`."""

    def __init__(
        self,
        number: int,
        node: ua.NodeId,
        span: tuple[int, int],
        paging: Paging,
        *,
        newest_first: bool = False,
        only_one: bool = False,
    ) -> None:
        """Start at the beginning.

        Args:
            number: what the caller calls the node; handle of its values.
            node: the node.
            span: start and end, microseconds since the epoch.
            paging: what is known of the server; shared by all readings of a connection.
            newest_first: whether to read against the time.
            only_one: whether to stop after the first page with a value; its requests leave the other end open, which
                saves some servers from collecting everything.
        """
        self.number, self.node = number, node
        self.point = b""
        """Continuation point that the server keeps for us."""
        self.done = False
        self.failure = ""
        """Why the history could not be read completely."""
        self.untimed = 0
        """Number of values without any timestamp, which are left out."""
        (self._start, self._end), self._paging, self._backwards = span, paging, newest_first
        self._only_one, self._most = only_one, 1 if only_one else paging.most
        self._from = self._end - 1 if newest_first else self._start
        self._timestamps = ua.TimestampsToReturn.Source
        self._last: int | None = None
        self._seen: Counter[tuple[object, ...]] = Counter()
        """Values at the border that have been returned."""
        self._idle = self._restarts = self._cut_at = 0
        self._stepped = False
        self._crowded: int | None = None
        """A time of which the server has returned as many values as it returns in a page."""

    @property
    def wanted(self) -> Range:
        """What the next request has to ask for."""
        if self._only_one:
            near, far = (None, self._from) if self._backwards else (self._from, None)
            return Range(near, far, self._most, self._timestamps)
        return Range(self._from, self._start if self._backwards else self._end, self._most, self._timestamps)

    def take(self, point: bytes, columns: Columns) -> Columns:
        """Process a page; return its new values, in order.

        Args:
            point: continuation point; empty if there is none.
            columns: the values.
        """
        untimed = int(np.count_nonzero(columns.time == NEVER))
        if untimed and self.use_server_times():
            return Columns.empty(0)
        self.untimed += untimed
        before, size = self._last, len(columns.time)
        self._paging.longest = max(self._paging.longest, size)
        fresh = self._fresh(columns)
        advanced = self._last != before
        if advanced:
            self._idle = self._restarts = 0
        if self._are_beyond(columns) or (advanced and self._only_one):
            self.point, self.done = point, True
        elif point:
            self._continue(point, repeats=point == self.point and size > 0, advanced=advanced)
        else:
            self.point = b""
            (self._end_page if advanced else self._end_confirmation)(size)
        return fresh

    def restart(self, reason: str) -> None:
        """Go on by time, because the continuation point cannot be used; give up if that has not helped before."""
        self._restarts += 1
        if self._restarts > 1:  # more values may have the same time than a page holds
            self._widen()
        self.point, self._cut_at = b"", 0
        self._from = self._border()
        if self._restarts > RESTARTS:
            self.fail(reason)

    def narrow(self) -> bool:
        """Request half as many values from now on; return False if it are few already."""
        if self._most < 2:
            return False
        self._most //= 2
        self.point, self._from = b"", self._border()
        return True

    def use_server_times(self) -> bool:
        """Request the server's timestamps from now on; return False if they are requested already."""
        if self._timestamps is ua.TimestampsToReturn.Server:
            return False
        self._timestamps, self.point, self._from = ua.TimestampsToReturn.Server, b"", self._border()
        return True

    def fail(self, reason: str) -> None:
        """End with a failure."""
        self.failure, self.done = reason, True

    def _continue(self, point: bytes, *, repeats: bool, advanced: bool) -> None:
        self._paging.gives_points = True
        self.point, self._idle = point, 0 if advanced else self._idle + 1
        if not advanced and (repeats or self._idle >= IDLE):
            self.restart("the server returns the same continuation point, or empty pages, again and again")

    def _end_page(self, size: int) -> None:
        """Decide after a page with new values and without a continuation point whether it was the last one."""
        if self._crowded is not None:
            at = format_instant(from_micros(self._crowded))
            self.failure = (
                f"the server returns no more than {self._cut_at:,} values of one time; some of {at} are missing"
            )
        cut = size >= self._most or (not self._paging.gives_points and size >= self._paging.longest)
        self._from, self._cut_at, self.done = self._border(), size, not cut
        self._stepped, self._crowded = False, None

    def _end_confirmation(self, size: int) -> None:
        """Decide after a request from the last time on that has found nothing new."""
        if self._cut_at and size >= self._most and self._most < MOST_AT_ONCE:
            self._widen()  # all of the page has the same time
        elif self._cut_at and size >= self._cut_at and not self._stepped:
            self._stepped, self._crowded = True, self._last if size > 1 else None
            self._from += -2 if self._backwards else 1
        else:
            self.done = True

    def _widen(self) -> None:
        self._most = min(4 * self._most, MOST_AT_ONCE)

    def _border(self) -> int:
        """Return from which time on to read again; times are cut to microseconds, downwards."""
        if self._last is None:
            return self._end - 1 if self._backwards else self._start
        return self._last + 1 if self._backwards else self._last

    def _fresh(self, columns: Columns) -> Columns:
        """Return the values in the range that have not been returned."""
        time = columns.time
        chosen = (time >= self._start) & (time < self._end)
        seen = self._seen.copy()
        for place in self._at_border(time).tolist() if seen else ():
            key = _key(columns, place)
            if seen[key]:
                seen[key] -= 1
                chosen[place] = False
        fresh = selected(columns, chosen)
        self._remember(fresh)
        return fresh

    def _remember(self, fresh: Columns) -> None:
        if not len(fresh.time):
            return
        reached = int(fresh.time[-1])  # not the largest, which a value out of order may have
        if self._last is None or (reached < self._last if self._backwards else reached > self._last):
            self._last, self._seen = reached, Counter()
        self._seen.update(_key(fresh, place) for place in self._at_border(fresh.time).tolist())

    def _at_border(self, time: Integers) -> Integers:
        """Return the indices of the times that a request from the border on includes once more."""
        last = NEVER if self._last is None else self._last
        return np.flatnonzero((time >= last) & (time <= last + 1) if self._backwards else time == last)

    def _are_beyond(self, columns: Columns) -> bool:
        """Return whether the server has gone on after the end of the range, as some do."""
        time = columns.time
        return len(time) > 0 and bool(np.all(time < self._start if self._backwards else time >= self._end))


def _key(columns: Columns, place: int) -> tuple[object, ...]:
    array = columns.array.get(place)
    content = columns.text.get(place) if array is None else array.tobytes()
    number = columns.number[place].tobytes() if columns.is_number[place] else None
    return int(columns.time[place]), int(columns.status[place]), number, content
