"""Time-weighted statistics of process tags.

Historians store changes, so the plain mean of the samples is wrong. Here a Good value holds until the tag's next
sample, and at most for `max_staleness`; a sample that is not Good, or has no number, ends the hold. Nothing is
interpolated, because a line to the next sample would use the future. A window [end - length, end) is valid if
values held for at least 80 % of it; otherwise every feature except `count` and `good_share` is undefined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from features.define.reasons import Flags
from features.define.spec import Floats, ratio
from features.windows.stretches import Booleans, Integers
from features.windows.tiling import Windows, counters

LEAST_GOOD_SHARE: Final = 0.8
UNKNOWN: Final[Any] = {"undefined": "good_share < 0.8", "reasons": ("bad_quality", "stale")}
"""Arguments for the spec of a feature that is defined only for valid windows."""
_MICROSECONDS_PER_HOUR: Final = 3_600_000_000
_NEVER: Final = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Holds:
    """The intervals in which a tag held its values; ascending, without overlap, in microseconds since the epoch."""

    start: Integers
    """[holds]"""
    stop: Integers
    """[holds]"""
    values: Floats
    """[holds]"""

    def known_before(self, instants: Integers) -> Integers:
        """Return [instants] the total time in microseconds for which any value held before each instant."""
        if not len(self.start):
            return np.zeros_like(instants)
        begun = np.searchsorted(self.start, instants)
        held = np.concatenate([[0], np.cumsum(self.stop - self.start)])[begun]
        yet_to_come = np.where(begun > 0, self.stop[begun - 1] - instants, 0)
        return held - np.maximum(yet_to_come, 0)


@dataclass(frozen=True)
class HeldWindows:
    """A batch of windows, and the pieces of time in which a value held in them, in order."""

    count: Integers
    """[windows] number of Good samples in each window."""
    good_share: Floats
    """[windows] share of the window, 0 to 1, in which a value held."""
    pieces: Integers
    """[windows] number of pieces of each window; 0 if it is not valid."""
    values: Floats
    """[pieces]"""
    start: Floats
    """[pieces] start of each piece relative to the window's end, in hours; negative."""
    stop: Floats
    """[pieces] stop of each piece relative to the window's end, in hours; start < stop <= 0."""
    length: float
    """Length of a window in hours."""

    @cached_property
    def weights(self) -> Floats:
        """[pieces] duration of each piece in hours."""
        return self.stop - self.start

    @cached_property
    def hours(self) -> Floats:
        """[windows] total duration of the pieces of each window, in hours."""
        return self.each(np.add, self.weights)

    @cached_property
    def mean(self) -> Floats:
        """[windows] time-weighted mean of each window."""
        return ratio(self.each(np.add, self.weights * self.values), self.hours)

    @cached_property
    def variation(self) -> Floats:
        """[windows] largest minus smallest value of each window."""
        return self.each(np.maximum, self.values) - self.each(np.minimum, self.values)

    @cached_property
    def centred(self) -> Floats:
        """[pieces] value of each piece minus the mean of its window."""
        return self.values - np.repeat(self.mean, self.pieces)

    @cached_property
    def changed(self) -> Booleans:
        """[pieces] whether the value differs from that of the previous piece in the same window."""
        differs = np.append(False, self.values[1:] != self.values[:-1])[: len(self.values)]
        differs[(np.cumsum(self.pieces) - self.pieces)[self.pieces > 0]] = False
        return differs

    def each(self, ufunc: np.ufunc, values: Floats) -> Floats:
        """Reduce values [pieces] to [windows] with the ufunc, over the pieces of each window; NaN if it has none."""
        known = self.pieces > 0
        result = np.full(len(self.pieces), np.nan)
        if known.any():
            result[known] = ufunc.reduceat(values, (np.cumsum(self.pieces) - self.pieces)[known])
        return result


def holds(times: Integers, values: Floats, usable: Booleans, *, staleness: int) -> Holds:
    """Return the holds of samples: each usable one holds until the next sample, at most for `staleness`.

    Args:
        times: [samples] microseconds since the epoch, ascending.
        values: [samples] value of each sample.
        usable: [samples] whether each sample is Good and has a value.
        staleness: longest time for which a sample holds, in microseconds.
    """
    stop = np.minimum(np.append(times[1:], _NEVER), times + staleness)
    return Holds(times[usable], stop[usable], values[usable])


def process_windows(times: Integers, held: Holds, lost: Holds, end: Integers, *, length: int, resume: int) -> Windows:
    """Return the windows, of those that end at `end`, that samples or holds fall into.

    Args:
        times: [samples] microseconds since the epoch, ascending.
        held: the holds of these samples.
        lost: the time for which unusable samples replaced a value.
        end: [windows] ends of windows, in microseconds since the epoch, ascending.
        length: length of a window in microseconds.
        resume: see `Windows.resume`.
    """
    first, stop = np.searchsorted(times, [end - length, end])
    known, bad = (each.known_before(end) - each.known_before(end - length) for each in (held, lost))
    listed = (stop > first) | (known > 0)
    little = known < LEAST_GOOD_SHARE * length
    faults: Flags = {"bad_quality": (little & (bad > 0))[listed], "stale": (little & (known + bad < length))[listed]}
    return Windows(end[listed], first[listed], (stop - first)[listed], faults, resume)


def held_windows(held: Holds, end: Integers, valid: Booleans, *, length: int) -> HeldWindows:
    """Return the pieces of time in which values held in windows, without those of invalid windows.

    Args:
        held: the holds of the tag.
        end: [windows] ends, in microseconds since the epoch, ascending.
        valid: [windows] whether each window is valid.
        length: length of a window in microseconds.
    """
    start = end - length
    low, high = np.searchsorted(held.stop, start, side="right"), np.searchsorted(held.start, end)
    pieces = np.where(valid, high - low, 0)
    window, piece = np.repeat(np.arange(len(end)), pieces), np.repeat(low, pieces) + counters(pieces)
    return HeldWindows(
        count=high - np.searchsorted(held.start, start),
        good_share=(held.known_before(end) - held.known_before(start)) / length,
        pieces=pieces,
        values=held.values[piece],
        start=np.maximum(held.start[piece] - end[window], -length) / _MICROSECONDS_PER_HOUR,
        stop=np.minimum(held.stop[piece] - end[window], 0) / _MICROSECONDS_PER_HOUR,
        length=length / _MICROSECONDS_PER_HOUR,
    )


def joined_windows(parts: Sequence[HeldWindows]) -> HeldWindows:
    """Return the windows of several batches of the same length, one batch after the other; there must be one."""
    if len(parts) == 1:
        return parts[0]
    return HeldWindows(
        np.concatenate([each.count for each in parts]),
        np.concatenate([each.good_share for each in parts]),
        np.concatenate([each.pieces for each in parts]),
        np.concatenate([each.values for each in parts]),
        np.concatenate([each.start for each in parts]),
        np.concatenate([each.stop for each in parts]),
        parts[0].length,
    )


def mean(batch: HeldWindows) -> Floats:
    """Return [windows] the time-weighted mean ∫v dt/∫dt."""
    return batch.mean


def minimum(batch: HeldWindows) -> Floats:
    """Return [windows] the lowest value that held."""
    return batch.each(np.minimum, batch.values)


def maximum(batch: HeldWindows) -> Floats:
    """Return [windows] the highest value that held."""
    return batch.each(np.maximum, batch.values)


def standard_deviation(batch: HeldWindows) -> Floats:
    """Return [windows] the time-weighted standard deviation sqrt(∫(v - mean)² dt/∫dt)."""
    return np.sqrt(ratio(batch.each(np.add, batch.weights * batch.centred**2), batch.hours))


def last(batch: HeldWindows) -> Floats:
    """Return [windows] the value that held last."""
    result = np.full(len(batch.pieces), np.nan)
    known = batch.pieces > 0
    result[known] = batch.values[np.cumsum(batch.pieces)[known] - 1]
    return result


def slope(batch: HeldWindows) -> Floats:
    """Return [windows] the slope per hour of the least-squares line, ∫(t - t̄)(v - mean) dt/∫(t - t̄)² dt."""
    middle = (batch.start + batch.stop) / 2
    centre = ratio(batch.each(np.add, batch.weights * middle), batch.hours)
    middle = middle - np.repeat(centre, batch.pieces)
    rise = batch.each(np.add, batch.weights * middle * batch.centred)
    return ratio(rise, batch.each(np.add, batch.weights * (middle**2 + batch.weights**2 / 12)))


def count(batch: HeldWindows) -> Integers:
    """Return [windows] the number of Good samples in each window."""
    return batch.count


def good_share(batch: HeldWindows) -> Floats:
    """Return [windows] the share of the window in which a value held, ∫dt/length."""
    return batch.good_share


def since_change(batch: HeldWindows) -> Floats:
    """Return [windows] seconds from the last change of the value to the window's end; its length if none changed."""
    return -3600 * batch.each(np.maximum, np.where(batch.changed, batch.start, -batch.length))
