"""When the elements of an array were sampled: which of them its timestamp belongs to, and how exact that is.

A sensor samples without a pause, but a server stamps its arrays with a clock of milliseconds, when it gets round to it.
Taken at their word, half of the arrays of a steady signal would overlap the one before, and half would leave a gap.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Stamp = Literal["first", "last"]
"""The element of an array to which its timestamp belongs."""

JITTER: Final = 0.25
"""Largest difference between an array's timestamp and the end of the one before, as a share of the array's duration,
that counts as jitter. A lost array makes four times as much."""
_SLEW: Final = 0.45
"""Largest step towards the timestamp, in periods: below half a period, so that the arrays still join."""


class _Array(NamedTuple):
    stamp: int
    """Its timestamp, as given."""
    begin: float
    end: float
    """The time that its first element was given, and the time just after its last one, in microseconds."""


class ArrayClock:
    """Gives arrays of a signal that join within the jitter of their timestamps the times at which they join exactly.

    A lasting difference is a clock that drifts: it is followed by half a period an array, which all but the coarsest
    clocks exceed.
    """

    def __init__(self) -> None:
        self._last: dict[str, _Array] = {}

    def begin(self, tag: str, stamp: int, *, count: int, sample_rate: float) -> int:
        """Return the time of the first element of the next array of a tag, in microseconds since the epoch.

        Args:
            tag: the tag.
            stamp: time of the first element by the array's timestamp.
            count: number of elements.
            sample_rate: Hz.
        """
        period, last, begin = 1e6 / sample_rate, self._last.get(tag), float(stamp)
        if last is not None:
            error = stamp - last.end
            if stamp == last.stamp:  # the server repeats its value, as it does when a subscription begins
                begin = last.begin
            elif abs(error) <= max(JITTER * count * period, period):
                begin = last.end + min(max(error, -_SLEW * period), _SLEW * period)
        self._last[tag] = _Array(stamp, begin, begin + count * period)
        return round(begin)
