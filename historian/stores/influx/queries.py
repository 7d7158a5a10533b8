"""InfluxQL for the store: conditions, answers as frames, and ranges of time of about a page each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Final, NamedTuple

import polars as pl

from historian.errors import StoreUnavailable
from historian.samples import SCHEMA
from historian.stores.influx.line_protocol import tag_name, tag_value, unescaped_tag
from historian.stores.influx.wire import Wire
from historian.times import from_micros, micros

FIRST: Final = datetime(1677, 9, 22, tzinfo=UTC)
"""First instant of InfluxDB's timestamps, which are nanoseconds in 64 bits."""
LAST: Final = datetime(2262, 4, 11, tzinfo=UTC)
"""Last instant of InfluxDB's timestamps."""
MICROSECOND: Final = timedelta(microseconds=1)
_TAGS_PER_QUERY: Final = 200
_BINS: Final = 1_000


class Counted(NamedTuple):
    """What the pages of a range are measured by."""

    measurement: str
    number: str
    """InfluxQL expression for the size of an interval, an integer."""
    limit: int
    """Size of a page."""


class Queries:
    """InfluxQL over a wire, with the answers as frames.

    Args:
        wire: the connection.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def answer(self, *queries: str, fields: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """Return the rows of SELECT statements that have the same columns.

        Args:
            queries: sent in one request.
            fields: name of each selected column -> type.

        Returns:
            name, tags, time in nanoseconds, then the fields.
        """
        return self._rows(queries, {"time": pl.Int64(), **fields})

    def series(self, measurement: str, tags: Sequence[str]) -> pl.Series:
        """Return the keys of the series of a measurement that belong to some tags; answered from the server's index."""
        found = [
            self._rows([f'SHOW SERIES FROM "{measurement}" WHERE {named}'], {"key": pl.String()})["key"]
            for named in _named(tags)
        ]
        return pl.concat([pl.Series("key", [], pl.String), *found])

    def by_tag(
        self, query: str, tags: Sequence[str], start: datetime, end: datetime, fields: Mapping[str, pl.DataType]
    ) -> pl.DataFrame:
        """Return the rows of a query grouped by tag: tag, timestamp, then the fields. `{where}` is filled in."""
        schema = pl.Schema({"name": pl.String(), "tags": pl.String(), "time": pl.Int64(), **fields})
        parts = [self.answer(query.replace("{where}", where), fields=fields) for where in wheres(tags, start, end)]
        return with_tags(pl.concat([schema.to_frame(), *parts]))

    def page_ranges(
        self, counted: Counted, tags: Sequence[str], start: datetime, end: datetime, *, finest: timedelta = MICROSECOND
    ) -> Iterator[tuple[datetime, datetime]]:
        """Yield half-open ranges of about the size of a page at most, as counted by the server; skip empty ones.

        Args:
            counted: what is counted, and the size of a page.
            tags: the tags to count.
            start: first instant of the range.
            end: first instant after the range.
            finest: intervals up to this length are not divided, however many they have.
        """
        if start >= end:
            return
        step = max((end - start) // _BINS, MICROSECOND)
        first, held = start, 0
        for at, count in self._bins(counted, tags, (start, end), step).iter_rows():
            bin_start = max(from_micros(at // 1000), start)
            if held and held + count > counted.limit:
                yield first, bin_start
                first, held = bin_start, 0
            if count > counted.limit and step > finest:
                yield from self.page_ranges(counted, tags, bin_start, min(bin_start + step, end), finest=finest)
                first, held = min(bin_start + step, end), 0
                continue
            first = first if held else bin_start
            held += count
        if held:
            yield first, end

    def _bins(
        self, counted: Counted, tags: Sequence[str], within: tuple[datetime, datetime], step: timedelta
    ) -> pl.DataFrame:
        """Return time in nanoseconds and count of the intervals of length `step` that are not empty."""
        counts = [
            self.answer(
                f'SELECT {counted.number} AS "count" FROM "{counted.measurement}" WHERE {where} '
                f"GROUP BY time({step // MICROSECOND}u) fill(none)",
                fields={"count": pl.Int64()},
            ).select("time", "count")
            for where in wheres(tags, *within)
        ]
        empty = pl.DataFrame(schema={"time": pl.Int64(), "count": pl.Int64()})
        return pl.concat([empty, *counts]).group_by("time").agg(pl.col("count").sum()).sort("time")

    def _rows(self, queries: Sequence[str], columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """Return the rows of an answer: name, tags, then the columns. Parsed block by block as they arrive."""
        schema = pl.Schema({"name": pl.String(), "tags": pl.String(), **columns})
        header, frames = (",".join(schema) + "\n").encode(), [schema.to_frame()]
        for block in _whole_rows(self._wire.query("; ".join(queries))):
            if len(frames) == 1 and block.startswith(b"error"):
                raise StoreUnavailable(f"InfluxDB cannot answer: {block.decode(errors='replace').strip()}")
            rows = block.removeprefix(b"\n").removeprefix(header)
            if len(queries) > 1:  # an empty line and the header precede the rows of each
                rows = rows.replace(b"\n\n" + header, b"\n").rstrip(b"\n")
            if rows:
                frames.append(pl.read_csv(BytesIO(rows), has_header=False, schema=schema))
        return pl.concat(frames)


def with_tags(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of an answer grouped by tag as tag, timestamp, then the fields."""
    tag = tag_name(unescaped_tag(pl.col("tags").str.slice(len("tag="))))
    instant = (pl.col("time") // 1000).cast(SCHEMA["timestamp"])
    return rows.select(tag.alias("tag"), instant.alias("timestamp"), pl.exclude("name", "tags", "time"))


def wheres(tags: Sequence[str], start: datetime, end: datetime) -> Iterator[str]:
    """Yield conditions for the range and some of the tags at a time."""
    first_ns, end_ns = micros(max(start, FIRST)) * 1000, micros(min(end, LAST)) * 1000
    for named in _named(tags):
        yield f"{named} AND time >= {first_ns} AND time < {end_ns}"


def _named(tags: Sequence[str]) -> Iterator[str]:
    """Yield conditions for some of the tags at a time."""
    values = pl.Series(tags, dtype=pl.String).to_frame("tag").select(tag_value(pl.col("tag"))).to_series().to_list()
    for first in range(0, len(values), _TAGS_PER_QUERY):
        named = " OR ".join(f'"tag" = {_literal(value)}' for value in values[first : first + _TAGS_PER_QUERY])
        yield f"({named})"


def _literal(text: str) -> str:
    """Return text as an InfluxQL string."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def _whole_rows(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Split a stream of CSV at ends of rows: newlines outside quotes."""
    rest = b""
    for block in blocks:
        rest += block
        cut = rest.rfind(b"\n") + 1
        while cut and rest.count(b'"', 0, cut) % 2:
            cut = rest.rfind(b"\n", 0, cut - 1) + 1
        if cut:
            yield rest[:cut]
            rest = rest[cut:]
    if rest.strip():
        yield rest
