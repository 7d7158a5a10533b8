"""The lake's ledger: what was written when, kept short.

A write adds a row a tag. Rows of one tag and source are merged when they are old, so that the ledger grows with the
number of tags and days in it, not of writes: see `compacted` and docs/decisions/0020.
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
"""Writes are merged over a tenth of their age at most."""
_APART: Final = timedelta(hours=1)
"""Intervals further apart than this stay apart: a merged row claims little that was not written."""
_SHORTENED: Final = timedelta(microseconds=999)
"""By how much a whole millisecond in Delta's statistics may be too early: other writers shorten instants to those."""


def compacted(entries: pl.DataFrame) -> pl.DataFrame:
    """Merge old rows of a tag and source that were written close together and cover neighbouring intervals.

    The age of a row is counted from the newest row. Rows are merged if `ingested_at` falls into the same second, ten
    seconds, minute, ten minutes, hour or day, whichever is no wider than a tenth of their age, if they begin on the
    same UTC day, and if no hour without a row lies between them.

    The merged row covers what all of them cover and carries the newest `ingested_at`. So a reader whose cursor lies
    before any of them is given it, whatever it has seen of the others: it learns of every change, and computes again a
    tenth at most of what its lag makes it compute anyway.

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
    # Sorting by numbers in place of strings, and grouping by one number, is several times as fast.
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
    """Return the newest `ingested_at` that was given out; None if nothing was written. The caller holds the lock."""
    last = ledger.current.transaction_version(WRITTEN)
    return None if last is None else from_micros(last)


def row_count(ledger: LakeTable) -> int:
    """Return the number of the ledger's rows, as its files' statistics have it."""
    return int(ledger.listing()["num_records"].sum())


def compact_ledger(ledger: LakeTable) -> None:
    """Put one compacted file in the place of the ledger's files. The caller holds the writers' lock."""
    files = ledger.listing()
    if files.height:
        ledger.replace(files, ledger.written([compacted(entries_since(ledger, None).collect())]))
