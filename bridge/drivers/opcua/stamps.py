"""When the elements of an array were sampled: which of them its timestamp belongs to, and how exact that is.

A sensor samples without a pause, but a server stamps its arrays with a clock of milliseconds, when it gets round to it.
Taken at their word, half of the arrays of a steady signal would overlap the one before, and half would leave a gap.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Stamp = Literal["first", "last"]
"""The element of an array to which its timestamp belongs."""

JITTER: Final = 0.25
"""Largest difference between an array's timestamp and the end of the one before that counts as jitter, as a share of
the array's duration. A lost array makes four times as much."""
MOST_US: Final = 50_000
"""Microseconds that count as jitter at most, however long the arrays are. Clocks of Windows advance by 16 ms."""
_SLEW: Final = 0.45
"""Largest step towards the timestamp, in periods: below half a period, so that the arrays still join."""
_STEADY: Final = 0.4
"""Difference from the timestamp up to which no step is taken, in periods."""
_BAND: Final = 1.5
"""The same in mean changes of the distance between two timestamps: what jitter alone seldom exceeds."""
_MEMORY: Final = 16
"""Number of arrays over which this mean is taken."""


class _Array(NamedTuple):
    stamp: int
    """Its timestamp, as given."""
    begin: float
    end: float
    """The time that its first element was given, and the time just after its last one, in microseconds."""
    jitter: float = 0.0
    """Mean change of the distance between two timestamps, in microseconds."""


class ArrayClock:
    """Places each array of a signal at the end of the one before if its timestamp differs by no more than jitter.

    A difference beyond that of most timestamps is the drift of a clock. It is followed by less than half a period with
    each array, so that windows still join the arrays. Arrays without a step in between join exactly, and the lake makes
    one stretch of them when it merges its files.
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
        period, last, begin, jitter = 1e6 / sample_rate, self._last.get(tag), float(stamp), 0.0
        if last is not None:
            error, jitter = stamp - last.end, last.jitter
            if stamp == last.stamp:  # the server repeats its value, as it does when a subscription begins
                begin = last.begin
            elif abs(error) <= max(min(JITTER * count * period, MOST_US), period):
                jitter += (abs(stamp - last.stamp - (last.end - last.begin)) - jitter) / _MEMORY
                begin = last.end + _step(error, period, jitter)
        self._last[tag] = _Array(stamp, begin, begin + count * period, jitter)
        return round(begin)


def _step(error: float, period: float, jitter: float) -> float:
    """Return by how much the time moves towards a timestamp; all in microseconds."""
    is_steady = abs(error) <= max(_STEADY * period, _BAND * jitter)
    return 0.0 if is_steady else min(max(error, -_SLEW * period), _SLEW * period)
