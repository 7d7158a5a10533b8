"""Which files of the lake hold what, as Delta's statistics have it, and their rows, read no further than is needed.

Files that lie in the range asked for are not searched for it, a column of which the statistics tell that it has one
value in all rows (one tag, all Good, no text) is not read, and when rows were written is looked at only where that
decides which of two stays. A column that was not read is one value to Polars until somebody looks at its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable

from historian.samples import SCHEMA, is_in_order, newest_wins

WRITTEN: Final = "ingested_at"
_PREFIX: Final = 32
"""Bytes of a string in the statistics, at least."""
_INSTANT: Final = SCHEMA["timestamp"]
_EMPTY: Final = {
    "size_bytes": pl.Int64(),
    "num_records": pl.Int64(),
    "path": pl.String(),
    "first": _INSTANT,
    "last": _INSTANT,
    "day": pl.Date(),
    "lowest": pl.String(),
    "highest": pl.String(),
    "tag": pl.String(),
    "quality": pl.Int64(),
    "texts": pl.Int64(),
}


def table_root(table: DeltaTable) -> Path:
    """The table's directory; delta-rs names it by a percent-encoded url."""
    return Path(unquote(table.table_uri.removeprefix("file://")))


def files_of(table: DeltaTable) -> pl.DataFrame:
    """All files: path, size_bytes, num_records, first, last, day, and the `lowest` and `highest` tag.

    And `tag` and `quality` where all rows of a file have the same, and how many `texts` it has; null is unknown.
    Statistics may be shortened, instants to milliseconds and strings to a prefix; the comparisons allow for it.
    """
    root = table_root(table)
    files = pl.DataFrame(table.get_add_actions(flatten=True))
    if files.is_empty():
        return pl.DataFrame(schema=_EMPTY)
    one_tag = (pl.col("min.tag") == pl.col("max.tag")) & (pl.col("min.tag").str.len_bytes() < _PREFIX)
    return files.select(
        "size_bytes",
        "num_records",
        path=pl.Series([str(root / unquote(path)) for path in files["path"]]),
        first="min.timestamp",
        last=pl.col("max.timestamp") + timedelta(milliseconds=1),
        day=pl.col("partition.day").cast(pl.Date),
        lowest=pl.col("min.tag").str.slice(0, _PREFIX),
        highest=pl.col("max.tag").str.slice(0, _PREFIX),
        tag=pl.when(one_tag).then("min.tag"),
        quality=pl.when(pl.col("min.quality") == pl.col("max.quality")).then("min.quality"),
        texts=pl.col("num_records") - pl.col("null_count.text"),
    )


def touched(files: pl.DataFrame, tags: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """Those of the files that may hold samples of `tags` in [start, end)."""
    return files.filter(
        (pl.col("first") < end)
        & (pl.col("last") >= start)
        & (pl.col("lowest") <= max(tags, default="")[:_PREFIX])
        & (pl.col("highest") >= min(tags, default="")[:_PREFIX])
    )


def rows_within(files: pl.DataFrame, start: datetime, end: datetime) -> float:
    """About how many rows of the files lie in [start, end), theirs taken to be evenly spaced."""
    inside = pl.min_horizontal("last", pl.lit(end)) - pl.max_horizontal("first", pl.lit(start))
    return float(files.select((pl.col("num_records") * (inside / (pl.col("last") - pl.col("first")))).sum()).item())


def stored_rows(files: pl.DataFrame, tags: Sequence[str], start: datetime, end: datetime) -> pl.LazyFrame:
    """The rows of `tags` in [start, end), superseded ones among them.

    Files come by their first instant, so that what was written in order is read in order and need not be sorted.
    """
    inside = (pl.col("first") >= start) & (pl.col("last") < end)
    stretches = files.sort("first").with_columns(inside=inside).with_columns(stretch=pl.col("inside").rle_id())
    parts = []
    for part in stretches.partition_by("stretch", maintain_order=True):
        rows = pl.scan_parquet(part["path"].to_list(), glob=False)
        within = pl.col("timestamp").is_between(start, end, closed="left")
        parts.append(rows if part["inside"][0] else rows.filter(within))
    rows = pl.concat(parts)
    return rows if _same(files).get("tag") in tags else rows.filter(pl.col("tag").is_in(tags))


def settled_rows(
    files: pl.DataFrame, tags: Sequence[str], start: datetime, end: datetime, *, stamped: bool
) -> pl.DataFrame:
    """The samples of `tags` in [start, end): sorted, unique; columns of a batch, and `ingested_at` if stamped."""
    same, names = _same(files), [*SCHEMA, *([WRITTEN] if stamped else [])]
    stored = stored_rows(files, tags, start, end).drop(*same)
    if stamped or "tag" not in same:
        rows = newest_wins(_collected(stored), written=WRITTEN)
    else:
        rows = _collected(stored.drop(WRITTEN))
        if not is_in_order(rows):
            rows = newest_wins(rows.hstack(_collected(stored.select(WRITTEN))), written=WRITTEN)
    known = [pl.lit(value, SCHEMA[column]).alias(column) for column, value in same.items()]
    return rows.with_columns(known).select(names).cast({"quality": SCHEMA["quality"]})


def _same(files: pl.DataFrame) -> dict[str, str | int | None]:
    """The columns that have one value in all rows of the files, and which: they need not be read."""
    found = {"text": None} if files["texts"].null_count() == 0 and files["texts"].sum() == 0 else {}
    values = {column: files[column].unique().to_list() for column in ("tag", "quality")}
    return found | {column: each[0] for column, each in values.items() if len(each) == 1 and each[0] is not None}


def _collected(rows: pl.LazyFrame) -> pl.DataFrame:
    """In one piece, so that whoever looks at it as arrays need not copy it each time."""
    return rows.collect(engine="in-memory").rechunk()
