"""The time of each value: the source's, the server's, or that of its arrival; wrong clocks cost no value. Pure.

| the clock that is to stamp a tag's values | is used instead |
|---|---|
| gives no time | the server's time, else that of arrival |
| is more than ten years behind or a day ahead | the same; the tag is reported |
| stands still: another value or status with the time of the one before | the same, at least a microsecond later |

Without this, the values of a clock that stands still overwrite one another, and those of one that was reset are
refused. A status that changes while the value's source keeps its time is the most frequent case, and no fault of a
clock: a tag is reported only after `FROZEN` changes in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridge.drivers.opcua.columns import NEVER, Columns
from bridge.drivers.opcua.driver import Timestamp
from historian.waveforms.timing import Booleans, Integers

FROZEN: Final = 3
"""Changes in a row with one time after which a clock counts as standing still."""
_DAY_US: Final = 86_400_000_000
BEHIND_US: Final = 3_650 * _DAY_US
"""How far a time may lie before its arrival, in microseconds; live contracts refuse what is older."""
AHEAD_US: Final = _DAY_US
_ELEMENTS: Final = 16
"""Number of elements by which two arrays with one time are compared."""
_KINDS: Final[tuple[Timestamp, ...]] = ("source", "server", "received")


class DeviceClocks:
    """Times the values of one connection's channels, and remembers the newest of each."""

    def __init__(self, timestamps: Sequence[Timestamp]) -> None:
        """Start without a memory.

        Args:
            timestamps: whose clock stamps the values of each channel.
        """
        size = len(timestamps)
        self._kind = np.array([_KINDS.index(each) for each in timestamps], np.int8)
        self._given = np.full(size, NEVER)
        """The newest time of each channel as its clock gave it."""
        self._used = np.full(size, NEVER)
        """The newest time that was used instead."""
        self._content = np.zeros((size, 2), np.int64)
        """The newest value of each channel, and its status."""
        self._unchanged = np.zeros(size, np.int64)
        self._absurd = np.zeros(size, np.bool_)

    def times(self, columns: Columns, received: Integers) -> Integers:
        """Return the time of each value, in microseconds since the epoch.

        Args:
            columns: the values.
            received: [n] when each arrived.
        """
        handle = columns.handle.astype(np.int64)
        kind = self._kind[handle]
        sane = np.where(_is_plausible(columns.server, received), columns.server, received)
        wanted = np.where(kind == 0, columns.source, np.where(kind == 1, columns.server, received))
        plausible = _is_plausible(wanted, received)
        self._absurd[handle[wanted != NEVER]] = ~plausible[wanted != NEVER]
        given = np.where(plausible, wanted, sane)
        return self._distinct(handle, given, np.where(kind == 0, sane, received), _contents(columns))

    def absurd(self) -> Integers:
        """Return the numbers of the channels whose newest time was absurd."""
        return np.flatnonzero(self._absurd)

    def frozen(self) -> Integers:
        """Return the numbers of the channels whose clock stands still, although it should stamp their values."""
        return np.flatnonzero((self._unchanged >= FROZEN) & (self._kind != _KINDS.index("received")))

    def _distinct(self, handle: Integers, given: Integers, instead: Integers, content: NDArray[np.int64]) -> Integers:
        """Return the times, others where a channel's value or status changes and its time does not."""
        order = np.argsort(handle, kind="stable")
        by_handle, by_time = handle[order], given[order]
        is_first = np.diff(by_handle, prepend=-1) != 0
        is_same = by_time == np.where(is_first, self._given[by_handle], np.roll(by_time, 1))
        self._unchanged[by_handle[~is_same]] = 0
        times = given
        if is_same.any():  # that is rare
            by_content = content[order]
            before = np.where(is_first[:, None], self._content[by_handle], np.roll(by_content, 1, axis=0))
            repeats = is_same & (by_content != before).any(axis=1)
            places = order[repeats]
            times = given.copy()
            times[places] = self._later(handle[places], given[places], instead[places])
            np.add.at(self._unchanged, handle[places], 1)
        self._given[handle], self._content[handle] = given, content  # of a channel's values, the last one counts
        return times

    def _later(self, handle: Integers, given: Integers, instead: Integers) -> Integers:
        """Return times that increase within each channel, in order of the channels, and lie after all used before."""
        least = np.maximum(np.maximum(instead, given + 1), self._used[handle] + 1)
        place = np.arange(len(handle))
        frame = pl.DataFrame({"handle": handle, "ahead": least - place})
        later: Integers = frame.select(pl.col("ahead").cum_max().over("handle")).to_series().to_numpy() + place
        np.maximum.at(self._used, handle, later)
        return later


def _is_plausible(times: Integers, received: Integers) -> Booleans:
    plausible: Booleans = (times != NEVER) & (times >= received - BEHIND_US) & (times <= received + AHEAD_US)
    return plausible


def _contents(columns: Columns) -> NDArray[np.int64]:
    """Return numbers that differ where values or their status do."""
    found = np.zeros((len(columns.handle), 2), np.int64)
    found[:, 0] = columns.number.view(np.int64)
    found[:, 1] = columns.status
    for place, text in columns.text.items():
        found[place, 0] = hash(text)
    for place, array in columns.array.items():
        found[place, 0] = hash((len(array), array[:_ELEMENTS].tobytes()))
    return found
