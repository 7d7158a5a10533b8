"""The store protocols: what the bridge writes to and the feature jobs read from.

One contract suite (`tests/contracts/test_store.py`) tests every implementation against these promises.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import polars as pl

from historian.samples import SampleBatch

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
    """A store that batches are written to."""

    def write(self, batch: SampleBatch, *, source: str, now: datetime) -> None:
        """Store the batch durably, then its ledger rows. A sample replaces the one of the same (tag, timestamp).

        Args:
            batch: samples; an empty batch leaves no trace.
            source: name of the source in the ledger.
            now: the writer's clock.

        Raises:
            StoreUnavailable: nothing is known about the batch; write it again later.
            InvalidBatch: the store refuses what is in it.
        """


class Reader(Protocol):
    """A store that samples are read from. All ranges are half-open: start <= timestamp < end."""

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """Yield the samples of `tags` in pages of bounded size.

        Args:
            tags: whose samples; tags without any are no error.
            start: first instant of the range.
            end: first instant after the range.

        Yields:
            Batches, each wholly later than the one before; samples of one timestamp are in one page.

        Raises:
            StoreUnavailable: the store cannot be read now.
        """
        ...

    def latest(self, tags: Sequence[str]) -> SampleBatch:
        """Return the newest sample of each of `tags`, sorted by tag; a tag without samples has no row."""
        ...

    def changes(self, since: datetime | None) -> pl.DataFrame:
        """Return what was written after `since`: for each write, the interval of time it covers of each tag.

        `ingested_at` strictly increases from write to write, so that of the last row is the cursor for the next call,
        and no write is ever missed, whoever wrote it. A store may merge old rows of a tag and source. The merged row
        has the newest `ingested_at` of them and covers them all: a cursor between them is given a superset of what
        changed after it, never less.

        Args:
            since: `ingested_at` of the last row known; None for all rows.

        Returns:
            Columns of `LEDGER`, rows with `ingested_at` > since, sorted by it.
        """
        ...


class Overview(Protocol):
    """What plots and checks need of a long range, computed without moving its samples over the network."""

    def extremes(self, tags: Sequence[str], start: datetime, end: datetime, *, every: timedelta) -> pl.DataFrame:
        """Return the lowest and the highest number of each tag in each interval of `every`: what a plot can show.

        Args:
            tags: whose samples, of any quality.
            start: first instant of the range.
            end: first instant after the range.
            every: length of the intervals, which are counted from 1970.

        Returns:
            Columns of `EXTREMES`, sorted by (tag, timestamp); `timestamp` is where an interval begins. Intervals
            without a number have no row.
        """
        ...

    def gaps(self, tags: Sequence[str], start: datetime, end: datetime, *, longer_than: timedelta) -> pl.DataFrame:
        """Return where a tag has no sample of any quality for longer than `longer_than`.

        Returns:
            Columns of `GAPS`, sorted by (tag, after). `after` is the time of the last sample before the gap, or
            `start`; `before` is that of the next one, or `end`.
        """
        ...


class Store(Sink, Reader, Overview, Protocol):
    """A store that is written to and read from."""


def ledger_rows(batch: SampleBatch, *, source: str, ingested_at: datetime) -> pl.DataFrame:
    """Return the ledger's rows for one write, one for each tag in the batch: columns of `LEDGER`."""
    intervals = batch.group_by("tag", maintain_order=True).agg(
        first=pl.col("timestamp").min(), last=pl.col("timestamp").max(), rows=pl.len().cast(pl.Int64)
    )
    stamped = intervals.with_columns(ingested_at=pl.lit(ingested_at, LEDGER["ingested_at"]), source=pl.lit(source))
    return stamped.select(LEDGER.names())
