"""Maintenance of the lake's files: merging small ones, dropping superseded rows, deleting replaced files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import Final

import polars as pl

from historian.stores.lake.directory import LakeDirectory
from historian.stores.lake.files import files_of
from historian.stores.lake.latest import note_newest
from historian.stores.lake.layout import WRITTEN
from historian.stores.lake.ledger import compact_ledger
from historian.stores.lake.rewriting import Rows, SampleRows, StretchRows
from historian.stores.lake.table import LakeTable

_TARGET: Final = 256 * 2**20


def compact(lake: LakeDirectory, *, page_rows: int, small: int, target: int) -> dict[str, int]:
    """See `LakeStore.compact`."""
    if lake.ledger.snapshot() is None:
        return {"files_before": 0, "files_after": 0}
    with lake.writing("compacted"):
        before = _file_count(lake)
        note_newest(lake)  # while what was written last is in small files
        days = [(rows, day) for rows in _tables(lake) for day in files_of(rows.table)["day"].unique().sort().to_list()]
    for rows, day in days:
        _compact_day(lake, rows, day, page_rows=page_rows, small=small, target=target)
    with lake.writing("compacted"):
        compact_ledger(lake.ledger)
        after = _file_count(lake)
    return {"files_before": before, "files_after": after}


def vacuum(lake: LakeDirectory, *, keep: timedelta, dry_run: bool) -> list[str]:
    """See `LakeStore.vacuum`."""
    if lake.ledger.snapshot() is None:
        return []
    hours = -(-keep // timedelta(hours=1)) if keep else 0
    gone: list[str] = []
    with lake.writing("vacuumed"):
        waveforms = [lake.waveforms] if lake.waveforms.snapshot() else []
        for table in (lake.samples, *waveforms, lake.ledger, lake.newest):
            table.create()
            delta = table.current
            paths = delta.vacuum(retention_hours=hours, dry_run=dry_run, enforce_retention_duration=False, full=True)
            delta.update_incremental()
            table.sync_log()
            gone += [f"{table.root.name}/{path}" for path in paths]
    return gone


def merge_small(lake: LakeDirectory, *, page_rows: int) -> None:
    """Merge small files of the samples, the waveforms and the ledger. The caller holds the writers' lock.

    Every write and every read goes through the list of files, so their number must be bounded. Larger files are not
    changed unless a day has very many of them.
    """
    small, crowded = lake.layout.small, lake.layout.crowded
    for rows in _tables(lake):
        for (day,), files in files_of(rows.table).partition_by("day", as_dict=True).items():
            if files.height > crowded:
                for some in _apart_in_time(files, _TARGET):
                    rewrite(rows, day, some, page_rows=page_rows, target=_TARGET)
            else:
                for few in _bins(files.filter(pl.col("size_bytes") < small), small):
                    _replace(rows.table, day, few, [rows.merged(_contents(few), few)])
    for few in _bins(lake.ledger.listing().filter(pl.col("size_bytes") < small), small):
        lake.ledger.replace(few, lake.ledger.written([_contents(few).sort(WRITTEN)]))


def rewrite(rows: Rows, day: date, files: pl.DataFrame, *, page_rows: int, target: int) -> None:
    """Replace files of a day by few large sorted files without superseded rows. The caller holds the lock.

    Args:
        rows: the rows of the table.
        day: the day in UTC.
        files: from `files_of`; other files of the day have no row that affects one of these.
        page_rows: approximate number of samples in memory at a time.
        target: size of the new files in bytes.
    """
    if files.height > 1:
        groups = _tag_groups(rows, files, page_rows)
        _replace(rows.table, day, files, rows.pages(files, groups, day, page_rows=page_rows), target=target)


def _compact_day(lake: LakeDirectory, rows: Rows, day: date, *, page_rows: int, small: int, target: int) -> None:
    """Rewrite the files of a day, those that overlap in time together.

    The lock is released in between, so that a live stream waits for one rewrite at most.
    """
    done, is_done = 0, False
    while not is_done:
        with lake.writing("compacted"):
            parts = list(_apart_in_time(files_of(rows.table).filter(day=day), target))
            is_done = done >= len(parts)
            if not is_done and (parts[done]["size_bytes"] < small).sum() > 1:
                rewrite(rows, day, parts[done], page_rows=page_rows, target=target)
        done += 1


def _apart_in_time(files: pl.DataFrame, target: int) -> Iterator[pl.DataFrame]:
    """Divide the files of a day where none overlaps the next in time and those before have `target` bytes."""
    ordered = files.sort("first", nulls_last=False)
    begins = ordered["first"] > ordered["last"].cum_max().shift()
    heads, size = [0], 0
    for row, (is_apart, bytes_) in enumerate(zip(begins.to_list(), ordered["size_bytes"].to_list(), strict=True)):
        if is_apart and size >= target:
            heads, size = [*heads, row], 0
        size += bytes_
    for first, after in zip(heads, [*heads[1:], files.height], strict=True):
        yield ordered[first:after]


def _tag_groups(rows: Rows, files: pl.DataFrame, page_rows: int) -> list[list[str]]:
    """Return the tags of files in groups of neighbours that fit in one page; a tag of more samples is its own group.

    Every page reads every file, so that a page per tag would take a thousand times as long for a thousand tags.
    """
    stored = pl.scan_parquet(files["path"].to_list(), glob=False)
    counts = stored.group_by("tag").agg(rows.samples.alias("samples")).sort("tag").collect()
    page = (pl.col("samples").cum_sum() - 1) // page_rows
    return counts.group_by(page.alias("page"), maintain_order=True).agg("tag")["tag"].to_list()


def _replace(table: LakeTable, day: date, files: pl.DataFrame, frames: Iterable[pl.DataFrame], **options: int) -> None:
    """Replace files of a day by rows, in one commit. What remains of a cut stretch may begin on the next day."""
    later: list[pl.DataFrame] = []

    def of_day() -> Iterator[pl.DataFrame]:
        for frame in frames:
            later.append(frame.filter(pl.col("day") != day))
            yield frame.filter(pl.col("day") == day).drop("day")

    actions = table.written(of_day(), day=str(day), **options)
    others = pl.concat(later).partition_by("day", as_dict=True, include_key=False) if later else {}
    for (other,), some in others.items():
        actions += table.written([some], day=str(other))
    table.replace(files, actions)


def _bins(files: pl.DataFrame, small: int) -> Iterator[pl.DataFrame]:
    """Yield groups of two or more files whose sizes add up to `small`; the last group may be smaller."""
    filled = pl.col("size_bytes").cum_sum().shift(fill_value=0) // small
    for (_,), few in files.group_by(filled, maintain_order=True):
        if few.height > 1:
            yield few


def _contents(files: pl.DataFrame) -> pl.DataFrame:
    return pl.read_parquet(files["path"].to_list(), glob=False)


def _tables(lake: LakeDirectory) -> tuple[Rows, Rows]:
    return SampleRows(lake), StretchRows(lake)


def _file_count(lake: LakeDirectory) -> int:
    return sum(table.listing().height for table in (lake.samples, lake.waveforms, lake.ledger))
