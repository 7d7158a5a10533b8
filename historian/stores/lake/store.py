"""`LakeStore`: the embedded historian store, a directory with Delta tables.

`samples/` and `waveforms/` are append-only, partitioned by UTC day. Each row carries the `ingested_at` of its write: of
samples with the same (tag, timestamp), and of stretches that overlap, the newest write wins when they are read, and
`compact` drops what it superseded. `ledger/` records what was written when, and `newest/` the newest sample of each tag
as of some write. Any number of processes may read while
others write: Delta gives each reader a snapshot. Writers take turns through a lock file, which also makes `ingested_at`
strictly increasing.

A write returns when its files have reached the disk (fsync), because the spool deletes its copy then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path

import polars as pl

from historian.errors import StoreUnavailable
from historian.samples import SampleBatch
from historian.stores.lake import upkeep
from historian.stores.lake.directory import LakeDirectory
from historian.stores.lake.files import files_of, parts_of, prune
from historian.stores.lake.latest import latest_batch, note_newest
from historian.stores.lake.layout import WRITTEN, FileLayout, stamped, stored, stored_waveforms
from historian.stores.lake.ledger import compact_ledger, entries_since, last_written, row_count
from historian.stores.lake.pages import pages_of
from historian.stores.lake.stretches import located_or_read, stretch_pages
from historian.stores.lake.summaries import stretch_extremes, stretch_intervals
from historian.stores.lake.table import LakeTable
from historian.stores.overview import extremes_of, gaps_of
from historian.stores.protocols import ledger_rows, waveform_ledger_rows
from historian.times import micros
from historian.waveforms.batch import WAVEFORM_SCHEMA, WaveformBatch


class LakeStore:
    """The lake as a `Store`. A directory that does not exist yet is an empty store; the first write creates it.

    Args:
        path: the lake's directory.
        page_rows: approximate number of stored samples per page of `read`.
        page_samples: the same of `read_waveforms`, whose samples take a fraction of the memory.
        layout: sizes of the files that this process writes.

    Raises:
        StoreUnavailable: something other than a directory is at `path`.
    """

    def __init__(
        self,
        path: Path,
        *,
        page_rows: int = 4_000_000,
        page_samples: int = 8_000_000,
        layout: FileLayout | None = None,
    ) -> None:
        self.path = path
        self._page_rows = page_rows
        self._page_samples = page_samples
        self._lake = LakeDirectory(path, layout or FileLayout())
        self._ledger_left = 0
        if path.exists() and not path.is_dir():
            raise StoreUnavailable(f"the lake at {path} cannot be opened: a file of that name exists")

    def create(self) -> None:
        """Create the directory and its tables if they do not exist; the first write does so too.

        Raises:
            StoreUnavailable: the directory cannot be created.
        """
        with self._lake.writing("made"):
            pass

    def write(self, batch: SampleBatch, *, source: str, now: datetime) -> None:
        """See `Sink.write`."""
        if batch.is_empty():
            return
        with self._lake.writing("written"):
            ingested_at = self._ingested_at(now)
            entries = ledger_rows(batch, source=source, ingested_at=ingested_at)
            self._append(self._lake.samples, stored(stamped(batch, ingested_at)), entries)

    def write_waveforms(self, batch: WaveformBatch, *, source: str, now: datetime) -> None:
        """See `Sink.write_waveforms`."""
        if batch.is_empty():
            return
        with self._lake.writing("written", table=self._lake.waveforms):
            ingested_at = self._ingested_at(now)
            entries = waveform_ledger_rows(batch, source=source, ingested_at=ingested_at)
            self._append(self._lake.waveforms, stored_waveforms(stamped(batch, ingested_at)), entries)

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """See `Reader.read`."""
        with self._lake.reporting("read"):
            files = files_of(self._lake.samples)
            if files.is_empty():  # a lake of waveforms alone
                return
            files = prune(files, tags, start, end)
            parts = list(parts_of(files, start, end, self._lake.layout.group_rows))
        for rows in pages_of(self._lake, parts, tags, (start, end), page_rows=self._page_rows):
            yield SampleBatch(rows)  # `unique_rows` guarantees that it is one

    def read_waveforms(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[WaveformBatch]:
        """See `Reader.read_waveforms`."""
        with self._lake.reporting("read"):
            found = located_or_read(self._lake, tags, (start, end))
        for page in stretch_pages(self._lake, found, (start, end), page_samples=self._page_samples):
            yield WaveformBatch(page.select(WAVEFORM_SCHEMA.names()))

    def latest(self, tags: Sequence[str]) -> SampleBatch:
        """See `Reader.latest`. The work does not grow with the ledger or the age of the store."""
        with self._lake.reporting("read"):
            return latest_batch(self._lake, tags)

    def extremes(self, tags: Sequence[str], start: datetime, end: datetime, *, every: timedelta) -> pl.DataFrame:
        """See `Overview.extremes`."""
        stretches = stretch_extremes(self._lake, tags, (start, end), every, page_samples=self._page_rows)
        return extremes_of(chain(self.read(tags, start, end), stretches), every)

    def gaps(self, tags: Sequence[str], start: datetime, end: datetime, *, longer_than: timedelta) -> pl.DataFrame:
        """See `Overview.gaps`."""
        span = start, end
        covered = stretch_intervals(self._lake, tags, span, longer_than, page_samples=self._page_rows)
        waves = covered["tag"].unique().to_list()
        others = sorted(set(tags).difference(waves))
        both = (
            gaps_of([covered], waves, *span, longer_than),
            gaps_of(self.read(others, *span), others, *span, longer_than),
        )
        return pl.concat(both).sort("tag", "after")

    def changes(self, since: datetime | None) -> pl.DataFrame:
        """See `Reader.changes`. Old rows are merged: see `historian.stores.lake.ledger.compacted`."""
        with self._lake.reporting("read"):
            return entries_since(self._lake.ledger, since).collect().sort(WRITTEN, "tag")

    def compact(self, *, small: int = 32 * 2**20, target: int = 256 * 2**20) -> dict[str, int]:
        """Merge small files, join short stretches, drop what is superseded, and compact the ledger.

        Readers are not disturbed.

        Args:
            small: size in bytes; files of a day are rewritten when two or more of them are smaller.
            target: size in bytes of the files it is rewritten to.

        Returns:
            `files_before` and `files_after`, of samples, waveforms and ledger. The old files stay on disk until
            `vacuum`.

        Raises:
            StoreUnavailable: a file cannot be read or written.
        """
        with self._lake.reporting("compacted"):
            return upkeep.compact(self._lake, page_rows=self._page_rows, small=small, target=target)

    def size(self) -> dict[str, int]:
        """Return the size of samples and waveforms on disk.

        Returns:
            `rows_on_disk` and `stretches_on_disk`, including what a later write superseded; `files`; `disk_bytes`.

        Raises:
            StoreUnavailable: the list of files cannot be read.
        """
        with self._lake.reporting("read"):
            tables = self._lake.samples.listing(), self._lake.waveforms.listing()
        rows, stretches = (int(files["num_records"].sum()) for files in tables)
        disk_bytes = sum(int(files["size_bytes"].sum()) for files in tables)
        files = sum(files.height for files in tables)
        return {"rows_on_disk": rows, "stretches_on_disk": stretches, "files": files, "disk_bytes": disk_bytes}

    def vacuum(self, *, keep: timedelta, dry_run: bool) -> list[str]:
        """Delete files that no snapshot younger than `keep` needs. A read that takes longer than `keep` fails.

        Args:
            keep: rounded up to whole hours.
            dry_run: only list them.

        Returns:
            Paths of the files, relative to the lake.

        Raises:
            StoreUnavailable: a file cannot be deleted.
        """
        with self._lake.reporting("vacuumed"):
            return upkeep.vacuum(self._lake, keep=keep, dry_run=dry_run)

    def _ingested_at(self, now: datetime) -> datetime:
        """Return the time of a write, which is later than that of the write before. The caller holds the lock."""
        last = last_written(self._lake.ledger)
        return now if last is None else max(now, last + timedelta(microseconds=1))

    def _append(self, table: LakeTable, rows: pl.DataFrame, entries: pl.DataFrame) -> None:
        """Append rows and then their ledger rows; now and then, tidy up. The caller holds the lock."""
        version = table.append(rows)
        self._lake.ledger.append(entries, transaction=(WRITTEN, micros(entries[WRITTEN].item(0))))
        if version % self._lake.layout.merge_every == 0:
            self._tidy_up()

    def _tidy_up(self) -> None:
        """Keep the number of files small, the ledger short and `latest` fast; the cost is spread over many writes."""
        # Whenever the ledger has doubled, so that every row is rewritten about once, however long the ledger.
        if row_count(self._lake.ledger) >= 2 * self._ledger_left + self._lake.layout.ledger_rows:
            compact_ledger(self._lake.ledger)
            self._ledger_left = row_count(self._lake.ledger)
        note_newest(self._lake)  # while what was written last is in small files
        upkeep.merge_small(self._lake, page_rows=self._page_rows)
