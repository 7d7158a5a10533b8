"""Maintenance of the lake's files: merging small ones, dropping superseded rows, deleting replaced files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final

import polars as pl

from historian.samples import KEY, newest_wins
from historian.stores.lake.directory import LakeDirectory
from historian.stores.lake.files import files_of, parts_of
from historian.stores.lake.latest import note_newest
from historian.stores.lake.layout import WRITTEN, stored
from historian.stores.lake.ledger import compact_ledger
from historian.stores.lake.pages import pages_of
from historian.stores.lake.table import LakeTable

_TARGET: Final = 256 * 2**20


def compact(lake: LakeDirectory, *, page_rows: int, small: int, target: int) -> dict[str, int]:
    """See `LakeStore.compact`."""
    if lake.samples.snapshot() is None:
        return {"files_before": 0, "files_after": 0}
    with lake.writing("compacted"):
        before = _file_count(lake)
        sizes = files_of(lake.samples).filter(pl.col("size_bytes") < small).group_by("day").len()
        days = sizes.filter(pl.col("len") > 1)["day"].sort().to_list()
    for day in days:  # the lock is released between days, so that a live stream waits for one day at most
        with lake.writing("compacted"):
            rewrite_day(lake, day, page_rows=page_rows, target=target)
    with lake.writing("compacted"):
        compact_ledger(lake.ledger)
        note_newest(lake)
        after = _file_count(lake)
    return {"files_before": before, "files_after": after}


def vacuum(lake: LakeDirectory, *, keep: timedelta, dry_run: bool) -> list[str]:
    """See `LakeStore.vacuum`."""
    if lake.samples.snapshot() is None:
        return []
    hours = -(-keep // timedelta(hours=1)) if keep else 0
    gone: list[str] = []
    with lake.writing("vacuumed"):
        for table in (lake.samples, lake.ledger, lake.newest):
            table.create()
            delta = table.current
            paths = delta.vacuum(retention_hours=hours, dry_run=dry_run, enforce_retention_duration=False, full=True)
            delta.update_incremental()
            table.sync_log()
            gone += [f"{table.root.name}/{path}" for path in paths]
    return gone


def merge_small(lake: LakeDirectory, *, page_rows: int) -> None:
    """Merge small files of the samples and of the ledger. The caller holds the writers' lock.

    Every write and every read goes through the list of files, so their number must be bounded. Larger files are not
    changed unless a day has very many of them.
    """
    small, crowded = lake.layout.small, lake.layout.crowded
    for (day,), files in files_of(lake.samples).partition_by("day", as_dict=True).items():
        if files.height > crowded:
            rewrite_day(lake, day, page_rows=page_rows, target=_TARGET)
        else:
            _join(lake.samples, files.filter(pl.col("size_bytes") < small), small, day=day)
    _join(lake.ledger, lake.ledger.listing().filter(pl.col("size_bytes") < small), small, day=None)


def rewrite_day(lake: LakeDirectory, day: date, *, page_rows: int, target: int) -> None:
    """Replace a day's files by few large sorted files without superseded rows. The caller holds the lock.

    Args:
        lake: the lake.
        day: the day in UTC.
        page_rows: approximate number of rows in memory at a time.
        target: size of the new files in bytes.
    """
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    span = start, start + timedelta(days=1)
    files = files_of(lake.samples).filter(day=day)
    parts = list(parts_of(files, *span, lake.layout.group_rows))
    pages = (
        page.sort(*KEY)
        for tags in _tag_groups(files, page_rows)
        for page in pages_of(lake, parts, tags, span, page_rows=page_rows, stamped=True)
    )
    rows = (stored(page).drop("day") for page in pages)
    lake.samples.replace(files, lake.samples.written(rows, day=str(day), target=target))


def _tag_groups(files: pl.DataFrame, page_rows: int) -> list[list[str]]:
    """Return the tags of files in groups of neighbours that fit in one page; a tag of more rows is its own group.

    Every page reads every file, so that a page per tag would take a thousand times as long for a thousand tags.
    """
    counts = pl.scan_parquet(files["path"].to_list(), glob=False).group_by("tag").len("rows").sort("tag").collect()
    page = (pl.col("rows").cast(pl.Int64).cum_sum() - 1) // page_rows
    return counts.group_by(page.alias("page"), maintain_order=True).agg("tag")["tag"].to_list()


def _join(table: LakeTable, files: pl.DataFrame, small: int, *, day: date | None) -> None:
    """Join small files, in the order of their first rows, into files that are no longer small."""
    for few in _bins(files, small):
        rows = pl.read_parquet(few["path"].to_list(), glob=False)
        ordered = rows.sort(WRITTEN) if day is None else newest_wins(rows, written=WRITTEN)
        table.replace(few, table.written([ordered], day=None if day is None else str(day)))


def _bins(files: pl.DataFrame, small: int) -> Iterator[pl.DataFrame]:
    """Yield groups of two or more files whose sizes add up to `small`; the last group may be smaller."""
    filled = pl.col("size_bytes").cum_sum().shift(fill_value=0) // small
    for (_,), few in files.group_by(filled, maintain_order=True):
        if few.height > 1:
            yield few


def _file_count(lake: LakeDirectory) -> int:
    return lake.samples.listing().height + lake.ledger.listing().height
