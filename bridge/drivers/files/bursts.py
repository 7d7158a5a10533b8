"""Converts bursts of a waveform to samples, and finds those that contradict an earlier burst. Pure and columnar."""

from __future__ import annotations

from typing import Final, Literal

import polars as pl

from bridge.drivers.files.values import Parsed, detail_of
from historian.quality import BAD_NO_DATA, GOOD
from historian.samples import SCHEMA

BURSTS: Final = pl.Schema(
    {
        "row": pl.String(),
        "instant": SCHEMA["timestamp"],
        "fault": pl.String(),
        "given": pl.String(),
        "values": pl.List(pl.Float64()),
    }
)
"""Columns of a burst: its name in messages, its time or why it has none and the text at fault, and its samples."""


class SeenBursts:
    """The bursts that one request has yielded, across files and pages: their times, and digests of their samples."""

    def __init__(self) -> None:
        self._seen: dict[str, pl.DataFrame] = {}

    def news(self, tag: str, bursts: pl.DataFrame) -> pl.DataFrame:
        """Return bursts (columns of `BURSTS`) without exact repeats; those that contradict an earlier one get a fault.

        Two different bursts of one tag at one time cannot both be right, and nobody can know which is: the first one
        is kept.
        """
        given = bursts.select("instant", digest=pl.col("values").hash())
        seen = pl.concat([self._seen.get(tag, given.clear()), given])
        verdicts = seen.select(
            new=pl.col("instant").is_first_distinct(),
            same=pl.col("digest") == pl.col("digest").first().over("instant"),
        )
        self._seen[tag] = seen.filter(verdicts["new"])
        contradiction = pl.lit("another burst of the tag at this time has different samples; the first one given stays")
        return (
            bursts.hstack(verdicts.tail(bursts.height))
            .filter(pl.col("new") | ~pl.col("same"))
            .rechunk()  # Polars 2.1 panics when `format` joins a literal with a column of several chunks
            .with_columns(
                fault=pl.coalesce("fault", pl.when(~pl.col("new")).then(contradiction)),
                given=pl.coalesce("given", pl.when(~pl.col("new")).then(pl.col("instant").dt.to_string("iso:strict"))),
            )
            .select(BURSTS.names())
        )


def burst_samples(
    bursts: pl.DataFrame, *, tag: str, sample_rate: float, stamp: Literal["first", "last"], origin: str
) -> Parsed:
    """Convert bursts (columns of `BURSTS`) to samples; those of faulty bursts are rejected.

    Sample i of n is taken round(i / sample_rate) microseconds after the burst's time; if that is the time of the `last`
    sample, round((i - (n - 1)) / sample_rate) after it. A sample missing from a burst becomes a Bad row.
    """
    length = pl.col("values").list.len().cast(pl.Int64)
    first = pl.lit(0, pl.Int64) if stamp == "first" else 1 - length
    offset = (pl.col("step") * 1e6 / sample_rate).round(mode="half_to_even").cast(pl.Int64).cast(pl.Duration("us"))
    quality = pl.when(pl.col("values").is_null()).then(BAD_NO_DATA).otherwise(GOOD).cast(pl.UInt32)
    samples = (
        pl.lit(tag).alias("tag"),
        (pl.col("instant") + offset).alias("timestamp"),
        pl.col("values").alias("value"),
        pl.lit(None, pl.String).alias("text"),
        quality.alias("quality"),
    )

    def exploded(of: pl.DataFrame, *more: str) -> pl.DataFrame:
        steps = of.filter(length > 0).with_columns(
            step=pl.int_ranges(first, first + length), reason="fault", detail=detail_of(origin)
        )
        return steps.select("instant", "values", "step", *more).explode("values", "step").select(*samples, *more)

    faulty = pl.col("fault").is_not_null()
    return Parsed(exploded(bursts.filter(~faulty)), exploded(bursts.filter(faulty), "reason", "detail"))
