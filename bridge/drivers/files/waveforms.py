"""Waveforms from files: the bursts of a range as stretches, and those that contradict an earlier burst."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import polars as pl

from bridge.drivers.files.bursts import SeenBursts, burst_stretches
from bridge.drivers.files.formats import GROUP, LONGEST, burst_tables, burst_times, rate_of
from bridge.drivers.files.layout import ArchiveFile, Span, within
from bridge.drivers.files.options import Options
from bridge.drivers.files.values import FAULT, GIVEN, INSTANT, ROW, Parsed
from bridge.drivers.raw_rows import RawRows
from historian.errors import SourceError
from historian.plant.connections import Tag
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.cutting import cut


class WaveformFiles:
    """The `Layout` of waveform files. Remembers the bursts it has yielded, to find those that contradict them."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._seen = SeenBursts()

    def span(self, file: ArchiveFile, tags: Sequence[Tag]) -> Span | None:
        """See `Layout.span`; found from the bursts' times, and from the size of the file or row group."""
        bursts = self._bursts(file, tags)
        earliest, latest = bursts[INSTANT].min(), bursts[INSTANT].max()
        slack = bursts["slack"].max()
        if not (isinstance(earliest, datetime) and isinstance(latest, datetime) and isinstance(slack, timedelta)):
            return None
        return Span(earliest, latest, slack)

    def pages(self, file: ArchiveFile, tags: Sequence[Tag], start: datetime, end: datetime) -> Iterator[Parsed]:
        """See `Layout.pages`; messages name a burst by its row, or by its value in the column `row`."""
        bursts = self._bursts(file, tags)
        instant, slack = pl.col(INSTANT), pl.col("slack")
        near = instant.is_null() | ((instant - slack < end) & (instant + slack >= start))
        groups = bursts.filter(near)[GROUP].unique().to_list()
        rate = rate_of(file.path)
        contradicting = [tag for tag in tags if rate is not None and round(tag.sample_rate or rate) != rate]
        tags = [tag for tag in tags if tag not in contradicting]
        absent: set[str] = set()
        addresses = list(dict.fromkeys(tag.address for tag in tags))
        for table in burst_tables(file.path, addresses, bursts.filter(pl.col(GROUP).is_in(groups)), self._options):
            absent.update(address for address in addresses if address not in table.columns)
            parts = [self._stretches(table, tag, file.name) for tag in tags if tag.address in table.columns]
            if parts:
                stretches = pl.concat([part.rows.waveforms for part in parts])
                rows = RawRows(waveforms=cut(WaveformBatch(stretches), start, end))
                rejected = pl.concat([part.rejected for part in parts])
                yield Parsed(rows, rejected.filter(within(start, end, "timestamp")))
        if absent:
            raise SourceError(f"it does not hold {', '.join(sorted(absent))}")
        if contradicting:
            given = ", ".join(f"{tag.sample_rate:g} Hz for {tag.name}" for tag in contradicting)
            raise SourceError(f"it was sampled at {rate} Hz, and plant.toml says {given}; correct sample_rate")

    def _bursts(self, file: ArchiveFile, tags: Sequence[Tag]) -> pl.DataFrame:
        """Return the times of all bursts, with the `slack` around them in which their samples lie."""
        times = burst_times(file.path, [tag.address for tag in tags], self._options)
        slowest = min(tag.sample_rate or 1.0 for tag in tags)
        slack = (pl.col(LONGEST) * 1e6 / slowest).ceil().cast(pl.Int64).cast(pl.Duration("us"))
        return times.with_columns(slack=slack)

    def _stretches(self, table: pl.DataFrame, tag: Tag, origin: str) -> Parsed:
        is_array = isinstance(table.schema[tag.address], pl.Array)
        values = pl.col(tag.address).arr.to_list() if is_array else pl.col(tag.address)
        bursts = table.select(row=ROW, instant=INSTANT, fault=FAULT, given=GIVEN, values=values)
        news = self._seen.news(tag.name, bursts.drop_nulls("values"))
        rate, stamp = tag.sample_rate or 1.0, self._options.stamp
        return burst_stretches(news, tag=tag.name, sample_rate=rate, stamp=stamp, origin=origin)
