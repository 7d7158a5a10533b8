"""`WaveformBatch`: the one form of waveforms between drivers, stores and feature jobs.

A row is a stretch: samples of one tag at a fixed rate. Sample i has the time `timestamp` + i / `sample_rate`, exactly.
The samples are bytes in the smallest encoding that loses nothing, so one physical type holds all encodings and a frame
decodes in one step. Statistics travel with the row. A batch is sorted by (tag, timestamp), and stretches of a tag do
not overlap by more than half a period. See docs/decisions/0023-waveforms-as-bytes-with-an-encoding.md.
"""

from __future__ import annotations

from typing import Final, NewType

import polars as pl

from historian.errors import InvalidInput
from historian.samples import SCHEMA, is_in_order
from historian.waveforms.timing import MAX_RATE, overlaps

WAVEFORM_SCHEMA: Final = pl.Schema(
    {
        "tag": pl.String(),
        "timestamp": SCHEMA["timestamp"],  # of the first sample
        "sample_rate": pl.Float64(),  # Hz
        "count": pl.UInt32(),  # samples in the stretch
        "encoding": pl.String(),  # a key of ITEM_BYTES
        "scale": pl.Float64(),  # int16, int16z: value = counts * scale / divisor, in this order; otherwise 1
        "divisor": pl.Float64(),
        "values": pl.Binary(),  # little-endian, count * ITEM_BYTES[encoding] bytes
        "low": pl.Float64(),  # of the finite values; null if there are none
        "high": pl.Float64(),
        "sum_squares": pl.Float64(),
        "not_finite": pl.UInt32(),  # how many values are NaN or infinite
        "quality": SCHEMA["quality"],  # of the whole stretch
    }
)
ITEM_BYTES: Final = {"int16": 2, "int16z": 2, "float32": 4, "float64": 8}
"""Encoding -> bytes of one sample. `int16z` is int16 in which -32,768 stands for minus zero."""
MAX_BYTES: Final = 32_768
"""Bytes of values in a stretch: 16,384 samples in int16, 8,192 in float32, 4,096 in float64. In base64 they stay below
the 64 KiB to which InfluxDB limits a string; measurements are in decision 23."""

REQUIRED: Final = [name for name in WAVEFORM_SCHEMA if name not in ("low", "high", "sum_squares")]
"""Columns without nulls."""
_EMPTY: Final = WAVEFORM_SCHEMA.to_frame()

WaveformBatch = NewType("WaveformBatch", pl.DataFrame)
"""A Polars frame that `waveform_batch` has checked."""


def empty_waveforms() -> WaveformBatch:
    """Return a batch without stretches."""
    return WaveformBatch(_EMPTY.clone())


def item_bytes() -> pl.Expr:
    """Return an expression for the bytes of one sample of each row; null where the encoding is unknown."""
    return pl.col("encoding").replace_strict(ITEM_BYTES, default=None, return_dtype=pl.UInt32)


def waveform_batch(frame: pl.DataFrame) -> WaveformBatch:
    """Check that a frame is a batch and return it as one; looks at every row but decodes no values.

    Raises:
        InvalidInput: a wrong column or type, a null, a field out of its range, bytes that do not match the count,
            statistics that contradict each other, or stretches unsorted or overlapping.
    """
    if frame.schema != WAVEFORM_SCHEMA:
        raise InvalidInput(f"a waveform batch needs the columns {dict(WAVEFORM_SCHEMA)}, not {dict(frame.schema)}")
    if frame.is_empty():
        return WaveformBatch(frame)
    wrong = _defects_of(frame)
    if not wrong and not is_in_order(frame):
        wrong = ["stretches that are not sorted by (tag, timestamp) or repeat one"]
    if not wrong and overlaps(frame).any():
        wrong = ["stretches of one tag that overlap by more than half a period"]
    return _batch_without(wrong, frame)


def checked_rows(frame: pl.DataFrame) -> WaveformBatch:
    """Check each row of stretches that are known to be in order and not to overlap; see `waveform_batch`."""
    return _batch_without(_defects_of(frame), frame)


def _batch_without(wrong: list[str], frame: pl.DataFrame) -> WaveformBatch:
    if wrong:
        raise InvalidInput(f"not a waveform batch: it has {' and '.join(wrong)}; call normalise_waveforms() first")
    return WaveformBatch(frame)


def _defects_of(frame: pl.DataFrame) -> list[str]:
    defects = frame.select(**_DEFECTS).row(0, named=True)
    return [text for text, found in defects.items() if found]


def _defects() -> dict[str, pl.Expr]:
    """Return what can be wrong with a row -> an expression that is true if any row has that defect."""
    rate, count, size = pl.col("sample_rate"), pl.col("count"), item_bytes()
    factors, whole = pl.col("scale", "divisor"), pl.col("encoding").is_in(["int16", "int16z"])
    unscaled = (pl.col("scale") == 1) & (pl.col("divisor") == 1)
    low, high, unusable = pl.col("low"), pl.col("high"), pl.col("not_finite")
    statistics = pl.all_horizontal(pl.col("low", "high", "sum_squares").is_not_null() == (unusable < count))
    return {
        f"a null among {', '.join(REQUIRED)}": pl.any_horizontal(pl.col(REQUIRED).null_count() > 0),
        f"a sample_rate that is not above 0 and at most {MAX_RATE:g} Hz": (~((rate > 0) & (rate <= MAX_RATE))).any(),
        f"an encoding other than {', '.join(ITEM_BYTES)}": size.is_null().any(),
        f"a stretch of no samples or more than {MAX_BYTES} bytes": (~(count * size).is_between(1, MAX_BYTES)).any(),
        "values of another size than count and encoding say": (pl.col("values").bin.size() != count * size).any(),
        "a scale or divisor that is not positive": pl.any_horizontal(~(factors.is_finite() & (factors > 0)).all()),
        "a scale or divisor other than 1 without int16": (~(whole | unscaled)).any(),
        "int16 values that are not finite": (whole & (unusable > 0)).any(),
        "statistics that contradict each other": (~statistics | (low > high) | (unusable > count)).any(),
    }


_DEFECTS: Final = _defects()
