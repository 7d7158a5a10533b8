"""Which files of the lake hold what, as Delta's statistics have it, and which row groups of the large ones.

Statistics may be shortened, instants to milliseconds and strings to a prefix; whoever compares with them allows for it.
What they do not tell is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import polars as pl
import pyarrow.parquet as pq
from deltalake import DeltaTable

from historian.times import micros

_PREFIX: Final = 32
"""Bytes of a string in the statistics, at least."""
_WHOLE: Final = 4
"""Row groups of files that are not looked into: pages are larger."""
_SHORTENED: Final = 1000
"""Microseconds by which an instant may be too early."""
_EMPTY: Final = {
    "day": pl.Date(),
    "size_bytes": pl.Int64(),
    "path": pl.String(),
    "num_records": pl.Int64(),
    "first": pl.Int64(),
    "last": pl.Int64(),
    "lowest": pl.String(),
    "highest": pl.String(),
    "tag": pl.String(),
    "quality": pl.Int64(),
    "texts": pl.Int64(),
}


class Unit(NamedTuple):
    """What is read at once: a file, or one of its row groups."""

    path: str
    rows: int
    first: int | None
    """Microseconds since the epoch, like `last`."""
    last: int | None
    lowest: str | None
    """A tag that none of its tags comes before; `highest`, one that none comes after."""
    highest: str | None
    tag: str | None
    """Of all rows, if it is one."""
    quality: int | None
    """Of all rows, if it is one."""
    texts: int | None
    """How many rows have one."""
    group: int | None = None
    """Which row group; None is the whole file."""

    def may_hold(self, tags: Sequence[str], start: datetime, end: datetime) -> bool:
        """Whether there may be samples of `tags` in [start, end)."""
        return (
            (self.first is None or self.first < micros(end))
            and (self.last is None or self.last >= micros(start))
            and (self.lowest is None or self.lowest <= max(tags, default="")[:_PREFIX])
            and (self.highest is None or self.highest >= min(tags, default="")[:_PREFIX])
            and (self.tag is None or self.tag in tags)
        )

    def lies_within(self, start: datetime, end: datetime) -> bool:
        """Whether all rows are known to lie in [start, end)."""
        known = self.first is not None and self.last is not None
        return known and micros(start) <= (self.first or 0) and (self.last or 0) < micros(end)

    def rows_within(self, start: datetime, end: datetime) -> float:
        """About how many rows lie in [start, end): evenly spaced, and where tags are mixed, half are ours."""
        if self.first is None or self.last is None:
            return self.rows
        inside = min(self.last, micros(end)) - max(self.first, micros(start))
        return self.rows * inside / (self.last - self.first) * (0.5 if self.tag is None else 1.0)


def table_root(table: DeltaTable) -> Path:
    """The table's directory; delta-rs names it by a percent-encoded url."""
    return Path(unquote(table.table_uri.removeprefix("file://")))


def files_of(table: DeltaTable) -> pl.DataFrame:
    """All files: day and size_bytes, and the fields of a `Unit` without `group`; its rows are `num_records`."""
    root = table_root(table)
    files = pl.DataFrame(table.get_add_actions(flatten=True))
    if files.is_empty():
        return pl.DataFrame(schema=_EMPTY)
    one_tag = (pl.col("min.tag") == pl.col("max.tag")) & (pl.col("min.tag").str.len_bytes() < _PREFIX)
    return files.select(
        pl.col("partition.day").cast(pl.Date).alias("day"),
        "size_bytes",
        pl.Series("path", [str(root / unquote(path)) for path in files["path"]]),
        "num_records",
        pl.col("min.timestamp").to_physical().alias("first"),
        (pl.col("max.timestamp").to_physical() + _SHORTENED).alias("last"),
        pl.col("min.tag").str.slice(0, _PREFIX).alias("lowest"),
        pl.col("max.tag").str.slice(0, _PREFIX).alias("highest"),
        pl.when(one_tag).then("min.tag").alias("tag"),
        pl.when(pl.col("min.quality") == pl.col("max.quality")).then("min.quality").alias("quality"),
        (pl.col("num_records") - pl.col("null_count.text")).alias("texts"),
    )


def touched(files: pl.DataFrame, tags: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """Those of the files that may hold samples of `tags` in [start, end): `Unit.may_hold`, for thousands at once."""
    may = (
        (pl.col("first") < micros(end))
        & (pl.col("last") >= micros(start))
        & (pl.col("lowest") <= max(tags, default="")[:_PREFIX])
        & (pl.col("highest") >= min(tags, default="")[:_PREFIX])
    )
    return files.filter(may.fill_null(value=True))


def units_of(files: pl.DataFrame, start: datetime, end: datetime, group_rows: int) -> Iterator[Unit]:
    """The files, and instead of large ones that have more than is wanted of [start, end) their row groups.

    Args:
        files: of `files_of`.
        start: first instant.
        end: first instant after.
        group_rows: of a row group, at most.
    """
    for row in files.drop("day", "size_bytes").iter_rows():
        file = Unit(*row)
        whole = file.tag is not None and file.rows <= _WHOLE * group_rows and file.lies_within(start, end)
        yield from [file] if whole or file.rows <= group_rows else _groups(file.path)


def _groups(path: str) -> Iterator[Unit]:
    """The row groups of a file. Their numbers are taken as stored: to make datetimes of them takes very long."""
    footer = pq.read_metadata(path)
    place = {name: number for number, name in enumerate(footer.schema.names)}
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        known = {name: group.column(place[name]).statistics for name in ("tag", "timestamp", "quality", "text")}
        lowest, highest = _span(known["tag"], "min", "max")
        first, last = _span(known["timestamp"], "min_raw", "max_raw")
        best, worst = _span(known["quality"], "min_raw", "max_raw")
        yield Unit(
            path,
            group.num_rows,
            first,
            None if last is None else last + _SHORTENED,
            lowest and lowest[:_PREFIX],
            highest and highest[:_PREFIX],
            lowest if lowest == highest and len((lowest or "").encode()) < _PREFIX else None,
            best if best == worst else None,
            group.num_rows - known["text"].null_count if known["text"] else None,
            number,
        )


def _span(statistics: pq.Statistics | None, least: str, most: str) -> tuple[Any, Any]:
    there = statistics is not None and statistics.has_min_max
    return (getattr(statistics, least), getattr(statistics, most)) if there else (None, None)
