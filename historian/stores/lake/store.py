"""`LakeStore`: the embedded historian store, a directory with two Delta tables.

`samples/` is append-only, partitioned by UTC day, and each row carries the `ingested_at` of its write: of rows with the
same (tag, timestamp) the newest write wins when they are read, and `compact` makes that physical. `ledger/` says what
was written when. Any number of processes may read while others write: Delta gives each reader a snapshot, and writers
take turns through a lock file, which also makes `ingested_at` strictly increasing.

A write returns when its files have reached the disk (fsync), because the spool deletes its copy then.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Schema,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import DeltaError

from historian.errors import StoreUnavailable
from historian.samples import SCHEMA, SampleBatch, empty_batch, newest_wins, sample_batch
from historian.stores.lake.files import Unit, files_of, table_root, touched, units_of
from historian.stores.lake.rows import WRITTEN, bins_of, settled_rows
from historian.stores.overview import extremes_of, gaps_of
from historian.stores.protocols import LEDGER, ledger_rows
from historian.times import from_micros, micros

_APP: Final = WRITTEN
_BINS: Final = 1_000_000
# Delta has no unsigned integers; `ingested_at` and `day` are the lake's own.
_STORED: Final = pl.Schema({**SCHEMA, "quality": pl.Int64(), "ingested_at": pl.Datetime("us", "UTC"), "day": pl.Date()})
_ARROW: Final = _STORED.to_frame().to_arrow().schema


@dataclass(frozen=True)
class Layout:
    """How the lake lays out its files. Stores of one directory may differ in it; what one wrote, all can read."""

    group_rows: int = 2**18
    """Of a row group, at most; what lies partly in a range is decoded whole."""
    merge_every: int = 200
    """Writes."""
    small: int = 2**20
    """Bytes of a file that a live stream writes, or fewer; what a backfill writes is larger."""
    crowded: int = 1000
    """Files of a day that are too many, whatever their size."""

    @property
    def properties(self) -> WriterProperties:
        """Timestamps are close to evenly spaced, which suits deltas. See docs/decisions/0011."""
        timestamp = ColumnProperties(dictionary_enabled=False, encoding="DELTA_BINARY_PACKED")
        return WriterProperties(
            compression="LZ4_RAW", max_row_group_size=self.group_rows, column_properties={"timestamp": timestamp}
        )


class LakeStore:
    """See `Sink` and `Reader` for the promises. The directory is made on first use."""

    def __init__(self, path: Path, *, page_rows: int = 4_000_000, layout: Layout | None = None) -> None:
        self.path = path
        self._page_rows = page_rows
        self._layout = layout or Layout()
        with _unavailable(path, "opened"):
            path.mkdir(parents=True, exist_ok=True)
            with self._writing():
                self._samples = _open(path / "samples", _STORED, partition_by=["day"])
                self._ledger = _open(path / "ledger", LEDGER)
        self._known = (-1, pl.DataFrame())

    def write(self, batch: SampleBatch, *, source: str, now: datetime) -> None:
        """See `Sink.write`."""
        if batch.is_empty():
            return
        with _unavailable(self.path, "written"), self._writing():
            self._samples.update_incremental()  # another process may have compacted what we know
            self._ledger.update_incremental()
            last = self._ledger.transaction_version(_APP)
            ingested_at = now if last is None else max(now, from_micros(last + 1))
            stamp = pl.lit(ingested_at, _STORED["ingested_at"])
            self._append(self._samples, _stored(batch.with_columns(ingested_at=stamp)))
            entry = ledger_rows(batch, source=source, ingested_at=ingested_at)
            done = CommitProperties(app_transactions=[Transaction(_APP, micros(ingested_at))])
            self._append(self._ledger, entry, done)
            if self._samples.version() % self._layout.merge_every == 0:
                self._merge_small()

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """See `Reader.read`."""
        with _unavailable(self.path, "read"):
            units = list(units_of(touched(self._listed(), tags, start, end), start, end, self._layout.group_rows))
        for rows in self._pages_of(units, tags, start, end):
            yield SampleBatch(rows)  # `settled_rows` has seen to it

    def latest(self, tags: Sequence[str]) -> SampleBatch:
        """See `Reader.latest`. The ledger tells when; only the files around those instants are read."""
        with _unavailable(self.path, "read"):
            self._ledger.update_incremental()
            ledger = pl.scan_delta(self._ledger).filter(pl.col("tag").is_in(tags))
            newest = ledger.group_by("tag").agg(timestamp=pl.col("last").max()).collect().sort("timestamp")
        if newest.is_empty():
            return empty_batch()
        instants = newest["timestamp"]
        with _unavailable(self.path, "read"):
            files = touched(self._listed(), tags, instants[0], instants[-1] + timedelta(microseconds=1))
            at = instants.to_physical()
            held = at.search_sorted(files["last"], side="right") > at.search_sorted(files["first"])
            rows = pl.scan_parquet(files.filter(held)["path"].to_list(), glob=False).with_columns(
                pl.col("quality").cast(pl.UInt32)
            )
            found = rows.filter(pl.col("timestamp").is_in(instants.implode())).collect()
        found = found.join(newest, on=["tag", "timestamp"], how="semi")
        return sample_batch(newest_wins(found, written=WRITTEN).select(SCHEMA.names()))

    def extremes(self, tags: Sequence[str], start: datetime, end: datetime, *, every: timedelta) -> pl.DataFrame:
        """See `Overview.extremes`."""
        return extremes_of(self.read(tags, start, end), every)

    def gaps(self, tags: Sequence[str], start: datetime, end: datetime, *, longer_than: timedelta) -> pl.DataFrame:
        """See `Overview.gaps`."""
        return gaps_of(self.read(tags, start, end), tags, start, end, longer_than)

    def changes(self, since: datetime | None) -> pl.DataFrame:
        """See `Reader.changes`."""
        with _unavailable(self.path, "read"):
            self._ledger.update_incremental()
            entries = pl.scan_delta(self._ledger)
            if since is not None:
                entries = entries.filter(pl.col("ingested_at") > since)
            return entries.collect().cast(LEDGER).sort("ingested_at", "tag")

    def compact(self, *, small: int = 32 * 2**20, target: int = 256 * 2**20) -> dict[str, int]:
        """Merges small files, day by day, and drops superseded rows; readers are not disturbed.

        A day is rewritten, in files of about `target` bytes, when two or more of its files are smaller than `small`.
        Returns the number of files before and after. The old files stay on disk until `vacuum`.
        """
        with _unavailable(self.path, "compacted"), self._writing():
            files = self._listed()
            before = len(self._samples.file_uris()) + len(self._ledger.file_uris())
            crowded = files.filter(pl.col("size_bytes") < small).group_by("day").len().filter(pl.col("len") > 1)
            days = crowded["day"].sort().to_list()
        for day in days:  # the lock is let go between days, so that a live stream waits for one day at most
            with _unavailable(self.path, "compacted"), self._writing():
                self._rewrite_day(day, target=target)
        with _unavailable(self.path, "compacted"), self._writing():
            self._merge_small()
            after = len(self._samples.file_uris()) + len(self._ledger.file_uris())
        return {"files_before": before, "files_after": after}

    def size(self) -> dict[str, int]:
        """Stored rows (superseded ones among them), files and bytes on disk."""
        with _unavailable(self.path, "read"):
            files = self._listed()
        if files.is_empty():
            return {"rows": 0, "files": 0, "disk_bytes": 0}
        rows, disk_bytes = files.select(pl.col("num_records").sum(), pl.col("size_bytes").sum()).row(0)
        return {"rows": rows, "files": files.height, "disk_bytes": disk_bytes}

    def vacuum(self, *, keep: timedelta, dry_run: bool) -> list[str]:
        """Deletes files that no snapshot younger than `keep` needs and returns them. A longer read fails."""
        hours = -(-keep // timedelta(hours=1)) if keep else 0
        gone: list[str] = []
        with _unavailable(self.path, "vacuumed"), self._writing():
            for name, table in (("samples", self._samples), ("ledger", self._ledger)):
                table.update_incremental()
                paths = table.vacuum(
                    retention_hours=hours, dry_run=dry_run, enforce_retention_duration=False, full=True
                )
                table.update_incremental()
                _sync(table)
                gone += [f"{name}/{path}" for path in paths]
        return gone

    def _listed(self) -> pl.DataFrame:
        """What `files_of` says of the newest version; to list them again takes longer than to read some."""
        self._samples.update_incremental()
        version, files = self._known
        if version != self._samples.version():
            version, files = self._known = self._samples.version(), files_of(self._samples)
        return files

    def _pages_of(
        self, units: Sequence[Unit], tags: Sequence[str], start: datetime, end: datetime, *, stamped: bool = False
    ) -> Iterator[pl.DataFrame]:
        """Normalised rows, in pages that follow one another in time; those stamped tell when they were written."""
        units = [unit for unit in units if unit.may_hold(tags, start, end)]
        for first, last in self._page_ranges(units, tags, start, end):
            with _unavailable(self.path, "read"):
                few = [unit for unit in units if unit.may_hold(tags, first, last)]
                page = settled_rows(few, tags, first, last, stamped=stamped)
            if not page.is_empty():
                yield page

    def _page_ranges(
        self, units: Sequence[Unit], tags: Sequence[str], start: datetime, end: datetime
    ) -> Iterator[tuple[datetime, datetime]]:
        """Half-open time ranges of about `page_rows` stored rows each, counted in bins only where that is needed.

        Row groups that lie partly in the range are taken to be evenly spaced while all of them are four pages at most.
        """
        few = sum(unit.rows for unit in units) <= 4 * self._page_rows
        if few and sum(unit.rows_within(start, end) for unit in units) <= self._page_rows:
            yield start, end
            return
        first = max(micros(start), min(unit.first or 0 for unit in units))
        last = min(micros(end), max(unit.last or 0 for unit in units))
        step = max(timedelta(seconds=1), timedelta(microseconds=last - first) / _BINS)
        with _unavailable(self.path, "read"):
            bins = bins_of(units, tags, start, end, step)
        bins = bins.with_columns(page=(pl.col("len").cum_sum() - 1) // self._page_rows)
        starts = bins.group_by("page", maintain_order=True).first()["timestamp"].to_list()
        yield from pairwise([start, *starts[1:], end])

    def _append(self, table: DeltaTable, rows: pl.DataFrame, done: CommitProperties | None = None) -> None:
        properties = self._layout.properties
        write_deltalake(table, rows, mode="append", commit_properties=done, writer_properties=properties)
        table.update_incremental()
        _sync(table)

    def _rewrite_day(self, day: date, *, target: int) -> None:
        """Replaces a day's files by few large sorted ones without superseded rows, one page in memory at a time."""
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        end = start + timedelta(days=1)
        files = self._listed().filter(day=day)
        units = list(units_of(files, start, end, self._layout.group_rows))
        tags = (
            pl.scan_parquet(files["path"].to_list(), glob=False).select(pl.col("tag").unique()).collect()["tag"].sort()
        )
        # The stream is drawn inside delta-rs: nothing in it may touch a DeltaTable.
        pages = (page for tag in tags for page in self._pages_of(units, [tag], start, end, stamped=True))
        batches = (batch for page in pages for batch in _stored(page).to_arrow().cast(_ARROW).to_batches())
        write_deltalake(
            self._samples,
            pa.RecordBatchReader.from_batches(_ARROW, batches),
            mode="overwrite",
            predicate=f"day = '{day}'",
            target_file_size=target,
            writer_properties=self._layout.properties,
        )
        _sync(self._samples)

    def _merge_small(self) -> None:
        """Joins small files as they are: every write looks at every file, so their number must not grow for ever.

        delta-rs mixes the rows of the files it joins, which makes them slow to read, so larger ones are left as they
        were written unless there are very many.
        """
        for table in (self._samples, self._ledger):
            table.update_incremental()
            table.optimize.compact(target_size=self._layout.small, writer_properties=self._layout.properties)
        crowded = self._listed().group_by("day").len().filter(pl.col("len") > self._layout.crowded)
        for day in crowded["day"]:
            self._samples.optimize.compact([("day", "=", str(day))], writer_properties=self._layout.properties)
        for table in (self._samples, self._ledger):
            table.update_incremental()
            _sync(table)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Writers take turns. The lock is the kernel's: it goes with the process that held it."""
        with (self.path / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _open(path: Path, schema: pl.Schema, *, partition_by: list[str] | None = None) -> DeltaTable:
    fields = Schema.from_arrow(schema.to_frame().to_arrow().schema)
    return DeltaTable.create(path, fields, mode="ignore", partition_by=partition_by)


def _stored(batch: pl.DataFrame) -> pl.DataFrame:
    """Samples with `ingested_at` -> rows as the Delta table holds them."""
    return batch.with_columns(pl.col("quality").cast(pl.Int64), day=pl.col("timestamp").dt.date()).select(
        _STORED.names()
    )


def _sync(table: DeltaTable) -> None:
    """Forces the newest commit and the files it added to the disk: without it a power cut could take them back."""
    root = table_root(table)
    log = root / "_delta_log"
    commit = log / f"{table.version():020d}.json"
    actions = [json.loads(line) for line in commit.read_text(encoding="utf-8").splitlines()]
    added = [root / unquote(action["add"]["path"]) for action in actions if "add" in action]
    checkpoint = [*log.glob(f"{table.version():020d}.checkpoint*"), *log.glob("_last_checkpoint")]
    for path in {*added, commit, *checkpoint, *(file.parent for file in added), log, root}:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _unavailable(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (DeltaError, OSError, pa.ArrowException, pl.exceptions.ComputeError) as error:
        raise StoreUnavailable(f"the lake at {path} cannot be {what}: {error}") from error
