"""`MemoryStore`: a store in memory for tests and notebooks, tested by the same contract suite as the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import polars as pl

from historian.samples import SampleBatch, empty_batch, newest_wins, sample_batch
from historian.stores.overview import extremes_of, gaps_of
from historian.stores.protocols import LEDGER, ledger_rows


class MemoryStore:
    """A store whose samples and ledger are two frames; it is lost with the process.

    Args:
        page_rows: approximate number of samples per page of `read`.
    """

    def __init__(self, *, page_rows: int = 4_000_000) -> None:
        self._samples = empty_batch()
        self._ledger = LEDGER.to_frame()
        self._page_rows = page_rows

    def write(self, batch: SampleBatch, *, source: str, now: datetime) -> None:
        """See `Sink.write`."""
        if batch.is_empty():
            return
        last = self._ledger["ingested_at"].max()
        ingested_at = max(now, last + timedelta(microseconds=1)) if isinstance(last, datetime) else now
        self._samples = sample_batch(newest_wins(pl.concat([self._samples, batch])))
        self._ledger = pl.concat([self._ledger, ledger_rows(batch, source=source, ingested_at=ingested_at)])

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """See `Reader.read`."""
        within = pl.col("tag").is_in(tags) & pl.col("timestamp").is_between(start, end, closed="left")
        rows = self._samples.filter(within).sort("timestamp")
        while not rows.is_empty():
            # All samples of a timestamp are in one page, so that the next page is wholly later.
            last = rows["timestamp"][min(self._page_rows, rows.height) - 1]
            in_page = pl.col("timestamp") <= last
            yield sample_batch(rows.filter(in_page).sort("tag", "timestamp"))
            rows = rows.filter(~in_page)

    def latest(self, tags: Sequence[str]) -> SampleBatch:
        """See `Reader.latest`."""
        newest = self._samples.filter(pl.col("tag").is_in(tags)).group_by("tag", maintain_order=True).last()
        return sample_batch(newest.select(self._samples.columns).sort("tag"))

    def extremes(self, tags: Sequence[str], start: datetime, end: datetime, *, every: timedelta) -> pl.DataFrame:
        """See `Overview.extremes`."""
        return extremes_of(self.read(tags, start, end), every)

    def gaps(self, tags: Sequence[str], start: datetime, end: datetime, *, longer_than: timedelta) -> pl.DataFrame:
        """See `Overview.gaps`."""
        return gaps_of(self.read(tags, start, end), tags, start, end, longer_than)

    def changes(self, since: datetime | None) -> pl.DataFrame:
        """See `Reader.changes`."""
        return self._ledger if since is None else self._ledger.filter(pl.col("ingested_at") > since)
