"""The lake's ledger: a short record of what was written when.

A write adds one row per tag. Old rows of one tag and source are merged, so that the ledger grows with the number of
tags and days, not with the number of writes: see `compacted` and docs/decisions/0020.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from historian.stores.lake.layout import WRITTEN
from historian.stores.lake.table import LakeTable
from historian.stores.protocols import LEDGER
from historian.times import from_micros

_WIDTHS: Final = (
    timedelta(seconds=1),
    timedelta(seconds=10),
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(days=1),
)
_AGES_PER_WIDTH: Final = 10
"""Smallest age of merged rows, in widths of the interval over which they are merged."""
_APART: Final = timedelta(hours=1)
"""Longest gap between merged intervals, so that a merged row covers little time that was not written."""
_SHORTENED: Final = timedelta(microseconds=999)
"""Largest error of an instant in Delta's statistics: other writers truncate instants to milliseconds."""


def compacted(entries: pl.DataFrame) -> pl.DataFrame:
    """Merge old rows of a tag and source that were written close together and cover neighbouring intervals.

    The age of a row is counted from the newest row. Rows are merged if `ingested_at` falls into the same second, ten
    seconds, minute, ten minutes, hour or day, whichever is no wider than a tenth of their age, if they begin on the
    same UTC day, and if no hour without a row lies between them.

    The merged row covers what all of them cover and carries the newest `ingested_at`. A reader whose cursor lies
    before any of them therefore receives it, whatever it has seen of the others. It misses no change, and recomputes at
    most a tenth more than its lag makes it compute anyway.

    Args:
        entries: columns of `LEDGER`.

    Returns:
        Columns of `LEDGER`, sorted by (`ingested_at`, `tag`); `rows` are sums.
    """
    if entries.is_empty():
        return entries
    written = pl.col(WRITTEN)
    age = written.max() - written
    together = written
    for width in _WIDTHS:
        together = pl.when(age >= width * _AGES_PER_WIDTH).then(written.dt.truncate(width)).otherwise(together)
    # Sorting by numbers instead of strings, and grouping by one number, is several times as fast.
    names = pl.col("tag", "source").cast(pl.Categorical).to_physical().name.suffix("_number")
    keyed = entries.with_columns(names, together=together, day=pl.col("first").dt.date())
    keys = ["tag_number", "source_number", "together", "day"]
    rows = keyed.sort(*keys, "first", "last")
    group = pl.any_horizontal(pl.col(key).ne_missing(pl.col(key).shift()) for key in keys).cum_sum()
    rows = rows.with_columns(group=group)
    covered = pl.col("last").cum_max().over("group").shift()
    begins = (pl.col("group") != pl.col("group").shift()) | (pl.col("first") > covered + _APART)
    merged = rows.group_by(begins.fill_null(value=True).cum_sum().alias("interval")).agg(
        pl.col("tag", "source").first(),
        written.max(),
        pl.col("first").min(),
        pl.col("last").max(),
        pl.col("rows").sum(),
    )
    return merged.select(LEDGER.names()).sort(WRITTEN, "tag")


def entries_since(ledger: LakeTable, since: datetime | None) -> pl.LazyFrame:
    """Return the ledger's rows with `ingested_at` > since (all for None), read from the files that may hold some."""
    files = ledger.listing()
    if files.is_empty():
        return LEDGER.to_frame().lazy()
    if since is not None and f"max.{WRITTEN}" in files.columns:
        last = pl.col(f"max.{WRITTEN}")
        whole = last.dt.truncate("1ms") == last
        fresh = pl.when(whole).then(last + _SHORTENED).otherwise(last) > since
        files = files.filter(fresh.fill_null(value=True))
    if files.is_empty():
        return LEDGER.to_frame().lazy()
    entries = pl.scan_parquet(files["path"].to_list(), glob=False).cast(LEDGER).select(LEDGER.names())
    return entries if since is None else entries.filter(pl.col(WRITTEN) > since)


def last_written(ledger: LakeTable) -> datetime | None:
    """Return the newest `ingested_at` that was assigned; None if nothing was written. The caller holds the lock."""
    last = ledger.transaction_version(WRITTEN)
    return None if last is None else from_micros(last)


def row_count(ledger: LakeTable) -> int:
    """Return the number of the ledger's rows according to its files' statistics."""
    return int(ledger.listing()["num_records"].sum())


def compact_ledger(ledger: LakeTable) -> None:
    """Replace the ledger's files by one compacted file. The caller holds the writers' lock."""
    files = ledger.listing()
    if files.height:
        ledger.replace(files, ledger.written([compacted(entries_since(ledger, None).collect())]))
