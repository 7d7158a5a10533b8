"""What the tests of waveforms share: signals, and the oracle, which has a row a sample and loops over them."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from hypothesis import strategies as st

from historian.samples import SCHEMA
from historian.waveforms.encoding import HEADS, encode
from historian.waveforms.packing import unpack

T0 = datetime(2026, 1, 1, tzinfo=UTC)
RATES = (25_600.0, 51_200.0, 8533.0, 25_600 / 3, 1000.0, 100.0, 97_656.25)
ODD = (float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 5e-324, 1.7e308, 0.1, 1 / 3)


def at(microseconds: float) -> datetime:
    """Return the instant so many microseconds after T0."""
    return T0 + timedelta(microseconds=round(microseconds))


def micro(instant: datetime) -> int:
    """Return the microseconds from T0 to an instant."""
    return (instant - T0) // timedelta(microseconds=1)


def stretch(
    start: float, values: npt.ArrayLike, *, rate: float = 1000.0, tag: str = "a", quality: int = 0
) -> pl.DataFrame:
    """Return a run of samples as stretches; `start` is in microseconds after T0."""
    array = np.asarray(values)
    row = {"tag": [tag], "timestamp": [at(start)], "sample_rate": [rate], "count": [len(array)], "quality": [quality]}
    return encode(pl.DataFrame(row, schema=HEADS), array)


def raw(times: npt.ArrayLike, values: npt.ArrayLike, *, tag: str = "a", quality: int = 0) -> pl.DataFrame:
    """Return a row a sample; times are in microseconds after T0."""
    row = {"timestamp": [at(time) for time in np.asarray(times)], "value": np.asarray(values, np.float64)}
    constant = {"tag": pl.lit(tag), "text": pl.lit(None, pl.String), "quality": pl.lit(quality, pl.UInt32)}
    return pl.DataFrame(row).with_columns(**constant).select(SCHEMA.names()).cast(SCHEMA)


def bits(value: float) -> bytes:
    """Return the bytes of a value, in which NaN equals itself and minus zero differs from zero."""
    return struct.pack("<d", value)


def samples(frame: pl.DataFrame) -> list[tuple[str, int, bytes, int]]:
    """Return (tag, microseconds after T0, bits of the value, quality) of every sample of stretches."""
    rows = unpack(frame).select("tag", "timestamp", "value", "quality").iter_rows()
    return [(tag, micro(time), bits(value), quality) for tag, time, value, quality in rows]


def signals(*, longest: int = 60) -> st.SearchStrategy[npt.NDArray[Any]]:
    """Return arrays of one sample or more: counts, scaled counts, decimals, float32, and odd float64."""
    counts = st.lists(st.integers(-40_000, 40_000), min_size=1, max_size=longest).map(np.array)
    scaled = st.builds(lambda whole, step: whole * step, counts, st.sampled_from([0.00347123987, 10 / 32768, 1e-9]))
    divided = st.builds(lambda whole, by: whole / by, counts, st.sampled_from([6553.6, 1000.0, 7.0]))
    floats = st.lists(st.one_of(st.floats(), st.sampled_from(ODD)), min_size=1, max_size=longest).map(np.array)
    singles = st.lists(st.floats(width=32), min_size=1, max_size=longest).map(lambda each: np.array(each, np.float32))
    return st.one_of(counts, scaled, divided, floats, singles)
