"""Which tag each series of an answer belongs to, and the rows of answers as cells. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import polars as pl

from bridge.drivers.influxdb.chunks import Block, frame_of
from bridge.drivers.influxdb.places import Place
from historian.samples import SCHEMA

Identity = tuple[tuple[str, str], ...]
_LISTED: Final = 3
_INDEX: Final = ("#block", "time")


class Matches(NamedTuple):
    """How the tags' addresses and the series of a database fit."""

    series: Mapping[str, Identity]
    """Tag -> the one series that it is read from."""
    ambiguous: Mapping[str, Sequence[Identity]]
    """Tag -> several series that its address matches."""


def matched(places: Mapping[str, Place], series: Iterable[tuple[str, str, Mapping[str, str]]]) -> Matches:
    """Match addresses with series.

    Args:
        places: tag -> where its samples are.
        series: measurement, field and Influx tags of every series.
    """
    found: dict[str, dict[Identity, None]] = {}
    held = [(measurement, field, tags) for measurement, field, tags in series]
    for tag, place in places.items():
        for measurement, field, tags in held:
            if (measurement, field) == (place.measurement, place.field) and place.matches(tags):
                found.setdefault(tag, {})[place.identity(tags)] = None
    return Matches(
        {tag: next(iter(each)) for tag, each in found.items() if len(each) == 1},
        {tag: list(each) for tag, each in found.items() if len(each) > 1},
    )


def ambiguity(place: Place, series: Sequence[Identity]) -> str:
    """Return what to do about an address that matches several series."""
    listed = "; ".join(",".join(f"{key}={value}" for key, value in each) for each in series[:_LISTED])
    more = f" and {len(series) - _LISTED} more" if len(series) > _LISTED else ""
    return (
        f"{len(series)} series of {place.measurement} match: {listed}{more}; name another tag in the address, or tag=* "
        "to read them as one"
    )


def grouped(blocks: Iterable[Block], rows: int) -> Iterator[list[Block]]:
    """Yield blocks of the same columns together, up to about `rows` rows."""
    held: list[Block] = []
    count = 0
    for block in blocks:
        if held and (count + block.rows > rows or block.columns != held[0].columns):
            yield held
            held, count = [], 0
        if block.rows:
            held.append(block)
            count += block.rows
    if held:
        yield held


def cells_of(
    blocks: Sequence[Block], places: Mapping[str, Place], *, numeric: bool, quality: str | None
) -> pl.DataFrame:
    """Return the points of blocks as cells, a row a field that has a value.

    Args:
        blocks: rows of the same columns.
        places: tag -> where its samples are.
        numeric: whether the values are numbers.
        quality: the field of qualities, if there is one.
    """
    frame = frame_of(blocks, numeric=numeric)
    fields = {place.field for place in places.values()} & set(blocks[0].columns)
    owners = [
        (number, place.field, tag)
        for number, block in enumerate(blocks)
        for tag, place in places.items()
        if place.field in fields and place.measurement == block.name and place.matches(block.tags)
    ]
    owner = pl.DataFrame(owners, {"#block": pl.UInt32(), "field": pl.String(), "tag": pl.String()}, orient="row")
    index = [*_INDEX, *([quality] if quality and quality not in fields else [])]
    points = frame.unpivot(on=sorted(fields), index=index, variable_name="field", value_name="#value").drop_nulls(
        "#value"
    )
    named = points.join(owner, on=["#block", "field"], maintain_order="left")
    absent = pl.lit(None)
    return named.select(
        "tag",
        timestamp=pl.col("time").cast(SCHEMA["timestamp"]),
        number=pl.col("#value") if numeric else absent.cast(pl.Float64),
        word=absent.cast(pl.String) if numeric else pl.col("#value"),
        grade=pl.col(quality).cast(pl.String) if len(index) > len(_INDEX) and quality else absent.cast(pl.String),
    )
