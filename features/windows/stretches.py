"""The samples of one tag as stretches: when each sample is and where gaps are, by index arithmetic.

Samples are numbered through all stretches, as in the array of their values; there is no array of timestamps. A stretch
may be part of a stored one that was cut by a page, or whose beginning is no longer needed: `first` is the index of its
first sample in the whole, so that each part has the times its samples had before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from historian.quality import is_measured, is_untimed
from historian.waveforms.timing import ROUNDING, SECOND, first_index, offsets_us, row_offsets, starts_us

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

STRETCH_COLUMNS: Final = (
    "timestamp",
    "sample_rate",
    "count",
    "encoding",
    "scale",
    "divisor",
    "values",
    "not_finite",
    "quality",
)
"""The columns of waveforms that features depend on."""


@dataclass(frozen=True)
class Stretches:
    """Stretches of one tag, in the order of time. All times are microseconds since the epoch."""

    start: Integers
    """[stretches] time of the first sample of the stored stretch."""
    first: Integers
    """[stretches] index of the first sample in the stored stretch."""
    rate: Floats
    """[stretches] Hz."""
    offsets: Integers
    """[stretches + 1] number of each first sample, then the number of samples."""
    bad: Booleans
    """[stretches] whether the quality is not Good, unless only because samples exceed their range."""
    untimed: Booleans
    """[stretches] whether the timestamps do not fit the configured rate; such a stretch is not in `bad`."""
    not_finite: Integers
    """Numbers of the samples that are NaN or infinite, ascending."""

    @classmethod
    def of(cls, rows: pl.DataFrame, values: Floats) -> Stretches:
        """Return the stretches of one tag.

        Args:
            rows: columns of `STRETCH_COLUMNS` and `first`, in the order of time.
            values: [samples] of all of them, one after the other.
        """
        known, quality = rows["not_finite"].sum() == 0, pl.col("quality")
        untimed = rows.select(is_untimed(quality)).to_series().to_numpy()
        return cls(
            starts_us(rows),
            rows["first"].to_numpy(),
            rows["sample_rate"].to_numpy(),
            row_offsets(rows["count"]),
            ~(rows.select(is_measured(quality)).to_series().to_numpy() | untimed),
            untimed,
            np.zeros(0, np.int64) if known else np.flatnonzero(~np.isfinite(values)),
        )

    def part(self, rows: slice) -> Stretches:
        """Return some of the stretches, as of one tag of several; their samples are numbered from 0."""
        begin, stop = self.offsets[rows.start], self.offsets[rows.stop]
        low, high = np.searchsorted(self.not_finite, [begin, stop])
        offsets, not_finite = self.offsets[rows.start : rows.stop + 1] - begin, self.not_finite[low:high] - begin
        return Stretches(
            self.start[rows], self.first[rows], self.rate[rows], offsets, self.bad[rows], self.untimed[rows], not_finite
        )

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self.offsets[-1])

    def times(self, numbers: Integers) -> Integers:
        """Return the times of samples, rounded half to even to a microsecond; of numbers out of range those nearest."""
        inside = np.clip(numbers, 0, len(self) - 1)
        row = self._rows(inside)
        times: Integers = self.start[row] + offsets_us(inside - self.offsets[row] + self.first[row], self.rate[row])
        return times

    def numbers(self, instants: Integers) -> Integers:
        """Return the number of the first sample at or after each instant; the number of samples if there is none."""
        if not len(self):
            return np.zeros(len(instants), np.int64)
        row = np.maximum(np.searchsorted(self._begins, instants, side="right") - 1, 0)
        index = first_index(instants - self.start[row], self.rate[row]) - self.first[row]
        numbers: Integers = self.offsets[row] + np.clip(index, 0, self.offsets[row + 1] - self.offsets[row])
        return numbers

    def runs(self, period: float) -> tuple[Integers, Integers]:
        """Return where samples follow each other without a gap.

        A stretch continues the one before if it starts within half a period of where that one ends, give or take the
        rounding of timestamps. In a stretch of another rate, whose samples are less than half a period or more than
        one and a half apart, each sample is a run of its own. Stretches whose timestamps do not fit the configured rate
        form runs of their own, whatever the rate at which their samples came.

        Args:
            period: time between samples in microseconds, from the tag's configuration.

        Returns:
            [runs] number of the first sample, and [runs] number after the last sample.
        """
        if not len(self):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        end = (self.first + np.diff(self.offsets)) * float(SECOND) / self.rate  # after the stored stretch's start
        error = self._begins[1:] - self.start[:-1] - end[:-1]
        foreign = (np.abs(SECOND / self.rate - period) > period / 2) & ~self.untimed
        apart = (np.abs(error) > period / 2 + ROUNDING) | (self.untimed[1:] != self.untimed[:-1])
        begins = np.concatenate(([True], apart))
        starts = self.offsets[:-1][begins]
        if foreign.any():
            starts = np.union1d(starts, np.flatnonzero(np.repeat(foreign, np.diff(self.offsets))))
            starts = np.union1d(starts, self.offsets[1:-1][foreign[:-1]])
        return starts, np.append(starts[1:], len(self))

    def all_usable(self, first: Integers, stop: Integers) -> Booleans:
        """Return whether the samples from first to stop - 1 of each range are Good and finite."""
        if not self.bad.any() and not len(self.not_finite):
            return np.ones(len(first), np.bool_)
        before = np.concatenate(([0], np.cumsum(self.bad)))
        good = np.equal(before[self._rows(np.maximum(stop - 1, first)) + 1], before[self._rows(first)])
        finite = np.equal(np.searchsorted(self.not_finite, first), np.searchsorted(self.not_finite, stop))
        return good & finite

    def touches(self, marked: Booleans, first: Integers, stop: Integers) -> Booleans:
        """Return whether the samples from first to stop - 1 of each range have any of the marked [stretches]."""
        if not marked.any():
            return np.zeros(len(first), np.bool_)
        before = np.concatenate(([0], np.cumsum(marked)))
        rows = self._rows(np.maximum(stop - 1, first))
        return (stop > first) & (before[rows + 1] > before[self._rows(first)])

    @cached_property
    def _begins(self) -> Integers:
        """[stretches] time of the first sample here."""
        return self.start + offsets_us(self.first, self.rate)

    def _rows(self, numbers: Integers) -> Integers:
        """Return the stretch of each sample."""
        return np.minimum(np.searchsorted(self.offsets[1:], numbers, side="right"), len(self.rate) - 1)
