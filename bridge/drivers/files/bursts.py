"""Converts bursts of a waveform to stretches, and finds those that contradict an earlier burst. Pure and columnar."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from bridge.drivers.files.values import Parsed, detail_of
from bridge.drivers.raw_rows import RawRows
from historian.quality import GOOD
from historian.samples import SCHEMA
from historian.times import EPOCH
from historian.waveforms.encoding import HEADS, encode
from historian.waveforms.timing import offsets_us

Stamp = Literal["first", "last"]

BURSTS: Final = ("row", "instant", "fault", "given", "values")
"""Columns of a burst: its name in messages, its time or why it has none, the text at fault, and its samples."""


_OVERLAP: Final = 0.1
"""Share of a burst that may overlap another one: clocks drift, and a file may begin a little before the other ends."""


class SeenBursts:
    """The bursts that one request has yielded, across files and pages: their times, and digests of their samples."""

    def __init__(self) -> None:
        self._seen: dict[str, pl.DataFrame] = {}

    def news(self, tag: str, bursts: pl.DataFrame, sample_rate: float) -> pl.DataFrame:
        """Return bursts (columns of `BURSTS`) without exact repeats; those that contradict an earlier one get a fault.

        Two different bursts of one tag at one time cannot both be right, and nobody can know which is: the first one
        is kept. So it is if two overlap by much: then one of the times, or the sample rate, is wrong.
        """
        length = (bursts["values"].list.len() * (1e6 / sample_rate)).cast(pl.Int64)
        digest = pl.col("values").cast(pl.List(pl.Float64)).hash()
        given = bursts.select("instant", digest=digest, length=length)
        seen = pl.concat([self._seen.get(tag, given.clear()), given])
        verdicts = seen.select(
            new=pl.col("instant").is_first_distinct(),
            same=pl.col("digest") == pl.col("digest").first().over("instant"),
        )
        verdicts = verdicts.with_columns(overlaps=_overlapping(seen, verdicts["new"]))
        self._seen[tag] = seen.filter(verdicts["new"] & ~verdicts["overlaps"])
        faulty = pl.col("overlaps") | ~pl.col("new")
        contradiction = (
            pl.when(pl.col("overlaps"))
            .then(
                pl.lit("the burst overlaps another one of the tag, which stays; see sample_rate and the files' times")
            )
            .when(~pl.col("new"))
            .then(pl.lit("another burst of the tag at this time has different samples; the first one given stays"))
        )
        return (
            bursts.hstack(verdicts.tail(bursts.height))
            .filter(pl.col("new") | ~pl.col("same"))
            .rechunk()  # Polars 2.1 panics when `format` joins a literal with a column of several chunks
            .with_columns(
                fault=pl.coalesce("fault", contradiction),
                given=pl.coalesce("given", pl.when(faulty).then(pl.col("instant").dt.to_string("iso:strict"))),
            )
            .select(BURSTS)
        )


def _overlapping(bursts: pl.DataFrame, new: pl.Series) -> pl.Series:
    """Return for each burst whether it overlaps by much its neighbour in time that was given before it.

    Args:
        bursts: columns `instant` and `length` in microseconds.
        new: which bursts are the first at their time.
    """
    begin = pl.col("instant").to_physical()
    known = bursts.with_row_index("given").filter(new & pl.col("instant").is_not_null()).sort("instant")
    shorter = pl.min_horizontal(pl.col("length"), pl.col("length").shift(1))
    overlap = (begin + pl.col("length")).shift(1) - begin
    later = known.select(
        given=pl.max_horizontal(pl.col("given"), pl.col("given").shift(1)),
        wrong=overlap > _OVERLAP * shorter,
    ).filter("wrong")
    return pl.int_range(bursts.height, eager=True).is_in(later["given"].implode())


def burst_stretches(bursts: pl.DataFrame, *, tag: str, sample_rate: float, stamp: Stamp, origin: str) -> Parsed:
    """Convert bursts (columns of `BURSTS`) to stretches; faulty bursts are rejected, each as a row or more.

    Sample i of n is taken i / sample_rate after the burst's time; if that is the time of the `last` sample,
    (n - 1 - i) / sample_rate before it. A sample missing from a burst becomes NaN.
    """
    filled = bursts.filter(pl.col("values").list.len() > 0)
    faulty = pl.col("fault").is_not_null()
    rejected = filled.filter(faulty)
    rows = [
        _rejected(rejected[row : row + 1], tag, sample_rate, stamp, origin) for row in range(max(rejected.height, 1))
    ]
    return Parsed(RawRows(waveforms=_encoded(filled.filter(~faulty), tag, sample_rate, stamp)), pl.concat(rows))


def _encoded(bursts: pl.DataFrame, tag: str, sample_rate: float, stamp: Stamp) -> pl.DataFrame:
    counts = bursts["values"].list.len().cast(pl.Int64)
    to_last = offsets_us((counts - 1).to_numpy(), sample_rate) if stamp == "last" else np.zeros(len(counts), np.int64)
    heads = bursts.select(
        tag=pl.lit(tag),
        timestamp=pl.col("instant") - pl.Series(to_last).cast(pl.Duration("us")),
        sample_rate=pl.lit(sample_rate, pl.Float64),
        count=counts,
        quality=pl.lit(GOOD, pl.UInt32),
    )
    return encode(heads, _numbers(bursts["values"].explode()))


def _numbers(values: pl.Series) -> npt.NDArray[Any]:
    """Return numbers in a type that `encode` takes, NaN where there is none."""
    if values.dtype == pl.Float32:
        return values.fill_null(float("nan")).to_numpy()
    if values.dtype in (pl.Int8, pl.Int16) and not values.null_count():
        return values.cast(pl.Int16).to_numpy()
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _rejected(burst: pl.DataFrame, tag: str, sample_rate: float, stamp: Stamp, origin: str) -> pl.DataFrame:
    """Return the stretches of one burst, or of none, as rejected rows."""
    # Encoding needs a time even where there is none.
    timed = burst.with_columns(pl.col("instant").fill_null(pl.lit(EPOCH, SCHEMA["timestamp"])))
    stretches = _encoded(timed, tag, sample_rate, stamp)
    if burst["instant"].null_count():
        stretches = stretches.with_columns(timestamp=pl.lit(None, HEADS["timestamp"]))
    return stretches.join(burst.select(reason="fault", detail=detail_of(origin)), how="cross")
