"""Pages of samples: ranges of time with a bounded number of stored rows, and the rows in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

import polars as pl

from historian.stores.lake.directory import LakeDirectory
from historian.stores.lake.files import FileOrGroup
from historian.stores.lake.rows import row_counts, unique_rows
from historian.times import micros

_BINS: Final = 1_000_000


def pages_of(
    lake: LakeDirectory,
    parts: Sequence[FileOrGroup],
    tags: Sequence[str],
    span: tuple[datetime, datetime],
    *,
    page_rows: int,
    stamped: bool = False,
) -> Iterator[pl.DataFrame]:
    """Yield the samples of `tags` in a range, in pages that follow one another in time.

    Args:
        lake: the lake, for error messages.
        parts: files and row groups that may hold samples of the range.
        tags: the tags to read.
        span: first instant, and first instant after the range.
        page_rows: approximate number of stored rows per page.
        stamped: whether the pages have the column `ingested_at`.

    Raises:
        StoreUnavailable: a file cannot be read.
    """
    parts = [part for part in parts if part.may_hold(tags, *span)]
    with lake.reporting("read"):
        ranges = _page_ranges(parts, tags, *span, page_rows)
    for first, last in ranges:
        with lake.reporting("read"):
            few = [part for part in parts if part.may_hold(tags, first, last)]
            page = unique_rows(few, tags, first, last, stamped=stamped)
        if not page.is_empty():
            yield page


def _page_ranges(
    parts: Sequence[FileOrGroup], tags: Sequence[str], start: datetime, end: datetime, page_rows: int
) -> list[tuple[datetime, datetime]]:
    """Yield half-open time ranges of about `page_rows` stored rows each; rows are counted only where necessary.

    The rows of groups that lie partly in the range are assumed to be evenly spaced if there are at most four pages.
    """
    few = sum(part.rows for part in parts) <= 4 * page_rows
    if few and sum(part.rows_within(start, end) for part in parts) <= page_rows:
        return [(start, end)]
    first = max(micros(start), min(part.first or 0 for part in parts))
    last = min(micros(end), max(part.last or 0 for part in parts))
    step = max(timedelta(seconds=1), timedelta(microseconds=last - first) / _BINS)
    bins = row_counts(parts, tags, start, end, step).with_columns(page=(pl.col("len").cum_sum() - 1) // page_rows)
    starts = bins.group_by("page", maintain_order=True).first()["timestamp"].to_list()
    return list(pairwise([start, *starts[1:], end]))
