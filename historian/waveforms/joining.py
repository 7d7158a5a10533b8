"""Stretches that meet: repeats and contradictions inside one batch, and which of several writes counts."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from historian.samples import is_in_order
from historian.waveforms.batch import REQUIRED, WAVEFORM_SCHEMA, WaveformBatch, checked_rows, waveform_batch
from historian.waveforms.cutting import parts
from historian.waveforms.encoding import decode
from historian.waveforms.timing import ROUNDING, SECOND, Booleans, Integers, overlaps, starts_us

_ORDER: Final = ("tag", "timestamp")
_TOLERANCE: Final = 1.25 * ROUNDING
"""Microseconds: a little more than what the check of a batch allows, so that joined stretches stay whole."""


class NormalisedWaveforms(NamedTuple):
    """Stretches after `normalise_waveforms`: what can be stored, and what cannot. The rest belongs in quarantine."""

    batch: WaveformBatch
    conflicts: pl.DataFrame
    """Stretches that overlap one that begins earlier and have other values there; columns of a batch."""
    incomplete: pl.DataFrame
    """Stretches that lack a tag, a timestamp, a rate, values or a quality; columns of a batch."""


class _Kept(NamedTuple):
    """Parts of stretches that are kept; see `parts`."""

    row: list[int]
    first: list[int]
    size: list[int]


class _Rows(NamedTuple):
    """Stretches as plain numbers, for loops over the few that overlap."""

    start: list[int]
    period: list[float]
    size: list[int]
    quality: list[int]

    def end(self, row: int) -> float:
        """Return the instant one period after the last sample, in microseconds since the epoch."""
        return self.start[row] + self.size[row] * self.period[row]


class _Taken(NamedTuple):
    """The intervals of newer stretches: disjoint and sorted, each border with half the period of its stretch."""

    start: list[tuple[float, float]]
    end: list[tuple[float, float]]

    def free(self, rows: _Rows, row: int) -> Iterator[tuple[int, int]]:
        """Yield first index and last index + 1 of the samples of a stretch that no newer one replaces."""
        start, period, count = rows.start[row], rows.period[row], rows.size[row]
        position = 0
        for at in range(bisect_left(self.end, (start,)), bisect_right(self.start, (rows.end(row), math.inf))):
            (begin, half), (end, half_after) = self.start[at], self.end[at]
            before = begin + _TOLERANCE + min(-half, half - period)  # what stays ends half a period after it at most
            after = end - _TOLERANCE - min(half_after, period / 2)
            first, last = (min(max(math.ceil((each - start) / period), 0), count) for each in (before, after))
            if first > position:
                yield position, first
            position = max(position, last)
        if position < count:
            yield position, count

    def add(self, rows: _Rows, row: int) -> None:
        """Add the interval of a stretch; it is joined with those that it overlaps or joins."""
        half = rows.period[row] / 2
        begin, end = (float(rows.start[row]), half), (rows.end(row), half)
        first = bisect_left(self.end, (begin[0] - half - ROUNDING,))
        last = bisect_right(self.start, (end[0] + half + ROUNDING, math.inf))
        if first < last:
            begin, end = min(begin, self.start[first]), max(end, self.end[last - 1])
        self.start[first:last], self.end[first:last] = [begin], [end]


def normalise_waveforms(frame: pl.DataFrame) -> NormalisedWaveforms:
    """Bring stretches in any order, with repeats and overlaps, into the form of a batch.

    Repeats are dropped, also where the borders of the stretches differ: of a stretch that continues another one only
    the new samples are kept. If two overlap and differ in a value, the quality or the rate, the one that begins first
    is kept and the other is a conflict as a whole: nobody can know which is right.

    Args:
        frame: stretches as `encode` makes them, columns of `WAVEFORM_SCHEMA`.

    Raises:
        InvalidInput: a stretch is not one, for example because its bytes do not match its count.
    """
    rows = frame if frame.schema == WAVEFORM_SCHEMA else frame.select(WAVEFORM_SCHEMA.names()).cast(WAVEFORM_SCHEMA)
    incomplete = rows.clear()
    if any(rows[name].null_count() for name in REQUIRED):
        missing = pl.any_horizontal(pl.col(REQUIRED).is_null())
        incomplete, rows = rows.filter(missing), rows.filter(~missing)
    if not is_in_order(rows):
        rows = rows.sort(_ORDER, maintain_order=True)
    over = overlaps(rows).to_numpy()
    if not over.any():
        return NormalisedWaveforms(checked_rows(rows), rows.clear(), incomplete)
    alone, meeting, over = _meeting(rows, over)
    kept, conflicts = _first_kept(meeting, over)
    batch = pl.concat([alone, parts(meeting, *map(np.array, kept))]).sort(_ORDER)
    return NormalisedWaveforms(waveform_batch(batch), meeting[conflicts], incomplete)


def newest_wins_waveforms(frame: pl.DataFrame, *, written: str | None = None) -> pl.DataFrame:
    """Resolve overlaps between writes: the newest stretch counts on its whole interval, older ones are cut.

    Args:
        frame: stretches of valid batches, columns of `WAVEFORM_SCHEMA`; other columns are kept.
        written: name of the column with the time of writing; if None, the order of the rows counts.

    Returns:
        Stretches sorted by (tag, timestamp) that do not overlap.
    """
    ordered = frame if is_in_order(frame) else frame.sort(_ORDER)
    if is_in_order(ordered) and not overlaps(ordered).any():
        return ordered
    rows = frame.sort(written, maintain_order=True) if written else frame
    rows = rows.unique(["tag", "timestamp", "sample_rate", "count"], keep="last", maintain_order=True)
    rows = rows.with_row_index("#age").sort(_ORDER, maintain_order=True)
    over = overlaps(rows).to_numpy()
    if over.any():
        alone, meeting, over = _meeting(rows, over)
        kept = _newest_kept(meeting, over)
        rows = pl.concat([alone, parts(meeting, *map(np.array, kept))]).sort(_ORDER)
    return rows.drop("#age")


def _meeting(rows: pl.DataFrame, over: Booleans) -> tuple[pl.DataFrame, pl.DataFrame, Booleans]:
    """Divide sorted rows into those that overlap nothing and the others, with what `over` says of these."""
    meets = over | np.append(over[1:], [False])
    return rows.filter(~meets), rows.filter(meets), over[meets]


def _plain(rows: pl.DataFrame) -> _Rows:
    period = SECOND / rows["sample_rate"]
    return _Rows(starts_us(rows).tolist(), period.to_list(), rows["count"].to_list(), rows["quality"].to_list())


def _first_kept(meeting: pl.DataFrame, over: Booleans) -> tuple[_Kept, list[int]]:
    """Return which parts of overlapping stretches are kept, and which stretches are conflicts."""
    rows, (values, offsets) = _plain(meeting), decode(meeting)
    bits, kept, conflicts, last = values.view(np.int64), _Kept([], [], []), [], 0
    for row in range(meeting.height):
        known = _known(rows, last, row) if over[row] else 0
        shared = min(known, rows.size[row])
        if shared and not _same(rows, bits, offsets, last, row, known):
            conflicts.append(row)
        elif shared < rows.size[row]:
            _keep(kept, row, shared, rows.size[row])
            last = row
    return kept, conflicts


def _known(rows: _Rows, last: int, row: int) -> int:
    """Return how many samples of the stretch `last` lie at or after the start of the stretch `row`."""
    if rows.start[row] > rows.start[last] and rows.start[row] + rows.period[row] / 2 + ROUNDING >= rows.end(last):
        return 0
    return rows.size[last] - round((rows.start[row] - rows.start[last]) / rows.period[last])


def _same(rows: _Rows, bits: Integers, offsets: Integers, last: int, row: int, known: int) -> bool:
    """Return whether two stretches are the same where both have samples."""
    shared = min(known, rows.size[row])
    before, after = offsets[last + 1] - known, offsets[row]
    alike = rows.period[last] == rows.period[row] and rows.quality[last] == rows.quality[row]
    return alike and bool(np.array_equal(bits[before : before + shared], bits[after : after + shared]))


def _keep(kept: _Kept, row: int, first: int, last: int) -> None:
    kept.row.append(row)
    kept.first.append(first)
    kept.size.append(last - first)


def _newest_kept(meeting: pl.DataFrame, over: Booleans) -> _Kept:
    """Return which parts of overlapping stretches are not superseded by newer ones."""
    rows, age, kept = _plain(meeting), meeting["#age"].to_numpy(), _Kept([], [], [])
    heads = np.flatnonzero(~over).tolist()
    for first, last in zip(heads, [*heads[1:], meeting.height], strict=True):
        taken = _Taken([], [])
        for row in (first + np.argsort(age[first:last])[::-1]).tolist():
            for begin, end in taken.free(rows, row):
                _keep(kept, row, begin, end)
            taken.add(rows, row)
    return kept
