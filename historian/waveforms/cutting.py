"""Parts of stretches: the samples of a time range or of a range of indices; only parts get new statistics."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from historian.times import micros
from historian.waveforms.batch import ITEM_BYTES, WAVEFORM_SCHEMA, WaveformBatch
from historian.waveforms.encoding import with_statistics
from historian.waveforms.timing import Integers, first_index, offsets_us, starts_us

_FEW: Final = 16
"""Number of rows up to which they are replaced one by one: usually the first and the last of each tag."""


def cut(batch: WaveformBatch, start: datetime, end: datetime) -> WaveformBatch:
    """Return the samples with start <= time < end, where time is rounded to a microsecond as in `unpack`.

    Cutting one batch at an instant gives each sample to exactly one side.

    Args:
        batch: any stretches.
        start: the first instant that counts.
        end: the first instant that no longer counts.
    """
    starts, rate = starts_us(batch), batch["sample_rate"].to_numpy()
    counts = batch["count"].to_numpy().astype(np.int64)
    first, last = (np.minimum(first_index(micros(each) - starts, rate), counts) for each in (start, end))
    rows = np.flatnonzero(last > first)
    return WaveformBatch(parts(batch, rows, first[rows], (last - first)[rows]))


def parts(frame: pl.DataFrame, row: Integers, first: Integers, count: Integers) -> pl.DataFrame:
    """Return parts of stretches, in the order given; other columns than those of a batch are kept.

    Args:
        frame: stretches, columns of `WAVEFORM_SCHEMA` and any others.
        row: [parts] index of the stretch.
        first: [parts] index of the part's first sample in its stretch.
        count: [parts] samples.
    """
    alone = len(row) > 0 and bool(np.all(np.diff(row) == 1))
    taken = frame[int(row[0]) : int(row[-1]) + 1] if alone else frame[row]
    partly = np.flatnonzero(count < taken["count"].to_numpy())
    if not len(partly):
        return taken
    first, count = first[partly], count[partly]
    some = taken[partly]  # slicing the bytes of all rows would copy them
    start = starts_us(some) + offsets_us(first, some["sample_rate"].to_numpy())
    size = np.array([ITEM_BYTES[name] for name in some["encoding"].to_list()])
    sliced = some.with_columns(
        timestamp=pl.Series(start).cast(WAVEFORM_SCHEMA["timestamp"]),
        count=pl.Series(count, dtype=WAVEFORM_SCHEMA["count"]),
        values=pl.col("values").bin.slice(pl.Series(first * size), pl.Series(count * size)),
    )
    return _replaced(taken, partly, with_statistics(sliced))


def _replaced(frame: pl.DataFrame, rows: Integers, others: pl.DataFrame) -> pl.DataFrame:
    """Return a frame with some rows, ascending, replaced. Where they are few, the bytes of the rest are not copied."""
    if len(rows) > _FEW:
        order = np.arange(frame.height)
        order[rows] = frame.height + np.arange(len(rows))
        return pl.concat([frame, others])[order]
    pieces, done = [], 0
    for number, row in enumerate(rows.tolist()):
        pieces += [frame.slice(done, row - done), others.slice(number, 1)]
        done = row + 1
    return pl.concat([*pieces, frame.slice(done)], rechunk=True)
