"""What a plot and a gap search need to know of a stretch without decoding it: lowest, highest, sum of squares."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from historian.waveforms.batch import WAVEFORM_SCHEMA
from historian.waveforms.timing import Floats, Integers, row_blocks

LARGEST: Final = float(np.finfo(np.float64).max)
"""What a sum of squares is that would be infinite."""


def statistics(values: npt.NDArray[Any], counts: Integers, scale: tuple[float, float] = (1.0, 1.0)) -> list[pl.Series]:
    """Return the columns `low`, `high`, `sum_squares` and `not_finite` of stretches.

    NaN and infinities are counted and left out. A sum of squares beyond the largest float is that float, because
    stores accept no infinity.

    Args:
        values: [samples] of all stretches, one after the other; any type of number.
        counts: [rows] samples of each stretch.
        scale: value = number * scale / divisor, for int16 only.
    """
    offsets = np.concatenate(([0], np.cumsum(counts)))
    low, high, squares = (np.empty(len(counts)) for _ in range(3))
    unusable = np.zeros(len(counts), np.int64)
    for first, last in row_blocks(counts):
        rows, block = slice(first, last), values[offsets[first] : offsets[last]].astype(np.float64)
        if values.dtype == np.int16 and scale != (1.0, 1.0):
            block = block * scale[0] / scale[1]
        low[rows], high[rows], squares[rows], unusable[rows] = _of_rows(block, offsets[first:last] - offsets[first])
    known = pl.Series(unusable < counts)
    found = {"low": low, "high": high, "sum_squares": np.minimum(squares, LARGEST)}
    columns = pl.DataFrame(found).select(pl.when(known).then(pl.all()))
    return [*columns, pl.Series("not_finite", unusable, WAVEFORM_SCHEMA["not_finite"])]


def _of_rows(block: Floats, heads: Integers) -> tuple[Floats, Floats, Floats, Integers | int]:
    """Return [rows] lowest, highest, sum of squares, and number of values that are not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.add.reduceat(block * block, heads)
    if np.isfinite(squares).all():  # then all values are; a pass over the rows instead of the samples
        return np.minimum.reduceat(block, heads), np.maximum.reduceat(block, heads), squares, 0
    finite = np.isfinite(block)
    low = np.minimum.reduceat(np.where(finite, block, np.inf), heads)
    high = np.maximum.reduceat(np.where(finite, block, -np.inf), heads)
    with np.errstate(over="ignore"):
        squares = np.add.reduceat(np.where(finite, block, 0.0) ** 2, heads)
    return low, high, squares, np.add.reduceat(~finite, heads, dtype=np.int64)
