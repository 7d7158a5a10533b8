"""Waveforms in InfluxDB: writing, reading and the newest sample. See `historian.stores.influx.waveform_lines`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import polars as pl

from historian.prefetch import prefetch
from historian.samples import SampleBatch, empty_batch, sample_batch
from historian.stores.influx.queries import FIRST, LAST, MICROSECOND, Counted, Queries, wheres, with_tags
from historian.stores.influx.waveform_lines import (
    FIELDS,
    MEASUREMENT,
    longest_us,
    period_us,
    series_octaves,
    stretches,
    waveform_bodies,
)
from historian.stores.influx.wire import Wire
from historian.stores.waveform_pages import page_ranges
from historian.times import from_micros, micros
from historian.waveforms.batch import WAVEFORM_SCHEMA, WaveformBatch, waveform_batch
from historian.waveforms.cutting import cut
from historian.waveforms.joining import newest_wins_waveforms
from historian.waveforms.packing import newest_samples

_BODY: Final = 20 * 44_000
"""Bytes per request, 20 of the longest stretches: on 2.8, one a request took three times as long."""
_PREFETCH: Final = 4
"""Number of requests that may wait in memory while another is being written."""
_STATEMENTS: Final = 50
"""Number of SELECT statements per request where stretches far apart are read."""
_TOGETHER: Final = "1s"
"""Tags whose newest stretches begin in the same interval of this length are read together by `latest`."""


class Page(NamedTuple):
    """A part of a range with all stretches that can have a sample in it, or replace one; any number of versions."""

    start: datetime
    end: datetime
    rows: pl.DataFrame


class Waveforms:
    """The measurement `waveforms` of an InfluxDB.

    Args:
        wire: the connection.
        page_rows: approximate number of samples per page of `read`.
    """

    def __init__(self, wire: Wire, *, page_rows: int) -> None:
        self._wire = wire
        self._queries = Queries(wire)
        self._page_rows = page_rows
        self._written = 0

    def write(self, batch: WaveformBatch, *, now: datetime) -> None:
        """Store stretches. Of several writes of this object the last one is the newest, whatever the clock says."""
        self._written = max(micros(now), self._written + 1)
        for body in prefetch(waveform_bodies(batch, written=self._written, size=_BODY), depth=_PREFETCH):
            self._wire.write(body, precision="ns")

    def octaves(self, tags: Sequence[str]) -> dict[int, list[str]]:
        """Return which tags have stretches with a sample rate in each octave; a tag may be in several."""
        found = series_octaves(self._queries.series(MEASUREMENT, tags))
        by_octave = found.group_by("octave", maintain_order=True).agg("tag")
        return dict(zip(by_octave["octave"].to_list(), by_octave["tag"].to_list(), strict=True))

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[WaveformBatch]:
        """See `Reader.read_waveforms`."""
        for page in self.pages(tags, start, end, FIELDS, 'sum("count")'):
            kept = newest_wins_waveforms(stretches(page.rows), written="written")
            for first, last in page_ranges(kept, page.start, page.end, self._page_rows):
                batch = cut(WaveformBatch(kept.select(WAVEFORM_SCHEMA.names())), first, last)
                if not batch.is_empty():
                    yield waveform_batch(batch)

    def latest(self, tags: Sequence[str]) -> SampleBatch:
        """See `Reader.latest`."""
        octaves = self.octaves(tags)
        query = f'SELECT last("count") AS "count" FROM "{MEASUREMENT}" WHERE {{where}} GROUP BY "tag"'
        names = _names(octaves)
        last = self._queries.by_tag(query, names, FIRST, LAST, {"count": pl.Int64()})
        groups = last.group_by(pl.col("timestamp").dt.truncate(_TOGETHER).alias("at")).agg("tag", "timestamp")
        found = [empty_batch()]
        for together, begun in groups.select("tag", "timestamp").iter_rows():
            chosen = {octave: sorted({*mine} & {*together}) for octave, mine in octaves.items()}
            rows = [self._before(chosen, FIELDS, min(begun)), self._stretches(together, FIELDS, min(begun), LAST)]
            found.append(newest_samples(newest_wins_waveforms(stretches(pl.concat(rows)), written="written")))
        return sample_batch(pl.concat(found).sort("tag"))

    def pages(
        self, tags: Sequence[str], start: datetime, end: datetime, fields: Mapping[str, pl.DataType], number: str
    ) -> Iterator[Page]:
        """Yield the parts of a range with the stretches that touch each part.

        Each stretch is read once. Stretches that begin up to a period after a page are read with it, because one of
        them may replace the last sample of another in the page.

        Args:
            tags: the tags to read.
            start: first instant of the range.
            end: first instant after the range.
            fields: the fields to read.
            number: InfluxQL expression for the size of a part, of which there are about `page_rows` in each.
        """
        start, end = max(start, FIRST), min(end, LAST)
        octaves = self.octaves(tags)
        if not octaves or start >= end:
            return
        names, ahead = _names(octaves), max(map(period_us, octaves))
        rows, fetched, first = self._before(octaves, fields, start), start, start
        counted, finest = (
            Counted(MEASUREMENT, number, self._page_rows),
            timedelta(microseconds=max(map(longest_us, octaves))),
        )
        for last in self._borders(counted, names, (start, end), finest):
            until = from_micros(min(micros(last) + ahead, micros(LAST)))
            rows = pl.concat([rows, self._stretches(names, fields, fetched, until)])
            yield Page(first, last, rows)
            rows, fetched, first = rows.filter(pl.col("end") > micros(last)), until, last

    def with_values(self, chosen: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Yield stretches with their values, as `stretches` returns them, about `page_rows` samples at a time.

        Args:
            chosen: rows of a page.
        """
        for request in _requests(chosen, self._page_rows):
            queries = [
                f'SELECT {_selected(FIELDS)} FROM "{MEASUREMENT}" WHERE {where} GROUP BY "tag"'
                for tags, first, last in request.select("tag", "first", "last").iter_rows()
                for where in wheres(tags, first, last + MICROSECOND)
            ]
            found = stretches(with_tags(self._queries.answer(*queries, fields=FIELDS)))
            yield found.join(chosen, on=["tag", "timestamp", "sample_rate", "count"], how="semi", maintain_order="left")

    def _borders(
        self, counted: Counted, tags: Sequence[str], within: tuple[datetime, datetime], finest: timedelta
    ) -> Iterator[datetime]:
        """Yield the ends of the pages."""
        last, end = within
        for _, last in self._queries.page_ranges(counted, tags, *within, finest=finest):
            yield last
        if last < end:
            yield end

    def _before(
        self, octaves: Mapping[int, Sequence[str]], fields: Mapping[str, pl.DataType], start: datetime
    ) -> pl.DataFrame:
        """Return the stretches that begin before an instant and end after it.

        A stretch of a tag's octave cannot have begun earlier than `longest_us`, so no more is looked at.
        """
        found = [_empty(fields)]
        for octave, tags in octaves.items():
            earliest = from_micros(max(micros(start) - longest_us(octave), micros(FIRST)))
            where = f'"octave" = \'{octave}\' AND "end" > {micros(start)} AND {{where}}'
            query = f'SELECT {_selected(fields)} FROM "{MEASUREMENT}" WHERE {where} GROUP BY "tag"'
            found.append(self._queries.by_tag(query, tags, earliest, start, fields))
        return pl.concat(found)

    def _stretches(
        self, tags: Sequence[str], fields: Mapping[str, pl.DataType], start: datetime, end: datetime
    ) -> pl.DataFrame:
        """Return the stretches that begin in a range."""
        if start >= end:
            return _empty(fields)
        query = f'SELECT {_selected(fields)} FROM "{MEASUREMENT}" WHERE {{where}} GROUP BY "tag"'
        return self._queries.by_tag(query, tags, start, end, fields)


def _requests(chosen: pl.DataFrame, samples: int) -> Iterator[pl.DataFrame]:
    """Yield which tags and which starts the statements of each request select: tag, first, last.

    Stretches that overlap in time, also of different tags, are in one statement.
    """
    portion = pl.col("count").cast(pl.Int64).cum_sum() // samples
    apart = pl.col("timestamp").to_physical() > pl.col("end").cum_max().shift()
    begins = (apart | (portion != portion.shift())).fill_null(value=True)
    placed = chosen.sort("timestamp").with_columns(statement=begins.cum_sum(), portion=portion)
    statements = placed.group_by("statement", maintain_order=True).agg(
        pl.col("tag").unique().sort(),
        pl.col("portion").first(),
        first=pl.col("timestamp").min(),
        last=pl.col("timestamp").max(),
    )
    request = pl.struct("portion", pl.col("statement") // _STATEMENTS)
    yield from statements.with_columns(request=request.rle_id()).partition_by("request", maintain_order=True)


def _names(octaves: Mapping[int, Sequence[str]]) -> list[str]:
    """Return the tags of all octaves."""
    return sorted({tag for tags in octaves.values() for tag in tags})


def _selected(fields: Mapping[str, pl.DataType]) -> str:
    return ",".join(f'"{name}"' for name in fields)


def _empty(fields: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame(schema={"tag": pl.String(), "timestamp": WAVEFORM_SCHEMA["timestamp"], **fields})
