"""Vibration as a store has it: rows with a timestamp each, packed into stretches."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.windows.stretches import Stretches
from historian.plant.plant import Plant
from historian.samples import SCHEMA, normalise
from historian.stores.open import open_store
from historian.stores.protocols import Sink
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


def write(store: Sink, rows: pl.DataFrame, rates: Mapping[str, float], *, now: datetime, source: str = "test") -> None:
    """Store rows as a bridge does: those of tags that have a rate as stretches, all others as samples."""
    vibration = pl.col("tag").is_in(list(rates))
    store.write(normalise(rows.filter(~vibration)).batch, source=source, now=now)
    store.write_waveforms(pack(rows.filter(vibration), rates).batch, source=source, now=now)


def write_plant(plant: Plant, rows: pl.DataFrame, *, now: datetime) -> None:
    """Store rows of a plant's tags in its store; `text` and `quality` may be left out."""
    rates = {tag.name: tag.sample_rate for tag in plant.tags.values() if tag.sample_rate}
    absent = {"text": pl.lit(None, pl.String), "quality": pl.lit(0, pl.UInt32)}
    complete = rows.with_columns(**{name: each for name, each in absent.items() if name not in rows.columns})
    write(open_store(plant), complete.select(SCHEMA.names()).cast(SCHEMA), rates, now=now)
