"""The speed that a waveform file states, as a sample of a speed tag, and compared with the plant file. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import polars as pl

from bridge.drivers.files.layout import within
from bridge.drivers.files.times import FAULT, GIVEN, INSTANT, ROW
from bridge.drivers.files.values import Parsed, detail_of
from bridge.drivers.raw_rows import RawRows
from historian.plant.connections import Tag
from historian.quality import GOOD
from historian.samples import SCHEMA
from historian.stated import RPM_PER, SPEED_TOLERANCE, speed_contradiction


def stated_speeds(head: pl.DataFrame, values: pl.Series, tag: Tag, origin: str) -> Parsed:
    """Return the speed that a file states as one sample at its start; one that cannot be used is rejected.

    Args:
        head: when the file starts: one row of `ROW`, `INSTANT`, `FAULT` and `GIVEN`.
        values: what it states: one number, or many that hardly vary, whose mean counts.
        tag: the speed tag.
        origin: the file, for messages.
    """
    numbers = values.cast(pl.Float64)
    row = head.select(
        tag=pl.lit(tag.name),
        timestamp=INSTANT,
        value=pl.lit(numbers.mean(), pl.Float64),
        text=pl.lit(None, pl.String),
        quality=pl.lit(GOOD, pl.UInt32),
        reason=pl.coalesce(FAULT, pl.lit(_fault(numbers), pl.String)),
        row=ROW,
        given=GIVEN,
    )
    usable = row.filter(pl.col("reason").is_null()).select(SCHEMA.names()).cast(SCHEMA)
    return Parsed(
        RawRows(samples=usable),
        row.filter(pl.col("reason").is_not_null()).select(*SCHEMA.names(), "reason", detail=detail_of(origin)),
    )


def _fault(numbers: pl.Series) -> str | None:
    """Return why numbers state no speed; None if they do."""
    finite = numbers.drop_nulls().filter(numbers.drop_nulls().is_finite())
    if len(finite) < max(len(numbers), 1):
        return "the file states no speed: a number is missing"
    spread = float(finite.max()) - float(finite.min())  # type: ignore[arg-type]  # of numbers, not of anything else
    if spread > SPEED_TOLERANCE * abs(float(finite.mean())):  # type: ignore[arg-type]
        return "the speed varies by more than 2 % in the file, so that one number cannot state it"
    return None


def speed_problems(tag: Tag, samples: pl.DataFrame) -> Iterator[str]:
    """Yield how stated speeds contradict the asset's fixed speed of their time; a standing shaft contradicts nothing.

    Args:
        tag: the speed tag.
        samples: its samples, raw.
    """
    for instant, value in samples.select("timestamp", "value").iter_rows():
        stated = (value * tag.scale + tag.offset) * RPM_PER.get(tag.unit, 1.0)
        fixed = [rpm for since, rpm in tag.fixed_rpm if since <= instant][-1]
        if fixed and stated > 0:
            found = speed_contradiction(tag.name, stated=stated, configured=fixed, by="the file")
            yield from [str(found)] if found else []


def within_range(parsed: Parsed, start: datetime, end: datetime) -> Parsed:
    """Return what lies in start <= timestamp < end, and what has no time."""
    inside = within(start, end, "timestamp")
    return Parsed(RawRows(samples=parsed.rows.samples.filter(inside)), parsed.rejected.filter(inside))
