"""Makes samples of rows in which nothing needs a look: numbers of Good quality whose times can be read. Columnar.

The other rows and columns are left to `values.parse_cells`, which gives the same samples cell by cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from bridge.drivers.files.options import Options
from bridge.drivers.files.qualities import graded
from bridge.drivers.files.times import FAULT, INSTANT
from historian.plant.connections import Tag
from historian.quality import GOOD
from historian.samples import SCHEMA


class Divided(NamedTuple):
    """Rows of a table, divided into samples and what needs a look."""

    samples: pl.DataFrame
    """Columns of `SCHEMA`."""
    rows: pl.DataFrame
    """Rows that need a look."""
    tags: Sequence[Tag]
    """The tags of which they do."""


def numeric_columns(options: Options, tags: Sequence[Tag]) -> frozenset[str]:
    """Return the columns of a text table that may be read as numbers: those of numeric tags, written with a point."""
    if options.decimal != "." or options.thousands or _are_ambiguous(tags):
        return frozenset()
    if options.layout == "long":
        return frozenset(options.values) if not _has_states(tags) and len(options.values) == 1 else frozenset()
    return frozenset(tag.address for tag in tags if tag.kind != "state")


def divided_long(rows: pl.DataFrame, tags: Sequence[Tag], options: Options) -> Divided:
    """Divide the rows of a long table."""
    value = options.values[0]
    if _has_states(tags) or _are_ambiguous(tags) or len(options.values) > 1 or not rows.schema[value].is_float():
        return Divided(SCHEMA.to_frame(), rows, tags)
    grading = options.grading
    quality = graded(grading, "#grade") if grading else pl.lit(GOOD, pl.UInt32)
    grade = [pl.col(grading.column).cast(pl.String).alias("#grade")] if grading else []
    good = (rows.with_columns(grade) if grade else rows).select(
        pl.col(value).is_not_null() & pl.col(FAULT).is_null() & (quality == GOOD).fill_null(value=False)
    )
    plain = good.to_series()
    chosen = rows if plain.all() else rows.filter(plain)
    samples = _samples(chosen.select(_names(chosen[options.tag], tags), timestamp=INSTANT, value=value))
    known = samples.drop_nulls("tag") if samples["tag"].null_count() else samples
    return Divided(known, rows.filter(~plain) if chosen.height < rows.height else rows.clear(), tags)


def divided_wide(rows: pl.DataFrame, tags: Sequence[Tag], _options: Options) -> Divided:
    """Divide the rows and columns of a wide table; a row whose time cannot be read leaves all of them to a look."""
    schema = rows.schema  # looking it up takes as long as it has columns
    floats = {name for name, kind in schema.items() if kind.is_float()}
    plain = [tag for tag in tags if tag.kind != "state" and tag.address in floats]
    if not plain or rows[FAULT].null_count() < rows.height or _are_ambiguous(tags):
        return Divided(SCHEMA.to_frame(), rows, tags)
    columns = rows.select(INSTANT, **{tag.name: tag.address for tag in sorted(plain, key=lambda tag: tag.name)})
    found = columns.unpivot(index=INSTANT, variable_name="tag", value_name="value")
    filled = found.drop_nulls("value") if found["value"].null_count() else found
    others = [tag for tag in tags if tag.kind == "state" or tag.address not in floats]
    rest = rows if others else rows.clear()
    return Divided(_samples(filled.rename({INSTANT: "timestamp"})), rest, others)


def _names(addresses: pl.Series, tags: Sequence[Tag]) -> pl.Series:
    """Return the name of the tag of each address, null where there is none; blanks around an address do not count."""
    names, text = {tag.address: tag.name for tag in tags}, addresses.cast(pl.String)
    found = text.replace_strict(names, default=None, return_dtype=pl.String)
    if found.null_count():
        found = text.str.strip_chars().replace_strict(names, default=None, return_dtype=pl.String)
    return found.alias("tag")


def _samples(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of tag, timestamp and value as Good samples."""
    constant = {"text": pl.lit(None, pl.String), "quality": pl.lit(GOOD, pl.UInt32)}
    return rows.select("tag", "timestamp", pl.col("value").cast(pl.Float64), **constant)


def _has_states(tags: Sequence[Tag]) -> bool:
    return any(tag.kind == "state" for tag in tags)


def _are_ambiguous(tags: Sequence[Tag]) -> bool:
    """Return whether two tags have one address."""
    return len({tag.address for tag in tags}) < len(tags)
