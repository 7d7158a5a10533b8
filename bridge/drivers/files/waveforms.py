"""Waveforms from files: the bursts of a range, as stretches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import polars as pl

from bridge.drivers.files.bursts import burst_stretches
from bridge.drivers.files.formats import GROUP, LONGEST, burst_tables, burst_times
from bridge.drivers.files.layout import ArchiveFile, Span
from bridge.drivers.files.options import Options
from bridge.drivers.files.values import INSTANT, Parsed
from bridge.drivers.raw_rows import RawRows
from historian.errors import SourceError
from historian.plant.connections import Tag
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.cutting import cut


class WaveformFiles:
    """The `Layout` of waveform files."""

    def __init__(self, options: Options) -> None:
        self._options = options

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
        absent: set[str] = set()
        addresses = list(dict.fromkeys(tag.address for tag in tags))
        for table in burst_tables(file.path, addresses, bursts.filter(pl.col(GROUP).is_in(groups)), self._options):
            absent.update(address for address in addresses if address not in table.columns)
            present = [tag for tag in tags if tag.address in table.columns]
            parts = [burst_stretches(table, tag, stamp=self._options.stamp, origin=file.name) for tag in present]
            if parts:
                stretches = pl.concat([part.rows.waveforms for part in parts])
                rows = RawRows(waveforms=cut(WaveformBatch(stretches), start, end))
                yield Parsed(rows, pl.concat([part.rejected for part in parts]))
        if absent:
            raise SourceError(f"it does not hold {', '.join(sorted(absent))}")

    def _bursts(self, file: ArchiveFile, tags: Sequence[Tag]) -> pl.DataFrame:
        """Return the times of all bursts, with the `slack` around them in which their samples lie."""
        times = burst_times(file.path, [tag.address for tag in tags], self._options)
        slowest = min(tag.sample_rate or 1.0 for tag in tags)
        slack = (pl.col(LONGEST) * 1e6 / slowest).ceil().cast(pl.Int64).cast(pl.Duration("us"))
        return times.with_columns(slack=slack)
