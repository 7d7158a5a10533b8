"""`MemoryStore`: a store in memory for tests and notebooks, tested by the same contract suite as the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import polars as pl

from historian.samples import SampleBatch, empty_batch, newest_wins, sample_batch
from historian.stores.overview import extremes_of, gaps_of, within_intervals, without_gaps
from historian.stores.protocols import LEDGER, ledger_rows, waveform_ledger_rows
from historian.stores.waveform_pages import page_ranges
from historian.waveforms.batch import WaveformBatch, empty_waveforms, waveform_batch
from historian.waveforms.cutting import cut
from historian.waveforms.joining import newest_wins_waveforms
from historian.waveforms.packing import newest_samples


class MemoryStore:
    """A store whose samples, stretches and ledger are three frames; it is lost with the process.

    Args:
        page_rows: approximate number of samples per page of `read` and `read_waveforms`.
    """

    def __init__(self, *, page_rows: int = 4_000_000) -> None:
        self._samples = empty_batch()
        self._waveforms = empty_waveforms()
        self._ledger = LEDGER.to_frame()
        self._page_rows = page_rows

    def write(self, batch: SampleBatch, *, source: str, now: datetime) -> None:
        """See `Sink.write`."""
        if batch.is_empty():
            return
        self._samples = sample_batch(newest_wins(pl.concat([self._samples, batch])))
        self._log(ledger_rows(batch, source=source, ingested_at=self._ingested_at(now)))

    def write_waveforms(self, batch: WaveformBatch, *, source: str, now: datetime) -> None:
        """See `Sink.write_waveforms`."""
        if batch.is_empty():
            return
        self._waveforms = waveform_batch(newest_wins_waveforms(pl.concat([self._waveforms, batch])))
        self._log(waveform_ledger_rows(batch, source=source, ingested_at=self._ingested_at(now)))

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

    def read_waveforms(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[WaveformBatch]:
        """See `Reader.read_waveforms`."""
        stretches = self._stretches(tags, start, end)
        for first, after in page_ranges(stretches, start, end, self._page_rows):
            page = cut(stretches, first, after)
            if not page.is_empty():
                yield waveform_batch(page)

    def latest(self, tags: Sequence[str]) -> SampleBatch:
        """See `Reader.latest`."""
        held = pl.col("tag").is_in(tags)
        newest = self._samples.filter(held).group_by("tag", maintain_order=True).last()
        both = [newest.select(self._samples.columns), newest_samples(self._waveforms.filter(held))]
        return sample_batch(pl.concat(both).sort("tag"))

    def extremes(self, tags: Sequence[str], start: datetime, end: datetime, *, every: timedelta) -> pl.DataFrame:
        """See `Overview.extremes`."""
        stretches = within_intervals(self._stretches(tags, start, end), every)
        return extremes_of([*self.read(tags, start, end), stretches], every)

    def gaps(self, tags: Sequence[str], start: datetime, end: datetime, *, longer_than: timedelta) -> pl.DataFrame:
        """See `Overview.gaps`."""
        stretches = without_gaps(self._stretches(tags, start, end), longer_than)
        samples = [page.select("tag", "timestamp", last="timestamp") for page in self.read(tags, start, end)]
        return gaps_of([pl.concat([stretches, *samples])], tags, start, end, longer_than)

    def changes(self, since: datetime | None) -> pl.DataFrame:
        """See `Reader.changes`."""
        return self._ledger if since is None else self._ledger.filter(pl.col("ingested_at") > since)

    def _stretches(self, tags: Sequence[str], start: datetime, end: datetime) -> WaveformBatch:
        return cut(WaveformBatch(self._waveforms.filter(pl.col("tag").is_in(tags))), start, end)

    def _ingested_at(self, now: datetime) -> datetime:
        last = self._ledger["ingested_at"].max()
        return max(now, last + timedelta(microseconds=1)) if isinstance(last, datetime) else now

    def _log(self, entries: pl.DataFrame) -> None:
        self._ledger = pl.concat([self._ledger, entries])
