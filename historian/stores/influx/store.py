"""`InfluxStore`: InfluxDB 1.x or 2.x as the historian store, tested by the same contract suite as the lake.

Samples are the measurement `samples` with one Influx tag (see `historian.stores.influx.line_protocol`), stretches the
measurement `waveforms` (`waveform_lines`), and the ledger the measurement `ledger`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from historian.prefetch import prefetch
from historian.samples import SampleBatch, newest_wins, sample_batch
from historian.stores.influx.ledger import ledger, ledger_bodies
from historian.stores.influx.line_protocol import HAS_NUMBER, MEASUREMENT, bodies, decoded
from historian.stores.influx.queries import FIRST, LAST, MICROSECOND, Counted, Queries
from historian.stores.influx.waveform_overview import waveform_extremes, waveform_gaps
from historian.stores.influx.waveforms import Waveforms
from historian.stores.influx.wire import Wire
from historian.stores.overview import extremes_of
from historian.stores.protocols import GAPS, ledger_rows, waveform_ledger_rows
from historian.times import micros
from historian.waveforms.batch import WaveformBatch

_BODY_LINES: Final = 20_000
"""Number of samples per request: larger requests are no faster, and delay others."""
_PREFETCH: Final = 4
"""Number of requests that may wait in memory while another is being written."""
_LATE_US: Final = 10 * 10**6
"""Longest time in microseconds from a ledger point's timestamp until it is visible."""
_FIELDS: Final = {"value": pl.Float64(), "text": pl.String(), "quality": pl.Int64()}


class InfluxStore:
    """InfluxDB as a `Store`. Connects when first used.

    Args:
        wire: the connection, for the server's version.
        page_rows: approximate number of samples per page of `read`.
    """

    def __init__(self, wire: Wire, *, page_rows: int = 4_000_000) -> None:
        self._wire = wire
        self._queries = Queries(wire)
        self._waveforms = Waveforms(wire, page_rows=page_rows)
        self._counted = Counted(MEASUREMENT, 'count("quality")', page_rows)
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
        self._write_ledger(ledger_rows(batch, source=source, ingested_at=now))

    def write_waveforms(self, batch: WaveformBatch, *, source: str, now: datetime) -> None:
        """See `Sink.write_waveforms`. Also raises `AccessDenied` as `write` does."""
        if batch.is_empty():
            return
        self._waveforms.write(batch, now=now)
        self._write_ledger(waveform_ledger_rows(batch, source=source, ingested_at=now))

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """See `Reader.read`."""
        for first, last in self._queries.page_ranges(self._counted, tags, max(start, FIRST), min(end, LAST)):
            page = self._samples(tags, '"value","text","quality"', first, last)
            if not page.is_empty():
                yield page

    def read_waveforms(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[WaveformBatch]:
        """See `Reader.read_waveforms`."""
        return self._waveforms.read(tags, start, end)

    def latest(self, tags: Sequence[str]) -> SampleBatch:
        """See `Reader.latest`."""
        samples = self._samples(tags, '"value","text",last("quality") AS "quality"', FIRST, LAST)
        both = pl.concat([samples, self._waveforms.latest(tags)]).sort("tag", "timestamp")
        return sample_batch(both.unique("tag", keep="last", maintain_order=True))

    def extremes(self, tags: Sequence[str], start: datetime, end: datetime, *, every: timedelta) -> pl.DataFrame:
        """See `Overview.extremes`; those of samples are computed by the server."""
        found = self._queries.by_tag(
            f'SELECT min("value") AS "low", max("value") AS "high" FROM "{MEASUREMENT}" WHERE {{where}} '
            f'AND {HAS_NUMBER} GROUP BY time({every // MICROSECOND}u), "tag" fill(none)',
            *(tags, start, end),
            fields={"low": pl.Float64(), "high": pl.Float64()},
        )
        waveforms = waveform_extremes(self._waveforms, tags, start, end, every=every)
        return extremes_of([found, waveforms], every)

    def gaps(self, tags: Sequence[str], start: datetime, end: datetime, *, longer_than: timedelta) -> pl.DataFrame:
        """See `Overview.gaps`; those between samples are computed by the server."""
        stretched = waveform_gaps(self._waveforms, tags, start, end, longer_than=longer_than)
        sampled = sorted({*tags} - {*stretched.tags})
        found = self._sample_gaps(sampled, start, end, longer_than)
        return pl.concat([found, stretched.gaps]).sort("tag", "after")

    def _sample_gaps(self, tags: Sequence[str], start: datetime, end: datetime, longer_than: timedelta) -> pl.DataFrame:
        within = (tags, start, end)
        inside = self._queries.by_tag(
            f'SELECT "gap" FROM (SELECT elapsed("quality", 1u) AS "gap" FROM "{MEASUREMENT}" WHERE {{where}} '
            f'GROUP BY "tag") WHERE "gap" > {longer_than // MICROSECOND} GROUP BY "tag"',
            *within,
            fields={"gap": pl.Int64()},
        ).select("tag", after=pl.col("timestamp") - pl.duration(microseconds="gap"), before="timestamp")
        first, last = (self._instants(each, *within) for each in ("first", "last"))
        edges = pl.DataFrame({"tag": tags}, schema={"tag": pl.String()}).join(first, on="tag", how="left")
        head = edges.select("tag", after=pl.lit(start, GAPS["after"]), before=pl.col("timestamp").fill_null(end))
        tail = last.select("tag", after="timestamp", before=pl.lit(end, GAPS["before"]))
        outer = pl.concat([head, tail]).filter(pl.col("before") - pl.col("after") > longer_than)
        return pl.concat([inside, outer])

    def changes(self, since: datetime | None) -> pl.DataFrame:
        """See `Reader.changes`.

        A ledger point may become visible slightly after one with a later timestamp. So the last seconds before `since`
        are read again, and points that were not visible when `since` was returned are returned now. A new process does
        not know which points were visible, and receives those seconds again.
        """
        cursor = 0 if since is None else micros(since)
        query = f'SELECT "entries" FROM "ledger" WHERE time > {(cursor - _LATE_US) * 1000} GROUP BY *'
        found = self._queries.answer(query, fields={"entries": pl.String()}).with_columns(pl.col("time") // 1000)
        newest = max(found["time"], default=0)
        # A cursor from an earlier process guarantees only the newest point.
        before = newest - 1 if self._newest_seen is None else self._newest_seen
        seen = [self._first_seen.setdefault(key, before) for key in found.select("time", "tags").rows()]
        self._newest_seen = max(newest, before)
        recent = self._newest_seen - 2 * _LATE_US
        self._first_seen = {key: at for key, at in self._first_seen.items() if key[0] > recent}
        return ledger(found.filter((pl.col("time") > cursor) | (pl.Series(seen, dtype=pl.Int64) >= cursor)))

    def _write_ledger(self, rows: pl.DataFrame) -> None:
        for body in ledger_bodies(rows):
            self._wire.write(body, precision="ns")

    def _samples(self, tags: Sequence[str], fields: str, start: datetime, end: datetime) -> SampleBatch:
        """Return the samples of some tags and a range in one batch."""
        query = f'SELECT {fields} FROM "{MEASUREMENT}" WHERE {{where}} GROUP BY "tag"'
        rows = decoded(self._queries.by_tag(query, tags, start, end, _FIELDS))
        return sample_batch(newest_wins(rows))

    def _instants(self, selector: str, tags: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """Return the time of each tag's `first` or `last` sample in the range: tag, timestamp."""
        query = f'SELECT {selector}("quality") FROM "{MEASUREMENT}" WHERE {{where}} GROUP BY "tag"'
        return self._queries.by_tag(query, tags, start, end, {selector: pl.Int64()}).select("tag", "timestamp")
