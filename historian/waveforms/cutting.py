"""Parts of stretches: the samples of a time range or of a range of indices; only parts get new statistics."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from historian.times import micros
from historian.waveforms.batch import ITEM_BYTES, WAVEFORM_SCHEMA, WaveformBatch
from historian.waveforms.encoding import with_statistics
from historian.waveforms.timing import Integers, first_index, offsets_us, starts_us


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
    order = np.arange(taken.height)
    order[partly] = taken.height + np.arange(len(partly))
    return pl.concat([taken, with_statistics(sliced)])[order]
