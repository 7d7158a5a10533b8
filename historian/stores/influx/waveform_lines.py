"""Converts stretches to InfluxDB line protocol and back, bit for bit and without a Python loop. Pure.

    waveforms,octave=14,tag=c101.de_h,thousands=8 values="…",encoding="float32",…,written=1772323200000000i 17723…

A point is a stretch and its values are base64 in one string. InfluxDB keys points by series and time, in nanoseconds,
so a stretch would replace every other one of its tag with the same start, also a longer one whose rest still counts.
The key therefore includes the number of samples: its thousands are the Influx tag `thousands`, and what remains is
added to the time as nanoseconds, which stretches do not use. The Influx tag `octave` is the sample rate's power of two.
It bounds how long a stretch can last, so that one that began before a range is found. `written` says which write is
newest. See docs/decisions/0025-waveforms-in-influxdb.md.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Final

import numpy as np
import polars as pl

from historian.stores.influx.line_protocol import escaped_tag, tag_name, tag_value, unescaped_tag
from historian.waveforms.batch import ITEM_BYTES, MAX_BYTES, WAVEFORM_SCHEMA, WaveformBatch
from historian.waveforms.timing import SECOND, Floats, Integers, exact_length, slack

MEASUREMENT: Final = "waveforms"
HEAD_FIELDS: Final[Mapping[str, pl.DataType]] = {
    "sample_rate": pl.Float64(),
    "count": pl.Int64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "sum_squares": pl.Float64(),
    "not_finite": pl.Int64(),
    "quality": pl.Int64(),
    "end": pl.Int64(),  # microseconds: half a period after the place of the sample that would follow
    "written": pl.Int64(),  # microseconds, the writer's clock
}
"""Fields of a stretch without its values, and their types in an answer."""
FIELDS: Final[Mapping[str, pl.DataType]] = {
    **HEAD_FIELDS,
    "encoding": pl.String(),
    "scale": pl.Float64(),
    "divisor": pl.Float64(),
    "values": pl.String(),
}
"""All fields of a stretch, and their types in an answer."""
_STATISTICS: Final = ("low", "high", "sum_squares")
_OFFSETS: Final = 1000
"""Nanoseconds in a microsecond."""
_LONGEST: Final = MAX_BYTES // min(ITEM_BYTES.values())
"""Samples."""
_LINE: Final = pl.concat_str("before", pl.col("values").bin.encode("base64"), "after")
_LINE_BYTES: Final = (
    pl.col("before").str.len_bytes() + pl.col("values").bin.size() * 4 // 3 + pl.col("after").str.len_bytes() + 4
)
_FOR_EVER: Final = 2.0**61
"""Microseconds; all instants of InfluxDB are closer together."""


def waveform_bodies(batch: WaveformBatch, *, written: int, size: int) -> Generator[bytes]:
    """Yield the batch as bodies of write requests, in the order of the batch.

    Args:
        batch: the stretches.
        written: time of writing in microseconds; larger than that of all earlier writes.
        size: bytes of a body, which is larger only if a single stretch is.
    """
    framed = _framed(batch, written)
    longest = framed.select(_LINE_BYTES.max()).item()
    for part in framed.iter_slices(max(1, size // longest)):
        yield _contents(part.select(pl.concat_str(_LINE, pl.lit("\n"))).to_series())


def waveform_lines(batch: WaveformBatch, *, written: int) -> pl.Series:
    """Return one line for each stretch, without the newline; its time is in nanoseconds."""
    return _framed(batch, written).select(_LINE).to_series()


def _framed(batch: WaveformBatch, written: int) -> pl.DataFrame:
    """Return `before`, `values` and `after`: what lines consist of, so that the values are copied once."""
    end = (pl.col("timestamp").to_physical() + exact_length() + slack()).ceil().clip(upper_bound=_FOR_EVER)
    codes = _codes(batch)
    fields = [
        pl.format('",encoding="{}",scale={},divisor={},sample_rate={},', "encoding", "scale", "divisor", "sample_rate"),
        pl.format("count={}i,not_finite={}i,quality={}i,", "count", "not_finite", "quality"),
        *(pl.format(name + "={},", name) for name in _STATISTICS),
        pl.format("end={}i,written={}i ", end.cast(pl.Int64), pl.lit(written)),
        (pl.col("timestamp").to_physical() * _OFFSETS + pl.Series(codes % _OFFSETS)).cast(pl.String),
    ]
    before = pl.format(
        MEASUREMENT + ',octave={},tag={},thousands={} values="',
        pl.Series(octaves(batch["sample_rate"].to_numpy())),
        escaped_tag(tag_value(pl.col("tag"))),
        pl.Series(codes // _OFFSETS),
    )
    return batch.select(before.alias("before"), "values", pl.concat_str(fields, ignore_nulls=True).alias("after"))


def _contents(lines: pl.Series) -> bytes:
    """Return the bytes of strings that follow one another, in one copy."""
    array = lines.to_arrow()
    _, offsets, data = array.buffers()
    borders = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return bytes(memoryview(data)[borders[0] : borders[-1]])


def stretches(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of an answer as stretches, columns of `WAVEFORM_SCHEMA`, `end` and `written`.

    Args:
        rows: tag, timestamp and `FIELDS`.
    """
    return heads(rows).with_columns(pl.col("values").str.decode("base64")).select(*WAVEFORM_SCHEMA, "end", "written")


def heads(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of an answer with the types of `WAVEFORM_SCHEMA`.

    InfluxDB merges the fields of a point, so statistics of an older write remain where a newer one has none.

    Args:
        rows: tag, timestamp and `HEAD_FIELDS`, perhaps others.
    """
    known = pl.col("not_finite") < pl.col("count")
    typed = [pl.col(name).cast(WAVEFORM_SCHEMA[name]) for name in ("count", "not_finite", "quality")]
    return rows.with_columns(pl.when(known).then(pl.col(_STATISTICS))).with_columns(typed)


def series_octaves(keys: pl.Series) -> pl.DataFrame:
    """Return `octave` and `tag` of series.

    Args:
        keys: as InfluxDB lists them.
    """
    groups = keys.str.extract_groups(rf"(?s)^{MEASUREMENT},octave=(?<octave>-?\d+),tag=(?<tag>.*),thousands=\d+$")
    named = groups.struct.unnest().with_columns(pl.col("octave").cast(pl.Int64), tag_name(unescaped_tag(pl.col("tag"))))
    return named.unique().sort("octave", "tag")


def octaves(rates: Floats) -> Integers:
    """Return [rows] the largest power of two that is not above the sample rate, as an exponent."""
    return np.frexp(rates)[1].astype(np.int64) - 1


def longest_us(octave: int) -> int:
    """Return the most microseconds from the start of a stretch of an octave to its `end`."""
    return int(min((_LONGEST + 0.5) * SECOND / 2.0**octave, _FOR_EVER)) + 2


def period_us(octave: int) -> int:
    """Return the most microseconds by which a newer stretch can begin after a sample of an octave that it replaces."""
    return int(min(SECOND / 2.0**octave, _FOR_EVER)) + 2


def _codes(batch: pl.DataFrame) -> Integers:
    """Return [rows] the number that distinguishes stretches with the same start.

    It differs for different counts of one rate. Another rate shifts it, so that stretches of equal counts and
    different rates are unlikely to have the same one.
    """
    rates = batch["sample_rate"].to_numpy()
    shift = (rates.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)) % np.uint64(_OFFSETS)
    return batch["count"].to_numpy().astype(np.int64) + shift.astype(np.int64)
