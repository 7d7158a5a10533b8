"""Vibration as a store has it: rows with a timestamp each, packed into stretches."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.windows.stretches import Stretches
from historian.samples import SCHEMA
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.encoding import decode
from historian.waveforms.packing import pack


def raw(tag: str, times: npt.ArrayLike, values: Any, *, quality: Any = 0) -> pl.DataFrame:
    """Rows of samples at microseconds since the epoch; a value may be None."""
    stamps = pl.Series(np.asarray(times, np.int64)).cast(SCHEMA["timestamp"])
    numbers = pl.Series(values, dtype=pl.Float64)
    codes = pl.Series(np.broadcast_to(quality, len(stamps)).astype(np.int64))
    return pl.DataFrame({"tag": tag, "timestamp": stamps, "value": numbers, "text": None, "quality": codes})


def packed(tag: str, times: npt.ArrayLike, values: Any, rate: float, *, quality: Any = 0) -> WaveformBatch:
    """The same as stretches, none of the rows left out."""
    found = pack(raw(tag, times, values, quality=quality), {tag: rate})
    assert found.conflicts.is_empty()
    return found.batch


def read(batch: pl.DataFrame) -> Stretches:
    """The stretches of one tag, whole, as windows are made of them."""
    rows = batch.with_columns(first=pl.lit(0, pl.Int64))
    return Stretches.of(rows, decode(rows).values)
