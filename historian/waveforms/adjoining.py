"""Stretches that continue one another: joined into longer ones, and compared whatever their borders are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from historian.waveforms.batch import MAX_BYTES, WAVEFORM_SCHEMA, item_bytes
from historian.waveforms.encoding import decode
from historian.waveforms.statistics import LARGEST
from historian.waveforms.timing import ROUNDING, SECOND, Integers, starts_us

_SIGNAL: Final = ("tag", "sample_rate", "quality")
"""What stretches must have in common to be one signal."""
_CODE: Final = ("encoding", "scale", "divisor")


def joined(frame: pl.DataFrame) -> pl.DataFrame:
    """Join stretches that continue one another, up to `MAX_BYTES` of values each; no value is decoded.

    A stretch continues those above it if tag, rate, quality and encoding are the same, and if it begins where they end,
    to within the rounding of timestamps. So no sample's time changes by more than a microsecond.

    Args:
        frame: stretches sorted by (tag, timestamp) that do not overlap, columns of `WAVEFORM_SCHEMA` and any others,
            in which a joined stretch gets the greatest value.
    """
    heads = _heads(frame, [*_SIGNAL, *_CODE], MAX_BYTES)
    if len(heads) == frame.height:
        return frame
    stretch = np.repeat(np.arange(len(heads)), np.diff(heads, append=frame.height))
    others = [name for name in frame.columns if name not in WAVEFORM_SCHEMA]
    summed = pl.col("sum_squares").sum().clip(upper_bound=LARGEST)
    rows = frame.drop("values").group_by(pl.Series("#stretch", stretch), maintain_order=True)
    merged = rows.agg(
        pl.col("timestamp", *_SIGNAL, *_CODE).first(),
        pl.col("count", "not_finite").sum(),
        pl.col("low").min(),
        pl.col("high").max(),
        pl.when(pl.col("low").count() > 0).then(summed).alias("sum_squares"),
        pl.col(others).max(),
    )
    return merged.with_columns(values=_together(frame["values"], heads)).select(frame.columns)


def digest(frame: pl.DataFrame) -> int:
    """Return a hash of the samples of stretches: of every bit, time and quality, but not of where stretches end.

    Args:
        frame: stretches sorted by (tag, timestamp) that do not overlap, columns of `WAVEFORM_SCHEMA`.
    """
    heads, (values, offsets) = _heads(frame, _SIGNAL, None), decode(frame)
    sizes = pl.Series("samples", np.diff(np.append(offsets[heads], offsets[-1])))
    runs = frame.select("tag", "timestamp", "sample_rate", "quality")[heads].with_columns(sizes)
    samples = pl.DataFrame({"bits": values.view(np.int64), "index": np.arange(len(values))})
    return sum(int(rows.hash_rows(seed=0).cast(pl.Int128).sum()) for rows in (runs, samples)) % 2**64


def _heads(frame: pl.DataFrame, alike: Sequence[str], longest: int | None) -> Integers:
    """Return the indices of the stretches that do not continue those above them.

    Args:
        frame: stretches sorted by (tag, timestamp).
        alike: columns in which a stretch must equal the one above it.
        longest: bytes of values up to which stretches are joined; None for no limit.
    """
    same = frame.select(pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in alike)).to_series()
    sizes = frame.select(pl.col("count").cast(pl.Int64) * item_bytes()).to_series()
    columns = (
        same.fill_null(value=False).to_list(),
        starts_us(frame).tolist(),
        (SECOND / frame["sample_rate"]).to_list(),
        frame["count"].to_list(),
        sizes.to_list(),
    )
    heads: list[int] = []
    origin, samples, held = 0, 0, 0
    for row, (is_same, start, period, count, size) in enumerate(zip(*columns, strict=True)):
        adjoins = is_same and abs(start - origin - samples * period) <= ROUNDING
        if not adjoins or (longest and held + size > longest):
            heads.append(row)
            origin, samples, held = start, 0, 0
        samples, held = samples + count, held + size
    return np.array(heads, np.int64)


def _together(values: pl.Series, heads: Integers) -> pl.Series:
    """Return the bytes of each head and of the rows below it as one value; they lie side by side already."""
    array = values.to_arrow()
    _, offsets, data = array.buffers()
    borders = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    kept = pa.py_buffer(np.ascontiguousarray(borders[np.append(heads, len(array))]))
    return pl.Series(pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(heads), [None, kept, data]))
