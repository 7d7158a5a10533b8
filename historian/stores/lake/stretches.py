"""Reads stretches of the lake: first what is where, without values, and then the values, page by page.

A stretch may begin before a range, on the day before too, so files are found by the time of their last sample.
Stretches of different writes may overlap; the newest counts, wherever a page begins or ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from historian.samples import is_in_order
from historian.stores.lake.directory import LakeDirectory
from historian.stores.lake.files import FileOrGroup, files_of, groups_of, prune, whole_files
from historian.stores.lake.layout import STORED_WAVEFORMS, WRITTEN, with_batch_types
from historian.stores.waveform_pages import page_ranges
from historian.times import micros
from historian.waveforms.batch import WAVEFORM_SCHEMA, WaveformBatch
from historian.waveforms.cutting import cut
from historian.waveforms.joining import newest_wins_waveforms
from historian.waveforms.timing import runs_of, starts_us

HEADS: Final = ("tag", "timestamp", "last", "sample_rate", "count", "low", "high", WRITTEN)
"""Columns of a stretch that say where it is and summarise it."""
_FAR: Final = timedelta(hours=1)
"""Longest distance at which one stretch is taken to affect another: stretches slower than that are no waveforms."""
_ROUNDING: Final = timedelta(microseconds=10)
_WAITING: Final = 64 * 2**20
"""Bytes that are read before rows are selected: selecting costs as much for few rows as for many."""
_CONSTANT: Final = {"tag": "tag", "quality": "quality", "sample_rate": "rate", "count": "size"}
"""Columns that often have one value in all rows, and the field of `FileOrGroup` that says so."""

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Located:
    """Where the stretches of a range are. All is of one version of the table."""

    heads: pl.DataFrame
    """Stretches that touch the range or affect what is in it: columns `HEADS`, sorted by (tag, timestamp)."""
    files: Sequence[FileOrGroup]
    """The files that hold them."""
    far: timedelta
    """The distance at which a stretch may affect another."""
    group_rows: int
    """Number of rows above which a file is read row group by row group."""
    groups: dict[str, list[FileOrGroup]] = field(default_factory=dict, compare=False)
    """Path of a file -> its row groups, of files looked into so far."""
    rows: pl.DataFrame | None = None
    """All columns of the stretches of small files, read at once; `heads` need not have all of them."""

    def parts(self, file: FileOrGroup) -> list[FileOrGroup]:
        """Return the row groups of a large file, or the file."""
        if file.rows <= self.group_rows:
            return [file]
        if file.path not in self.groups:
            self.groups[file.path] = list(groups_of(file.path))
        return self.groups[file.path]


def located(lake: LakeDirectory, tags: Sequence[str], span: Span) -> Located:
    """Find the stretches of `tags` in a range, without their values. Repeated writes of a stretch are left out.

    Args:
        lake: the lake.
        tags: the tags to read.
        span: first instant, and first instant after the range.
    """
    return located_in(lake, _files_near(lake, tags, span), tags, span)


def located_or_read(lake: LakeDirectory, tags: Sequence[str], span: Span) -> Located:
    """Find stretches as `located` does; if their files are small, read the values in the same go."""
    files = _files_near(lake, tags, span)
    if files["size_bytes"].sum() > lake.layout.at_once:
        return located_in(lake, files, tags, span)
    far = far_of(files)
    wanted = _touching(tags, span[0] - far, span[1] + far)
    rows = read_rows(whole_files(files), [*WAVEFORM_SCHEMA, "last", WRITTEN], lambda rows: rows.filter(wanted))
    return Located(_in_order(rows.select(HEADS)), (), far, lake.layout.group_stretches, rows=rows)


def _files_near(lake: LakeDirectory, tags: Sequence[str], span: Span) -> pl.DataFrame:
    """Return the files that may have a stretch that affects the range."""
    files = files_of(lake.waveforms)
    far = far_of(files)
    return prune(files, tags, span[0] - far, span[1] + far)


def located_in(lake: LakeDirectory, files: pl.DataFrame, tags: Sequence[str], span: Span) -> Located:
    """Find the stretches of `tags` in a range in some files, from `files_of`. See `located`."""
    far = far_of(files)
    wanted = _touching(tags, span[0] - far, span[1] + far)
    whole = whole_files(files)  # these columns are small: there is no need of row groups
    heads = read_rows(whole, HEADS, lambda rows: rows.filter(wanted))
    return Located(_in_order(heads), whole, far, lake.layout.group_stretches)


def _touching(tags: Sequence[str], start: datetime, end: datetime) -> pl.Expr:
    return pl.col("tag").is_in(tags) & (pl.col("timestamp") < end) & (pl.col("last") >= start)


def _in_order(heads: pl.DataFrame) -> pl.DataFrame:
    """Sort stretches by (tag, timestamp), without repeated writes."""
    ordered = heads if is_in_order(heads) else heads.sort("tag", "timestamp")
    if is_in_order(ordered):
        return ordered
    newest = heads.sort(WRITTEN).unique(["tag", "timestamp", "sample_rate", "count"], keep="last")
    return newest.sort("tag", "timestamp")


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
    begins, ends = starts_us(found.heads), found.heads["last"].to_physical().to_numpy()
    for first, after in page_ranges(found.heads, *span, page_samples):
        with lake.reporting("read"):
            near = (begins < micros(after + found.far)) & (ends >= micros(first - found.far))
            heads = found.heads.filter(near)
            page = cut(WaveformBatch(resolved(replace(found, heads=heads))), first, after)
        if not page.is_empty():
            yield page


def read_rows(
    parts: Sequence[FileOrGroup], names: Sequence[str], chosen: Callable[[pl.DataFrame], pl.DataFrame]
) -> pl.DataFrame:
    """Return the rows of files and row groups that are chosen; of the others, few are in memory at a time.

    Args:
        parts: files and row groups.
        names: the columns to read, of `STORED_WAVEFORMS`.
        chosen: returns the wanted ones of some rows.
    """
    same = _constant_columns(parts, names)
    constants = [pl.lit(value, STORED_WAVEFORMS[name]).alias(name) for name, value in same.items()]
    found = [pl.DataFrame(schema={name: STORED_WAVEFORMS[name] for name in names})]
    waiting: list[pa.Table] = []

    def take() -> None:
        rows = pl.DataFrame(pa.concat_tables(waiting)).with_columns(constants)
        found.append(chosen(rows).select(names))
        waiting.clear()

    held = 0
    for table in _tables(parts, [name for name in names if name not in same]):
        waiting.append(table)
        held += table.nbytes
        if held > _WAITING:
            take()
            held = 0
    if waiting:
        take()
    return with_batch_types(pl.concat(found))


def _constant_columns(parts: Sequence[FileOrGroup], names: Sequence[str]) -> dict[str, Any]:
    """Return the columns that have one value in all rows according to the statistics: they need not be read."""
    known = {
        name: {getattr(part, attribute) for part in parts} for name, attribute in _CONSTANT.items() if name in names
    }
    return {name: values.pop() for name, values in known.items() if len(values) == 1 and None not in values}


def _tables(parts: Sequence[FileOrGroup], names: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the rows of parts in the order of their first instants, so that rows written in order need no sorting."""
    few: dict[str, Any] = {"columns": list(names), "use_threads": False}
    files: dict[str, list[FileOrGroup]] = {}
    for part in sorted(parts, key=lambda part: part.first or 0):
        files.setdefault(part.path, []).append(part)
    for path, some in files.items():
        with pq.ParquetFile(path, pre_buffer=False) as file:  # another thread would read it first
            for part in some:
                yield file.read(**few) if part.group is None else file.read_row_group(part.group, **few)


def resolved(found: Located) -> pl.DataFrame:
    """Return stretches with their values, as they count after the newest write.

    Returns:
        Columns of `WAVEFORM_SCHEMA`, then `ingested_at`, sorted by (tag, timestamp).
    """
    keys = found.heads.select("tag", "timestamp", WRITTEN)

    def of_heads(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.join(keys, on=keys.columns, how="semi", maintain_order="left")

    if found.rows is not None:
        rows = found.rows.drop("last")
        wanted = rows if rows.height == found.heads.height else of_heads(rows)  # live, all of them are
        return newest_wins_waveforms(wanted, written=WRITTEN)
    may_hold = _holders(found.heads)
    parts = [part for file in found.files if may_hold(file) for part in found.parts(file) if may_hold(part)]
    return newest_wins_waveforms(read_rows(parts, [*WAVEFORM_SCHEMA, WRITTEN], of_heads), written=WRITTEN)


def _holders(heads: pl.DataFrame) -> Callable[[FileOrGroup], bool]:
    """Return a function that says whether one of some stretches may begin in a file or row group."""
    at, tag = starts_us(heads), heads["tag"]
    starts = {tag[first]: np.sort(at[first:last]) for first, last in runs_of(tag)}
    none, every = np.empty(0, np.int64), np.sort(at)

    def may_hold(part: FileOrGroup) -> bool:
        at = every if part.tag is None else starts.get(part.tag, none)
        first = 0 if part.first is None else np.searchsorted(at, part.first)
        after = len(at) if part.last is None else np.searchsorted(at, part.last, side="right")
        return bool(after > first)

    return may_hold
