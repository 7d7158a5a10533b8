"""Converts samples to InfluxDB line protocol, exactly and without a Python loop. Pure: frames in, bytes out.

    samples,tag=c101.de_h value=0.25,quality=0i 1772323200000000

One measurement; one Influx tag, `tag`, so that there are as many series as tags. Timestamps are microseconds.

InfluxDB merges the fields of a point: a later write of the same point replaces only the fields it names, so the old
value would remain under a Bad sample without a value. Therefore the integer `quality` is always written, and its bits
above the 32 bits of the OPC UA StatusCode say which fields are valid:

    quality >> 32      0 value      1 text      2 neither      3 both

so that for numbers `quality` is the bare code, and `quality = 0` in a dashboard means Good.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import polars as pl

from historian.samples import SCHEMA, SampleBatch

MEASUREMENT: Final = "samples"
_NUMBER, _TEXT, _NEITHER, _BOTH = range(4)
HAS_NUMBER: Final = f'("quality" < {_TEXT * 2**32} OR "quality" >= {_BOTH * 2**32})'
"""InfluxQL condition that is true where the field `value` is valid."""


def bodies(batch: SampleBatch, *, lines: int) -> Generator[bytes]:
    """Yield the batch as bodies of write requests of `lines` lines each, in the order of the batch."""
    for part in batch.rechunk().iter_slices(lines):
        yield sample_lines(SampleBatch(part)).str.join("\n").item().encode()


def sample_lines(batch: SampleBatch) -> pl.Series:
    """Return one line for each sample, without the newline."""
    quality = pl.col("quality").cast(pl.Int64) + _shape() * 2**32
    parts = [
        _series_keys(batch),
        pl.format("value={},", "value"),
        pl.format('text="{}",', escaped_text(pl.col("text"))),
        pl.format("quality={}i {}", quality, pl.col("timestamp").cast(pl.Int64)),
    ]
    return batch.select(pl.concat_str(parts, ignore_nulls=True)).to_series()


def escaped_text(text: pl.Expr) -> pl.Expr:
    """Escape a string inside the quotes of a field. Only quotes and backslashes need it."""
    return text.str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)


def tag_value(name: pl.Expr) -> pl.Expr:
    """Return a tag's name as an Influx tag value, without line protocol's escapes.

    A backslash cannot be escaped there, so at the end it would escape what follows. Therefore a percent sign is
    appended to a name that ends in a backslash or a percent sign.
    """
    return pl.when(name.str.contains(r"[\\%]$")).then(pl.format("{}%", name)).otherwise(name)


def tag_name(value: pl.Expr) -> pl.Expr:
    """Return the tag's name that an Influx tag value stands for: the inverse of `tag_value`."""
    return value.str.replace(r"%$", "")


def escaped_tag(value: pl.Expr) -> pl.Expr:
    """Escape the commas, spaces and equals signs of an Influx tag value."""
    return value.str.replace_all(r"([,= ])", r"\$1")


def unescaped_tag(value: pl.Expr) -> pl.Expr:
    """Undo `escaped_tag`: InfluxDB escapes tag values in its CSV answers."""
    return value.str.replace_all(r"\\([,= ])", "$1")


def decoded(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of a response as raw samples.

    Args:
        rows: tag, timestamp, value, text, and quality with the bits that say which fields are valid.
    """
    shape, code = pl.col("quality") // 2**32, pl.col("quality") % 2**32
    return rows.select(
        "tag",
        "timestamp",
        pl.when(shape.is_in([_NUMBER, _BOTH])).then("value"),
        pl.when(shape.is_in([_TEXT, _BOTH])).then(pl.col("text").fill_null("")),  # CSV has no word for an empty string
        code.cast(SCHEMA["quality"]).alias("quality"),
    )


def _shape() -> pl.Expr:
    has_value, has_text = pl.col("value").is_not_null(), pl.col("text").is_not_null()
    neither_or_text = pl.when(has_text).then(_TEXT).otherwise(_NEITHER)
    number_or_both = pl.when(has_text).then(_BOTH).otherwise(_NUMBER)
    return pl.when(has_value).then(number_or_both).otherwise(neither_or_text).cast(pl.Int64)


def _series_keys(batch: SampleBatch) -> pl.Expr:
    """Return the prefix `samples,tag=… ` of each row; each tag is escaped once."""
    tags = batch.select(pl.col("tag").unique())
    keys = tags.select("tag", key=pl.format(MEASUREMENT + ",tag={} ", escaped_tag(tag_value(pl.col("tag")))))
    return pl.col("tag").replace_strict(keys["tag"], keys["key"], return_dtype=pl.String)
