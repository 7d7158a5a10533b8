"""When the samples of a stretch are: index arithmetic between a stretch's first timestamp and its rate.

A sample's exact time is `timestamp` + i / `sample_rate`; it is rounded half to even to a microsecond only where a
timestamp is needed, so no error adds up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from historian.samples import instants_us

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

_BLOCK: Final = 2**15
"""Samples treated at a time, so that intermediate results stay in the CPU caches."""
SECOND: Final = 1_000_000
"""Microseconds in a second."""
MAX_RATE: Final = 250_000.0
"""Hz; above it, the rounding of timestamps comes too close to half a period to tell samples apart."""
ROUNDING: Final = 1.0
"""Microseconds: two timestamps, each rounded to a microsecond, are at most that much further apart or closer."""


def offsets_us(index: npt.NDArray[Any], rate: npt.NDArray[Any] | float) -> Integers:
    """Return the time from a stretch's first sample to the sample of each index, in whole microseconds.

    Args:
        index: of samples; 0 is the first one.
        rate: Hz, one for all or one for each index.
    """
    return np.rint(index * float(SECOND) / rate).astype(np.int64)


def first_index(offset: Integers, rate: Floats) -> Integers:
    """Return the index of the first sample whose rounded time is at or after an offset; the inverse of `offsets_us`.

    Args:
        offset: [rows] microseconds from the first sample.
        rate: [rows] Hz.

    Returns:
        [rows] an index of 0 or more, beyond the stretch if no sample is that late.
    """
    index = np.maximum(np.floor((offset - 0.5) * rate / SECOND).astype(np.int64) - 1, 0)
    for _ in range(3):  # the estimate is at most three below, whatever the rounding
        index += offsets_us(index, rate) < offset
    return index


def starts_us(frame: pl.DataFrame) -> Integers:
    """Return [rows] the timestamps of stretches as microseconds since the epoch."""
    return instants_us(frame["timestamp"])


def last_us(frame: pl.DataFrame) -> Integers:
    """Return [rows] the times of the last samples of stretches as microseconds since the epoch."""
    last = frame["count"].to_numpy().astype(np.int64) - 1
    return starts_us(frame) + offsets_us(last, frame["sample_rate"].to_numpy())


def exact_length() -> pl.Expr:
    """Return an expression for the exact length of a stretch, count / sample_rate, in microseconds."""
    return pl.col("count") * float(SECOND) / pl.col("sample_rate")


def slack() -> pl.Expr:
    """Return an expression for half a period in microseconds, and the rounding of timestamps."""
    return 0.5 * SECOND / pl.col("sample_rate") + ROUNDING


def overlaps(frame: pl.DataFrame) -> pl.Series:
    """Return [rows] whether each stretch begins more than half a period before the end of one above it of its tag.

    Args:
        frame: stretches sorted by (tag, timestamp).
    """
    if _follow_one_another(frame):
        return pl.Series(np.zeros(frame.height, np.bool_))
    start = pl.col("timestamp").to_physical()
    end = (start + exact_length()).cum_max().shift().over("tag")
    overlapping = start + slack() < end
    return frame.select(overlapping.fill_null(value=False)).to_series()


def _follow_one_another(frame: pl.DataFrame) -> bool:
    """Return whether all stretches have one rate and none begins before the end of the one above it.

    It is much faster than to look at all those above it, and with one rate the same.
    """
    rate, start = frame["sample_rate"].to_numpy(), starts_us(frame)
    if len(rate) < 2 or not (rate == rate[0]).all():
        return len(rate) < 2
    end = start + frame["count"].to_numpy() * (SECOND / rate[0])
    meets = start[1:] + 0.5 * SECOND / rate[0] + ROUNDING < end[:-1]
    tag = frame["tag"]
    return not (meets & (tag[1:] == tag[:-1]).to_numpy()).any()


def row_offsets(counts: pl.Series) -> Integers:
    """Return [rows + 1] the index of each row's first sample, if the samples of all rows lie one after the other."""
    return np.concatenate(([0], np.cumsum(counts.to_numpy().astype(np.int64))))


def row_blocks(counts: Integers) -> Iterator[tuple[int, int]]:
    """Yield first row and last row + 1 of blocks of rows whose samples stay in the CPU caches.

    Args:
        counts: [rows] samples of each row.
    """
    block = (np.cumsum(counts) - counts) // _BLOCK
    first = np.flatnonzero(np.diff(block, prepend=-1)).tolist()
    yield from zip(first, [*first[1:], len(counts)], strict=False)


def runs_of(column: pl.Series) -> Iterator[tuple[int, int]]:
    """Yield first row and last row + 1 of neighbouring rows that are equal; the column has no nulls."""
    changes = (column[1:] != column[:-1]).arg_true().to_numpy() + 1
    ends = [*changes.tolist(), len(column)] if len(column) else []
    yield from zip([0, *ends], ends, strict=False)
