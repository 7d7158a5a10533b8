"""`InfluxStore`: InfluxDB 1.x or 2.x as the historian store, tested by the same contract suite as the lake.

Samples are the measurement `samples` with one Influx tag (see `historian.stores.influx.line_protocol`). The ledger is
the measurement `ledger`: a point a write, stamped by the *server's* clock as it arrives, so that no edge's clock can
hide a write from a reader; its rows are JSON in the field `entries`, so that it adds a series a source, not a series a
tag.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Final

import polars as pl

from historian.errors import StoreUnavailable
from historian.prefetch import prefetch
from historian.samples import SCHEMA, SampleBatch, newest_wins, sample_batch
from historian.stores.influx.line_protocol import (
    HAS_NUMBER,
    MEASUREMENT,
    bodies,
    decoded,
    escaped_tag,
    escaped_text,
    tag_name,
    tag_value,
    unescaped_tag,
)
from historian.stores.influx.wire import Wire
from historian.stores.protocols import EXTREMES, GAPS, LEDGER
from historian.times import from_micros, micros

_BODY_LINES: Final = 20_000
"""Number of samples per request: larger requests are no faster, and delay others."""
_PREFETCH: Final = 4
"""Number of requests that may wait in memory while another is being written."""
_TAGS_PER_QUERY: Final = 200
_ENTRIES_PER_POINT: Final = 200
"""Number of entries per ledger point: a string may have 64 KiB, and a tag's name 256 characters."""
_POINTS_PER_BODY: Final = 20
_BINS: Final = 1_000
_MICROSECOND: Final = timedelta(microseconds=1)
_LATE_US: Final = 10 * 10**6
"""Longest time in microseconds from a ledger point's timestamp until it is visible."""
_ENTRY: Final = pl.Struct({"tag": pl.String(), "first": pl.Int64(), "last": pl.Int64(), "rows": pl.Int64()})
_FIELDS: Final = {"value": pl.Float64(), "text": pl.String(), "quality": pl.Int64()}
_FIRST, _LAST = datetime(1677, 9, 22, tzinfo=UTC), datetime(2262, 4, 11, tzinfo=UTC)
"""First and last instant of InfluxDB's timestamps, which are nanoseconds in 64 bits."""


class InfluxStore:
    """InfluxDB as a `Store`. Connects when first used.

    Args:
        wire: the connection, for the server's version.
        page_rows: approximate number of samples per page of `read`.
    """

    def __init__(self, wire: Wire, *, page_rows: int = 4_000_000) -> None:
        self._wire = wire
        self._page_rows = page_rows
        self._first_seen: dict[tuple[int, str], int] = {}
        self._newest_seen: int | None = None

    def close(self) -> None:
        """Close the connections; they are also closed when the process ends."""
        self._wire.close()

    def write(self, batch: SampleBatch, *, source: str, now: datetime) -> None:
        """See `Sink.write`. Also raises `AccessDenied` without the permission to write, or without the bucket."""
        if batch.is_empty():
            return
        for body in prefetch(bodies(batch, lines=_BODY_LINES), depth=_PREFETCH):
            self._wire.write(body, precision="us")
        for body in _ledger_bodies(batch, source):
            self._wire.write(body, precision="ns")

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """See `Reader.read`."""
        for first, last in self._page_ranges(tags, max(start, _FIRST), min(end, _LAST)):
            page = self._samples(tags, '"value","text","quality"', first, last)
            if not page.is_empty():
                yield page

    def latest(self, tags: Sequence[str]) -> SampleBatch:
        """See `Reader.latest`."""
        return self._samples(tags, '"value","text",last("quality") AS "quality"', _FIRST, _LAST)

    def extremes(self, tags: Sequence[str], start: datetime, end: datetime, *, every: timedelta) -> pl.DataFrame:
        """See `Overview.extremes`; computed by the server."""
        found = self._by_tag(
            f'SELECT min("value") AS "low", max("value") AS "high" FROM "{MEASUREMENT}" WHERE {{where}} '
            f'AND {HAS_NUMBER} GROUP BY time({every // _MICROSECOND}u), "tag" fill(none)',
            *(tags, start, end),
            fields={"low": pl.Float64(), "high": pl.Float64()},
        )
        return found.select(EXTREMES.names()).sort("tag", "timestamp")

    def gaps(self, tags: Sequence[str], start: datetime, end: datetime, *, longer_than: timedelta) -> pl.DataFrame:
        """See `Overview.gaps`; those between samples are computed by the server."""
        within = (tags, start, end)
        inside = self._by_tag(
            f'SELECT "gap" FROM (SELECT elapsed("quality", 1u) AS "gap" FROM "{MEASUREMENT}" WHERE {{where}} '
            f'GROUP BY "tag") WHERE "gap" > {longer_than // _MICROSECOND} GROUP BY "tag"',
            *within,
            fields={"gap": pl.Int64()},
        ).select("tag", after=pl.col("timestamp") - pl.duration(microseconds="gap"), before="timestamp")
        first, last = (self._instants(each, *within) for each in ("first", "last"))
        edges = pl.DataFrame({"tag": sorted(set(tags))}, schema={"tag": pl.String()}).join(first, on="tag", how="left")
        head = edges.select("tag", after=pl.lit(start, GAPS["after"]), before=pl.col("timestamp").fill_null(end))
        tail = last.select("tag", after="timestamp", before=pl.lit(end, GAPS["before"]))
        outer = pl.concat([head, tail]).filter(pl.col("before") - pl.col("after") > longer_than)
        return pl.concat([inside, outer]).sort("tag", "after")

    def changes(self, since: datetime | None) -> pl.DataFrame:
        """See `Reader.changes`.

        A ledger point may become visible slightly after one with a later timestamp. So the last seconds before `since`
        are read again, and points that were not visible when `since` was returned are returned now. A new process does
        not know which points were visible, and receives those seconds again.
        """
        cursor = 0 if since is None else micros(since)
        query = f'SELECT "entries" FROM "ledger" WHERE time > {(cursor - _LATE_US) * 1000} GROUP BY *'
        found = self._answer(query, {"entries": pl.String()}).with_columns(pl.col("time") // 1000)
        newest = max(found["time"], default=0)
        # A cursor from an earlier process guarantees only the newest point.
        before = newest - 1 if self._newest_seen is None else self._newest_seen
        seen = [self._first_seen.setdefault(key, before) for key in found.select("time", "tags").rows()]
        self._newest_seen = max(newest, before)
        recent = self._newest_seen - 2 * _LATE_US
        self._first_seen = {key: at for key, at in self._first_seen.items() if key[0] > recent}
        return _ledger(found.filter((pl.col("time") > cursor) | (pl.Series(seen, dtype=pl.Int64) >= cursor)))

    def _samples(self, tags: Sequence[str], fields: str, start: datetime, end: datetime) -> SampleBatch:
        """Return the samples of some tags and a range in one batch."""
        query = f'SELECT {fields} FROM "{MEASUREMENT}" WHERE {{where}} GROUP BY "tag"'
        rows = decoded(self._by_tag(query, tags, start, end, _FIELDS))
        return sample_batch(newest_wins(rows))

    def _instants(self, selector: str, tags: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """Return the time of each tag's `first` or `last` sample in the range: tag, timestamp."""
        query = f'SELECT {selector}("quality") FROM "{MEASUREMENT}" WHERE {{where}} GROUP BY "tag"'
        return self._by_tag(query, tags, start, end, {selector: pl.Int64()}).select("tag", "timestamp")

    def _by_tag(
        self, query: str, tags: Sequence[str], start: datetime, end: datetime, fields: dict[str, pl.DataType]
    ) -> pl.DataFrame:
        """Return the rows of a query grouped by tag: tag, timestamp, then the fields. `{where}` is filled in."""
        schema = pl.Schema({"name": pl.String(), "tags": pl.String(), "time": pl.Int64(), **fields})
        parts = [self._answer(query.replace("{where}", where), fields) for where in _wheres(tags, start, end)]
        tag = tag_name(unescaped_tag(pl.col("tags").str.slice(len("tag="))))
        instant = (pl.col("time") // 1000).cast(SCHEMA["timestamp"])
        return pl.concat([schema.to_frame(), *parts]).select(tag.alias("tag"), instant.alias("timestamp"), *fields)

    def _page_ranges(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield half-open ranges of about `page_rows` samples at most, as counted by the server; skip empty ones."""
        if start >= end:
            return
        step = max((end - start) // _BINS, _MICROSECOND)
        counts = [
            self._answer(
                f'SELECT count("quality") FROM "{MEASUREMENT}" WHERE {where} '
                f"GROUP BY time({step // _MICROSECOND}u) fill(none)",
                {"count": pl.Int64()},
            )
            for where in _wheres(tags, start, end)
        ]
        bins = pl.concat(counts).group_by("time").agg(pl.col("count").sum()).sort("time") if counts else None
        first, held = start, 0
        for at, count in bins.select("time", "count").iter_rows() if bins is not None else ():
            bin_start = max(from_micros(at // 1000), start)
            if held and held + count > self._page_rows:
                yield first, bin_start
                first, held = bin_start, 0
            if count > self._page_rows and step > _MICROSECOND:
                yield from self._page_ranges(tags, bin_start, min(bin_start + step, end))
                first, held = min(bin_start + step, end), 0
                continue
            first = first if held else bin_start
            held += count
        if held:
            yield first, end

    def _answer(self, query: str, fields: dict[str, pl.DataType]) -> pl.DataFrame:
        """Return a query's rows: name, tags, time in nanoseconds, fields. Parsed block by block as they arrive."""
        schema = pl.Schema({"name": pl.String(), "tags": pl.String(), "time": pl.Int64(), **fields})
        frames = [schema.to_frame()]
        header = True
        for block in _whole_rows(self._wire.query(query)):
            if header and block.startswith(b"error"):
                raise StoreUnavailable(f"InfluxDB cannot answer: {block.decode(errors='replace').strip()}")
            frames.append(pl.read_csv(BytesIO(block), has_header=False, skip_rows=int(header), schema=schema))
            header = False
        return pl.concat(frames)


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


def _wheres(tags: Sequence[str], start: datetime, end: datetime) -> Iterator[str]:
    """Yield conditions for the range and some of the tags at a time."""
    values = pl.Series(tags, dtype=pl.String).to_frame("tag").select(tag_value(pl.col("tag"))).to_series().to_list()
    for first in range(0, len(values), _TAGS_PER_QUERY):
        named = " OR ".join(f'"tag" = {_literal(value)}' for value in values[first : first + _TAGS_PER_QUERY])
        first_ns, end_ns = micros(max(start, _FIRST)) * 1000, micros(min(end, _LAST)) * 1000
        yield f"({named}) AND time >= {first_ns} AND time < {end_ns}"


def _literal(text: str) -> str:
    """Return text as an InfluxQL string."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def _ledger_bodies(batch: SampleBatch, source: str) -> Iterator[bytes]:
    """Yield the ledger rows of a write as points without a time: the server sets it."""
    series = _ledger_entries(batch).select(
        pl.format(
            'ledger,part={},source={} entries="{}"',
            "part",
            escaped_tag(tag_value(pl.lit(source))).first(),
            escaped_text(pl.col("entries")),
        )
    )
    for few in series.to_series().to_frame().iter_slices(_POINTS_PER_BODY):
        yield few.to_series().str.join("\n").item().encode()


def _ledger_entries(batch: SampleBatch) -> pl.DataFrame:
    """Return `part` and `entries`: the ledger rows of a write as lines of JSON, several in an entry."""
    entries = batch.group_by("tag", maintain_order=True).agg(
        first=pl.col("timestamp").min().cast(pl.Int64),
        last=pl.col("timestamp").max().cast(pl.Int64),
        rows=pl.len().cast(pl.Int64),
    )
    part = pl.int_range(pl.len()) // _ENTRIES_PER_POINT
    return entries.group_by(part.alias("part"), maintain_order=True).agg(
        pl.struct("tag", "first", "last", "rows").struct.json_encode().str.join("\n").alias("entries")
    )


def _ledger(points: pl.DataFrame) -> pl.DataFrame:
    """Return points of a response as ledger rows, columns of `LEDGER`, in order of time."""
    source = unescaped_tag(pl.col("tags").str.extract(r"(?:^|,)source=(.*)$")).str.replace(r"%$", "")
    entries = points.select(
        ingested_at=pl.col("time").cast(LEDGER["ingested_at"]),
        source=source,
        entry=pl.col("entries").str.split("\n"),
    ).explode("entry")
    unpacked = entries.with_columns(pl.col("entry").str.json_decode(_ENTRY)).unnest("entry")
    return unpacked.select(LEDGER.names()).cast(LEDGER).sort("ingested_at", "tag")
