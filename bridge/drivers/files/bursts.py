"""Converts bursts of a waveform to stretches. Pure and columnar."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from bridge.drivers.files.values import FAULT, GIVEN, INSTANT, ROW, Parsed, detail_of
from bridge.drivers.raw_rows import RawRows
from historian.plant.connections import Tag
from historian.quality import GOOD
from historian.times import EPOCH
from historian.waveforms.encoding import HEADS, encode
from historian.waveforms.timing import offsets_us

_NARROW = (pl.Int8, pl.Int16, pl.Float32)
"""Types that `encode` stores as they are, or that fit into one that it does."""


def burst_stretches(table: pl.DataFrame, tag: Tag, *, stamp: Literal["first", "last"], origin: str) -> Parsed:
    """Convert the bursts of one tag to stretches; those without a time are rejected.

    Sample i of n is taken i / sample_rate after the burst's time; if that is the time of the `last` sample,
    (n - 1 - i) / sample_rate before it. A sample missing from a burst becomes NaN.

    Args:
        table: the bursts: columns ROW, INSTANT, FAULT, GIVEN, and a list of numbers for the tag's address.
        tag: the tag; it has a sample rate.
        stamp: which of a burst's samples its time belongs to.
        origin: name of the file, for messages.
    """
    values = pl.col(tag.address)
    bursts = table.filter(values.is_not_null() & (values.list.len() > 0))
    faulty = bursts[FAULT].is_not_null()
    stretches = _encoded(bursts.filter(~faulty), tag, stamp)
    # Nothing but the time can be wrong with a burst, and `encode` needs one.
    timeless = bursts.filter(faulty).with_columns(pl.lit(EPOCH, HEADS["timestamp"]).alias(INSTANT))
    rejected = [_rejected(timeless[[row]], tag, stamp, origin) for row in range(timeless.height)]
    return Parsed(RawRows(waveforms=stretches), pl.concat(rejected or [_rejected(timeless, tag, stamp, origin)]))


def _encoded(bursts: pl.DataFrame, tag: Tag, stamp: Literal["first", "last"]) -> pl.DataFrame:
    lists, rate = bursts[tag.address], tag.sample_rate or 1.0
    counts = lists.list.len().cast(pl.Int64)
    to_first = offsets_us((counts - 1).to_numpy(), rate) if stamp == "last" else np.zeros(bursts.height, np.int64)
    heads = bursts.select(
        tag=pl.lit(tag.name),
        timestamp=pl.col(INSTANT) - pl.Series(to_first).cast(pl.Duration("us")),
        sample_rate=pl.lit(rate, pl.Float64),
        count=counts,
        quality=pl.lit(GOOD, pl.UInt32),
    )
    return encode(heads, _numbers(lists.explode()))


def _numbers(values: pl.Series) -> npt.NDArray[Any]:
    """Return numbers in a type that `encode` takes, NaN where there is none."""
    if values.null_count() or values.dtype not in _NARROW:
        values = values.cast(pl.Float32 if values.dtype == pl.Float32 else pl.Float64).fill_null(float("nan"))
    elif values.dtype == pl.Int8:
        values = values.cast(pl.Int16)
    return values.to_numpy()


def _rejected(burst: pl.DataFrame, tag: Tag, stamp: Literal["first", "last"], origin: str) -> pl.DataFrame:
    """Return the stretches of one burst as rejected rows without a time."""
    reason = burst.select(reason=FAULT, detail=detail_of(origin, row=ROW, given=GIVEN))
    stretches = _encoded(burst, tag, stamp)
    nothing = pl.lit(None, HEADS["timestamp"])
    return stretches.with_columns(timestamp=nothing).join(reason, how="cross")
