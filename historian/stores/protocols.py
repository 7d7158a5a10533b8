"""The store protocols: what the bridge writes to and the feature jobs read from.

One contract suite (`tests/contracts/test_store.py`) holds every implementation to these promises.
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
    """Where batches go."""

    def write(self, batch: SampleBatch, *, source: str, now: datetime) -> None:
        """Stores the batch durably, then its ledger rows. Idempotent: the same (tag, timestamp) overwrites.

        Raises:
            StoreUnavailable: nothing is known about the batch; write it again later.
            InvalidBatch: the store refuses what is in it.
        """


class Reader(Protocol):
    """What can be asked of a store. All ranges are half-open: start <= timestamp < end."""

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """The samples of `tags`, in pages of bounded size; each page covers a stretch of time after the one before."""
        ...

    def latest(self, tags: Sequence[str]) -> SampleBatch:
        """The newest sample of each tag; a tag without samples has no row."""
        ...

    def changes(self, since: datetime | None) -> pl.DataFrame:
        """Ledger rows with `ingested_at` > since (all for None), in that order: columns of `LEDGER`.

        `ingested_at` strictly increases from write to write, so the last row's is the cursor for the next call and
        no write is ever missed, whoever wrote it.
        """
        ...


class Overview(Protocol):
    """What people ask of a long range, without its samples coming over the network."""

    def extremes(self, tags: Sequence[str], start: datetime, end: datetime, *, every: timedelta) -> pl.DataFrame:
        """The lowest and the highest number in each stretch of `every`, counted from 1970: what a plot can show.

        Numbers of any quality. Columns of `EXTREMES`, `timestamp` being where a stretch begins, sorted by (tag,
        timestamp); stretches without a number have no row.
        """
        ...

    def gaps(self, tags: Sequence[str], start: datetime, end: datetime, *, longer_than: timedelta) -> pl.DataFrame:
        """Where a tag has no sample, of any quality, for longer than that: columns of `GAPS`, sorted by (tag, after).

        `after` is the time of the sample before, or `start`; `before` is that of the next one, or `end`.
        """
        ...


class Store(Sink, Reader, Overview, Protocol):
    """All of it."""


def ledger_rows(batch: SampleBatch, *, source: str, ingested_at: datetime) -> pl.DataFrame:
    """What the ledger says of one write: a row a tag, columns of `LEDGER`."""
    stretches = batch.group_by("tag", maintain_order=True).agg(
        first=pl.col("timestamp").min(), last=pl.col("timestamp").max(), rows=pl.len().cast(pl.Int64)
    )
    stamped = stretches.with_columns(ingested_at=pl.lit(ingested_at, LEDGER["ingested_at"]), source=pl.lit(source))
    return stamped.select(LEDGER.names())
