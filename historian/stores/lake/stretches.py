"""Reads stretches of the lake: first what is where, without values, and then the values, page by page.

A stretch may begin before a range, on the day before too, so files are found by the time of their last sample.
Stretches of different writes may overlap; the newest counts, wherever a page begins or ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Final

import numpy as np
import polars as pl

from historian.samples import instants_us, is_in_order
from historian.stores.lake.directory import LakeDirectory
from historian.stores.lake.files import FileOrGroup, files_of, prune, whole_files
from historian.stores.lake.layout import STORED_WAVEFORMS, WRITTEN, with_batch_types
from historian.stores.lake.stretch_rows import chosen, read_rows, rows_at
from historian.stores.waveform_pages import page_ranges
from historian.times import micros
from historian.waveforms.batch import WAVEFORM_SCHEMA, WaveformBatch
from historian.waveforms.cutting import cut
from historian.waveforms.joining import newest_wins_waveforms
from historian.waveforms.timing import Integers, last_us, starts_us

HEADS: Final = ("tag", "timestamp", "sample_rate", "count", "low", "high")
"""Columns of a stretch that say where it is and summarise it."""
_ROW: Final = "#row"
"""Number of a stretch's row, counted through all files one after the other."""
_WHOLE: Final = (*WAVEFORM_SCHEMA, WRITTEN)
_SAME: Final = ("tag", "timestamp", "sample_rate", "count")
"""What repeated writes of a stretch have in common."""
_FAR: Final = timedelta(hours=1)
"""Longest distance at which one stretch is taken to affect another: stretches slower than that are no waveforms."""
_HEAD_BYTES: Final = 64
"""Memory that `HEADS` of a stretch take, about."""
_AT_A_TIME: Final = 2**11
"""Rows that are read with their values before those are selected that matter."""
_ROUNDING: Final = timedelta(microseconds=10)

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Located:
    """Where the stretches of a range are. All is of one version of the table."""

    heads: pl.DataFrame
    """Stretches that touch the range or affect what is in it, sorted by (tag, timestamp): columns `HEADS`, `last` (the
    time of the last sample), and the number of the row."""
    files: Sequence[FileOrGroup]
    """The files that hold them, in the order in which rows are counted."""
    far: timedelta
    """The distance at which a stretch may affect another."""
    rows: pl.DataFrame | None = None
    """All columns of the stretches of small files, which were read at once; then rows are counted in these."""

    def stamped(self) -> pl.DataFrame:
        """Return `heads` with the column `ingested_at`, in the order of their rows."""
        return pl.concat([self.heads.sort(_ROW), self.columns([WRITTEN])], how="horizontal")

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Return columns of the stretches in the order of their rows."""
        numbers = np.sort(self.heads[_ROW].to_numpy())
        return rows_at(self.files, numbers, names) if self.rows is None else chosen(self.rows, numbers).select(names)


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
    rows, _ = _near(whole_files(files.sort("first")), _WHOLE, tags, (span[0] - far, span[1] + far), _AT_A_TIME)
    return _in_order(Located(_placed(rows, np.arange(rows.height)), (), far, rows))


def located_in(lake: LakeDirectory, files: pl.DataFrame, tags: Sequence[str], span: Span) -> Located:
    """Find the stretches of `tags` in a range in some files, from `files_of`. See `located`."""
    far, whole = far_of(files), whole_files(files.sort("first"))  # then rows written in order need no sorting
    rows = lake.layout.at_once // _HEAD_BYTES
    heads, numbers = _near(whole, HEADS, tags, (span[0] - far, span[1] + far), rows)
    return _in_order(Located(_placed(heads, numbers), whole, far))


def _files_near(lake: LakeDirectory, tags: Sequence[str], span: Span) -> pl.DataFrame:
    """Return the files that may have a stretch that affects the range."""
    files = files_of(lake.waveforms)
    far = far_of(files)
    return prune(files, tags, span[0] - far, span[1] + far)


def _near(
    files: Sequence[FileOrGroup], names: Sequence[str], tags: Sequence[str], span: Span, at_a_time: int
) -> tuple[pl.DataFrame, Integers]:
    """Return columns of the rows of `tags` that touch a range, and their numbers; of other rows few are in memory."""
    found, numbers, passed = [STORED_WAVEFORMS.to_frame().select(names).pipe(with_batch_types)], [], 0
    for some in _batches(files, at_a_time):
        rows = read_rows(some, names)
        near = (starts_us(rows) < micros(span[1])) & (last_us(rows) >= micros(span[0]))
        if any(file.tag not in tags for file in some):
            near &= rows["tag"].is_in(tags).to_numpy()
        chosen_rows = np.flatnonzero(near)
        found.append(chosen(rows, chosen_rows))
        numbers.append(chosen_rows + passed)
        passed += rows.height
    return pl.concat(found[-1:] if len(found) == 2 else found), np.concatenate([np.empty(0, np.int64), *numbers])


def _batches(files: Sequence[FileOrGroup], rows: int) -> Iterator[Sequence[FileOrGroup]]:
    """Yield the files in batches, each with about as many rows or one file."""
    number = [passed // max(rows, 1) for passed in accumulate((file.rows for file in files), initial=0)]
    for _, some in groupby(zip(files, number, strict=False), key=itemgetter(1)):
        yield [file for file, _ in some]


def _placed(heads: pl.DataFrame, numbers: Integers) -> pl.DataFrame:
    """Return the columns `HEADS` with those that `Located.heads` has in addition."""
    last = pl.Series("last", last_us(heads)).cast(STORED_WAVEFORMS["last"])
    return heads.select(HEADS).with_columns(last, pl.Series(_ROW, numbers))


def _in_order(found: Located) -> Located:
    """Sort stretches by (tag, timestamp), without repeated writes."""
    if is_in_order(found.heads):
        return found
    heads = found.heads.sort("tag", "timestamp", _ROW)
    if not is_in_order(heads):
        newest = found.stamped().sort(WRITTEN).unique(_SAME, keep="last")
        heads = newest.drop(WRITTEN).sort("tag", "timestamp")
    return replace(found, heads=heads)


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
    begins, ends = starts_us(found.heads), instants_us(found.heads["last"])
    for first, after in page_ranges(found.heads, *span, page_samples):
        with lake.reporting("read"):
            near = (begins < micros(after + found.far)) & (ends >= micros(first - found.far))
            heads = found.heads if near.all() else found.heads.filter(near)
            page = cut(WaveformBatch(resolved(replace(found, heads=heads))), first, after)
        if not page.is_empty():
            yield page


def resolved(found: Located) -> pl.DataFrame:
    """Return stretches with their values, as they count after the newest write.

    Returns:
        Columns of `WAVEFORM_SCHEMA`, then `ingested_at`, sorted by (tag, timestamp).
    """
    return newest_wins_waveforms(found.columns(_WHOLE), written=WRITTEN)
