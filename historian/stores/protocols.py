"""The store protocols: the bridge writes to them, and the feature jobs read from them.

One contract suite (`tests/contracts/test_store.py`) tests every implementation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import polars as pl

from historian.samples import SampleBatch
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.timing import last_us

LEDGER: Final = pl.Schema(
    {
        "ingested_at": pl.Datetime("us", "UTC"),
        "source": pl.String(),
        "tag": pl.String(),
        "first": pl.Datetime("us", "UTC"),
        "last": pl.Datetime("us", "UTC"),
        "rows": pl.Int64(),
    }
)

EXTREMES: Final = pl.Schema(
    {"tag": pl.String(), "timestamp": pl.Datetime("us", "UTC"), "low": pl.Float64(), "high": pl.Float64()}
)
GAPS: Final = pl.Schema({"tag": pl.String(), "after": pl.Datetime("us", "UTC"), "before": pl.Datetime("us", "UTC")})


class Sink(Protocol):
    """A store that batches are written to. A tag has either samples or waveforms."""

    def write(self, batch: SampleBatch, *, source: str, now: datetime) -> None:
        """Store the batch durably, then its ledger rows. A sample replaces the one of the same (tag, timestamp).

        Args:
            batch: samples; an empty batch writes nothing.
            source: name of the source in the ledger.
            now: the writer's clock.

        Raises:
            StoreUnavailable: nothing is known about the batch; write it again later.
            InvalidBatch: the store rejects the contents.
        """

    def write_waveforms(self, batch: WaveformBatch, *, source: str, now: datetime) -> None:
        """Store stretches durably, then their ledger rows.

        On its interval, the newest written stretch of a tag counts, as in
        `historian.waveforms.joining.newest_wins_waveforms`. Arguments and errors are those of `write`.
        """


class Reader(Protocol):
    """A store that is read from. All ranges are half-open: start <= timestamp < end."""

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """Yield the samples of `tags` in pages of bounded size.

        Args:
            tags: the tags to read; tags without samples are not an error.
            start: first instant of the range.
            end: first instant after the range.

        Yields:
            Batches, each wholly later than the one before; samples of one timestamp are in one page.

        Raises:
            StoreUnavailable: the store cannot be read at present.
        """
        ...

    def read_waveforms(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[WaveformBatch]:
        """Yield the stretches of `tags` that touch the range, cut to it, in pages of a bounded number of samples.

        Args:
            tags: the tags to read; tags without waveforms are not an error.
            start: first instant of the range.
            end: first instant after the range.

        Yields:
            Batches, all samples of each wholly later than those of the one before. A page may begin or end inside a
            stretch, which is then cut.

        Raises:
            StoreUnavailable: the store cannot be read at present.
        """
        ...

    def latest(self, tags: Sequence[str]) -> SampleBatch:
        """Return the newest sample of each of `tags`, sorted by tag; a tag without samples has no row.

        Of a tag with waveforms it is the last sample of the last stretch; see
        `historian.waveforms.packing.newest_samples`.
        """
        ...

    def changes(self, since: datetime | None) -> pl.DataFrame:
        """Return what was written after `since`: for each write and tag, the interval of time it covers.

        `last` is the time of the last sample and `rows` is a number of samples, also if stretches were written.

        `ingested_at` strictly increases from write to write. That of the last row is therefore the cursor for the next
        call, and no write is ever missed, whatever process made it. A store may merge old rows of a tag and source. The
        merged row has the newest `ingested_at` of them and covers all of them: a reader with a cursor between them
        receives a superset of the changes, never less.

        Args:
            since: `ingested_at` of the last row known; None for all rows.

        Returns:
            Rows with `ingested_at` > since, sorted by it: columns of `LEDGER`.
        """
        ...


class Overview(Protocol):
    """Summaries of a long range for plots and checks, computed without moving its samples over the network.

    Both are exact for waveforms too. Stretches are summarised by their statistics; only those that the border of an
    interval cuts are decoded.
    """

    def extremes(self, tags: Sequence[str], start: datetime, end: datetime, *, every: timedelta) -> pl.DataFrame:
        """Return the lowest and the highest number of each tag in each interval of length `every`.

        Args:
            tags: the tags to read; samples of any quality count, values that are not finite do not.
            start: first instant of the range.
            end: first instant after the range.
            every: length of the intervals, which are counted from 1970.

        Returns:
            Columns of `EXTREMES`, sorted by (tag, timestamp); `timestamp` is the start of an interval. Intervals
            without a number have no row.
        """
        ...

    def gaps(self, tags: Sequence[str], start: datetime, end: datetime, *, longer_than: timedelta) -> pl.DataFrame:
        """Return the intervals in which a tag has no sample of any quality for longer than `longer_than`.

        Args:
            tags: the tags to read.
            start: first instant of the range.
            end: first instant after the range.
            longer_than: shorter gaps are left out.

        Returns:
            Columns of `GAPS`, sorted by (tag, after). `after` is the time of the last sample before the gap, or
            `start`; `before` is the time of the first sample after it, or `end`.
        """
        ...


class Store(Sink, Reader, Overview, Protocol):
    """A store that is written to and read from."""


def ledger_rows(batch: SampleBatch, *, source: str, ingested_at: datetime) -> pl.DataFrame:
    """Return the ledger's rows for one write, one for each tag in the batch: columns of `LEDGER`."""
    extents = batch.select("tag", first="timestamp", last="timestamp", rows=pl.lit(1, pl.Int64))
    return _entries(extents, source, ingested_at)


def waveform_ledger_rows(batch: WaveformBatch, *, source: str, ingested_at: datetime) -> pl.DataFrame:
    """Return the ledger's rows for one write of stretches, one for each tag: columns of `LEDGER`."""
    last = pl.Series(last_us(batch)).cast(LEDGER["last"])
    extents = batch.select("tag", first="timestamp", last=last, rows=pl.col("count").cast(pl.Int64))
    return _entries(extents, source, ingested_at)


def _entries(extents: pl.DataFrame, source: str, ingested_at: datetime) -> pl.DataFrame:
    intervals = extents.group_by("tag", maintain_order=True).agg(
        pl.col("first").min(), pl.col("last").max(), pl.col("rows").sum()
    )
    written = pl.lit(ingested_at, LEDGER["ingested_at"])
    return intervals.select(written.alias("ingested_at"), pl.lit(source).alias("source"), *intervals.columns)
