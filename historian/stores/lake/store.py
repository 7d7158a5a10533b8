"""`LakeStore`: the embedded historian store, a directory with Delta tables.

`samples/` is append-only, partitioned by UTC day. Each row carries the `ingested_at` of its write: of rows with the
same (tag, timestamp) the newest write wins when they are read, and `compact` drops the others. `ledger/` records what
was written when, and `newest/` the newest sample of each tag as of some write. Any number of processes may read while
others write: Delta gives each reader a snapshot. Writers take turns through a lock file, which also makes `ingested_at`
strictly increasing.

A write returns when its files have reached the disk (fsync), because the spool deletes its copy then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from historian.errors import StoreUnavailable
from historian.samples import SampleBatch
from historian.stores.lake import upkeep
from historian.stores.lake.directory import LakeDirectory
from historian.stores.lake.files import files_of, parts_of, prune
from historian.stores.lake.latest import latest_batch, note_newest
from historian.stores.lake.layout import STORED, WRITTEN, FileLayout, stored
from historian.stores.lake.ledger import compact_ledger, entries_since, last_written, row_count
from historian.stores.lake.pages import pages_of
from historian.stores.overview import extremes_of, gaps_of
from historian.stores.protocols import ledger_rows
from historian.times import micros


class LakeStore:
    """The lake as a `Store`. A directory that does not exist yet is an empty store; the first write creates it.

    Args:
        path: the lake's directory.
        page_rows: approximate number of stored rows per page of `read`.
        layout: sizes of the files that this process writes.

    Raises:
        StoreUnavailable: something other than a directory is at `path`.
    """

    def __init__(self, path: Path, *, page_rows: int = 4_000_000, layout: FileLayout | None = None) -> None:
        self.path = path
        self._page_rows = page_rows
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
            samples, ledger = self._lake.samples, self._lake.ledger
            last = last_written(ledger)
            ingested_at = now if last is None else max(now, last + timedelta(microseconds=1))
            version = samples.append(stored(batch.with_columns(pl.lit(ingested_at, STORED[WRITTEN]).alias(WRITTEN))))
            entries = ledger_rows(batch, source=source, ingested_at=ingested_at)
            ledger.append(entries, transaction=(WRITTEN, micros(ingested_at)))
            if version % self._lake.layout.merge_every == 0:
                self._tidy_up()

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """See `Reader.read`."""
        with self._lake.reporting("read"):
            files = prune(files_of(self._lake.samples), tags, start, end)
            parts = list(parts_of(files, start, end, self._lake.layout.group_rows))
        for rows in pages_of(self._lake, parts, tags, (start, end), page_rows=self._page_rows):
            yield SampleBatch(rows)  # `unique_rows` guarantees that it is one

    def latest(self, tags: Sequence[str]) -> SampleBatch:
        """See `Reader.latest`. The work does not grow with the ledger or the age of the store."""
        with self._lake.reporting("read"):
            return latest_batch(self._lake, tags)

    def extremes(self, tags: Sequence[str], start: datetime, end: datetime, *, every: timedelta) -> pl.DataFrame:
        """See `Overview.extremes`."""
        return extremes_of(self.read(tags, start, end), every)

    def gaps(self, tags: Sequence[str], start: datetime, end: datetime, *, longer_than: timedelta) -> pl.DataFrame:
        """See `Overview.gaps`."""
        return gaps_of(self.read(tags, start, end), tags, start, end, longer_than)

    def changes(self, since: datetime | None) -> pl.DataFrame:
        """See `Reader.changes`. Old rows are merged: see `historian.stores.lake.ledger.compacted`."""
        with self._lake.reporting("read"):
            return entries_since(self._lake.ledger, since).collect().sort(WRITTEN, "tag")

    def compact(self, *, small: int = 32 * 2**20, target: int = 256 * 2**20) -> dict[str, int]:
        """Merge small files, drop superseded rows and compact the ledger. Readers are not disturbed.

        Args:
            small: size in bytes; a day is rewritten when two or more of its files are smaller.
            target: size in bytes of the files it is rewritten to.

        Returns:
            `files_before` and `files_after`, of samples and ledger. The old files stay on disk until `vacuum`.

        Raises:
            StoreUnavailable: a file cannot be read or written.
        """
        with self._lake.reporting("compacted"):
            return upkeep.compact(self._lake, page_rows=self._page_rows, small=small, target=target)

    def size(self) -> dict[str, int]:
        """Return the size of the samples on disk.

        Returns:
            `rows_on_disk`, including rows superseded by a later write of the same (tag, timestamp); `files`;
            `disk_bytes`.

        Raises:
            StoreUnavailable: the list of files cannot be read.
        """
        with self._lake.reporting("read"):
            files = self._lake.samples.listing()
        rows, disk_bytes = int(files["num_records"].sum()), int(files["size_bytes"].sum())
        return {"rows_on_disk": rows, "files": files.height, "disk_bytes": disk_bytes}

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

    def _tidy_up(self) -> None:
        """Keep the number of files small, the ledger short and `latest` fast; the cost is spread over many writes."""
        # Whenever the ledger has doubled, so that every row is rewritten about once, however long the ledger.
        if row_count(self._lake.ledger) >= 2 * self._ledger_left + self._lake.layout.ledger_rows:
            compact_ledger(self._lake.ledger)
            self._ledger_left = row_count(self._lake.ledger)
        upkeep.merge_small(self._lake, page_rows=self._page_rows)
        note_newest(self._lake)
