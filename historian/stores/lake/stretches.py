"""Reads stretches of the lake: first what is where, without values, and then the values, page by page.

A stretch may begin before a range, on the day before too, so files are found by the time of their last sample.
Stretches of different writes may overlap; the newest counts, wherever a page begins or ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from historian.stores.lake.directory import LakeDirectory
from historian.stores.lake.files import FileOrGroup, files_of, parts_of, prune
from historian.stores.lake.layout import STORED_WAVEFORMS, WRITTEN, with_batch_types
from historian.stores.waveform_pages import page_ranges
from historian.waveforms.batch import WAVEFORM_SCHEMA, WaveformBatch
from historian.waveforms.cutting import cut
from historian.waveforms.joining import newest_wins_waveforms

HEADS: Final = ("tag", "timestamp", "last", "sample_rate", "count", "low", "high", WRITTEN)
"""Columns of a stretch that say where it is and summarise it."""
_FAR: Final = timedelta(hours=1)
"""Longest distance at which one stretch is taken to affect another: stretches slower than that are no waveforms."""
_ROUNDING: Final = timedelta(microseconds=10)
_WAITING: Final = 64 * 2**20
"""Bytes that are read before rows are selected: selecting costs as much for few rows as for many."""

Span = tuple[datetime, datetime]


class Located(NamedTuple):
    """Where the stretches of a range are. All is of one version of the table."""

    heads: pl.DataFrame
    """Stretches that touch the range or affect what is in it: columns `HEADS`, in no particular order."""
    parts: list[FileOrGroup]
    """The files and row groups that may hold them."""
    far: timedelta
    """The distance at which a stretch may affect another."""


def located(lake: LakeDirectory, tags: Sequence[str], span: Span) -> Located:
    """Find the stretches of `tags` in a range, without their values. Repeated writes of a stretch are left out.

    Args:
        lake: the lake.
        tags: the tags to read.
        span: first instant, and first instant after the range.
    """
    files = files_of(lake.waveforms)
    far = far_of(files)
    return located_in(lake, prune(files, tags, span[0] - far, span[1] + far), tags, span)


def located_in(lake: LakeDirectory, files: pl.DataFrame, tags: Sequence[str], span: Span) -> Located:
    """Find the stretches of `tags` in a range in some files, from `files_of`. See `located`."""
    far = far_of(files)
    start, end = span[0] - far, span[1] + far
    whole = parts_of(files, start, end, group_rows=2**62)  # these columns are small: no need of row groups
    heads = read_rows(list(whole), HEADS, pl.col("tag").is_in(tags) & _touching(start, end)).sort(WRITTEN)
    heads = heads.unique(["tag", "timestamp", "sample_rate", "count"], keep="last")
    return Located(heads, list(parts_of(files, start, end, lake.layout.group_stretches)), far)


def far_of(files: pl.DataFrame) -> timedelta:
    """Return the distance at which a stretch of some files may affect another: two periods of the slowest one."""
    slowest = files["slowest"].min()
    return min(_ROUNDING + timedelta(seconds=2) / slowest, _FAR) if isinstance(slowest, float) else _FAR


def stretch_pages(lake: LakeDirectory, found: Located, span: Span, *, page_samples: int) -> Iterator[pl.DataFrame]:
    """Yield stretches in pages that follow one another in time; overlaps are resolved.

    Args:
        lake: the lake.
        found: the stretches to read.
        span: first instant, and first instant after the range; stretches are cut to it.
        page_samples: approximate number of stored samples per page.

    Yields:
        Columns of `WAVEFORM_SCHEMA`, then `ingested_at`, sorted by (tag, timestamp).

    Raises:
        StoreUnavailable: a file cannot be read.
    """
    for first, after in page_ranges(found.heads, *span, page_samples):
        with lake.reporting("read"):
            heads = found.heads.filter(_touching(first - found.far, after + found.far))
            page = cut(WaveformBatch(resolved(found.parts, heads)), first, after)
        if not page.is_empty():
            yield page


def read_rows(parts: Sequence[FileOrGroup], names: Sequence[str], wanted: pl.Expr) -> pl.DataFrame:
    """Return the rows of files and row groups for which `wanted` is true; of the others, few are in memory at a time.

    Args:
        parts: files and row groups.
        names: the columns to read, of `STORED_WAVEFORMS`.
        wanted: condition on these columns.
    """
    found = [pl.DataFrame(schema={name: STORED_WAVEFORMS[name] for name in names})]
    waiting: list[pa.Table] = []
    for table in _tables(parts, names):
        waiting.append(table)
        if sum(each.nbytes for each in waiting) > _WAITING:
            found.append(pl.DataFrame(pa.concat_tables(waiting)).filter(wanted))
            waiting = []
    if waiting:
        found.append(pl.DataFrame(pa.concat_tables(waiting)).filter(wanted))
    return with_batch_types(pl.concat([rows.select(names) for rows in found]))


def _tables(parts: Sequence[FileOrGroup], names: Sequence[str]) -> Iterator[pa.Table]:
    few: dict[str, Any] = {"columns": list(names), "use_threads": False}
    for path, some in groupby(sorted(parts, key=attrgetter("path")), key=attrgetter("path")):
        with pq.ParquetFile(path) as file:
            for part in some:
                yield file.read(**few) if part.group is None else file.read_row_group(part.group, **few)


def resolved(parts: Sequence[FileOrGroup], heads: pl.DataFrame) -> pl.DataFrame:
    """Return the stretches `heads` with their values, as they count after the newest write.

    Args:
        parts: files and row groups that may hold them, and others.
        heads: columns `HEADS`.

    Returns:
        Columns of `WAVEFORM_SCHEMA`, then `ingested_at`, sorted by (tag, timestamp).
    """
    starts = pl.col("timestamp").is_in(heads["timestamp"].unique().implode())
    rows = read_rows(list(_holding(parts, heads)), [*WAVEFORM_SCHEMA, WRITTEN], starts)
    rows = rows.join(heads, on=["tag", "timestamp", WRITTEN], how="semi", maintain_order="left")
    return newest_wins_waveforms(rows, written=WRITTEN)


def _holding(parts: Sequence[FileOrGroup], heads: pl.DataFrame) -> Iterator[FileOrGroup]:
    """Yield the parts in which a stretch may begin when one of `heads` does."""
    by_tag = heads.select("tag", at=pl.col("timestamp").to_physical()).partition_by("tag", as_dict=True)
    starts = {tag: np.sort(rows["at"].to_numpy()) for (tag,), rows in by_tag.items()}
    none = np.empty(0, np.int64)
    every = np.sort(np.concatenate([none, *starts.values()]))
    for part in parts:
        at = every if part.tag is None else starts.get(part.tag, none)
        first = 0 if part.first is None else np.searchsorted(at, part.first)
        after = len(at) if part.last is None else np.searchsorted(at, part.last, side="right")
        if after > first:
            yield part


def _touching(start: datetime, end: datetime) -> pl.Expr:
    return (pl.col("timestamp") < end) & (pl.col("last") >= start)
