"""The contents of the lake's files according to Delta's statistics; for large files, those of each row group.

Statistics may be truncated: instants to milliseconds, strings to a prefix. Comparisons with them allow for that. A
missing statistic is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import polars as pl
import pyarrow.parquet as pq

from historian.stores.lake.table import LakeTable
from historian.times import micros

_PREFIX: Final = 32
"""Smallest number of bytes of a string that the statistics keep."""
_WHOLE: Final = 4
"""Largest number of row groups for which a file in the range is read as a whole: pages are larger than that."""
_SHORTENED: Final = 1000
"""Largest error of an instant in the statistics, in microseconds; it can only be too early."""
_PRUNED: Final = ("tag", "timestamp", "quality", "text")
"""Columns whose statistics are used."""
_EMPTY: Final = {
    "day": pl.Date(),
    "size_bytes": pl.Int64(),
    "logged_as": pl.String(),
    "path": pl.String(),
    "num_records": pl.Int64(),
    "first": pl.Int64(),
    "last": pl.Int64(),
    "lowest": pl.String(),
    "highest": pl.String(),
    "tag": pl.String(),
    "quality": pl.Int64(),
    "texts": pl.Int64(),
    "slowest": pl.Float64(),
    "rate": pl.Float64(),
    "size": pl.Int64(),
}


class FileOrGroup(NamedTuple):
    """A file, or one row group of a file: the unit of reading."""

    path: str
    rows: int
    first: int | None
    """Time of the first sample in microseconds since the epoch; `last` is that of the last sample."""
    last: int | None
    lowest: str | None
    """Lower bound of its tags; `highest` is the upper bound. Both may be prefixes."""
    highest: str | None
    tag: str | None
    """The tag of all rows, if they share one."""
    quality: int | None
    """The quality of all rows, if they share one."""
    texts: int | None
    """Number of rows that have a text; 0 for stretches."""
    rate: float | None = None
    """The sample rate of all stretches, if they share one; of files only."""
    size: int | None = None
    """The number of samples of each stretch, if they share one; of files only."""
    group: int | None = None
    """Number of the row group in the file; None for the whole file."""

    def may_hold(self, tags: Sequence[str], start: datetime, end: datetime) -> bool:
        """Return whether there may be samples of `tags` in [start, end)."""
        return (
            (self.first is None or self.first < micros(end))
            and (self.last is None or self.last >= micros(start))
            and (self.lowest is None or self.lowest <= max(tags, default="")[:_PREFIX])
            and (self.highest is None or self.highest >= min(tags, default="")[:_PREFIX])
            and (self.tag is None or self.tag in tags)
        )

    def lies_within(self, start: datetime, end: datetime) -> bool:
        """Return whether all rows are known to lie in [start, end)."""
        known = self.first is not None and self.last is not None
        return known and micros(start) <= (self.first or 0) and (self.last or 0) < micros(end)

    def rows_within(self, start: datetime, end: datetime) -> float:
        """Estimate the number of requested rows in [start, end): evenly spaced, and half of them if tags are mixed."""
        if self.first is None or self.last is None:
            return self.rows
        inside = min(self.last, micros(end)) - max(self.first, micros(start))
        return self.rows * inside / (self.last - self.first) * (0.5 if self.tag is None else 1.0)


def files_of(table: LakeTable) -> pl.DataFrame:
    """Return all files of the table of samples or of that of waveforms.

    Returns:
        Columns `day`, `size_bytes`, `logged_as` and the fields of `FileOrGroup` without `group`; `rows` is called
        `num_records`. `slowest` is the lowest sample rate of stretches in Hz.
    """
    files = table.listing()
    if files.is_empty():
        return pl.DataFrame(schema=_EMPTY)
    one_tag = (pl.col("min.tag") == pl.col("max.tag")) & (pl.col("min.tag").str.len_bytes() < _PREFIX)
    last = "max.last" if "max.last" in files.columns else "max.timestamp"
    texts = pl.col("num_records") - pl.col("null_count.text") if "null_count.text" in files.columns else pl.lit(0)
    slowest = pl.col("min.sample_rate") if "min.sample_rate" in files.columns else pl.lit(None, pl.Float64)
    return files.select(
        pl.col("partition.day").cast(pl.Date).alias("day"),
        "size_bytes",
        "logged_as",
        "path",
        "num_records",
        pl.col("min.timestamp").to_physical().alias("first"),
        (pl.col(last).to_physical() + _SHORTENED).alias("last"),
        pl.col("min.tag").str.slice(0, _PREFIX).alias("lowest"),
        pl.col("max.tag").str.slice(0, _PREFIX).alias("highest"),
        pl.when(one_tag).then("min.tag").alias("tag"),
        _same(files, "quality", as_="quality"),
        texts.alias("texts"),
        slowest.alias("slowest"),
        # Parsers of JSON may round other numbers.
        pl.when(slowest == slowest.floor()).then(_same(files, "sample_rate", as_="rate")).alias("rate"),
        _same(files, "count", as_="size"),
    )


def _same(files: pl.DataFrame, column: str, *, as_: str) -> pl.Expr:
    """Return an expression for the one value of a column in each file; null where there are several or none."""
    least, most = f"min.{column}", f"max.{column}"
    if least not in files.columns:
        return pl.lit(None, _EMPTY[as_]).alias(as_)
    return pl.when(pl.col(least) == pl.col(most)).then(least).alias(as_)


def prune(files: pl.DataFrame, tags: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """Return the files that may hold samples of `tags` in [start, end): `may_hold` for thousands of files at once."""
    may = (
        (pl.col("first") < micros(end))
        & (pl.col("last") >= micros(start))
        & (pl.col("lowest") <= max(tags, default="")[:_PREFIX])
        & (pl.col("highest") >= min(tags, default="")[:_PREFIX])
    )
    return files.filter(may.fill_null(value=True))


def parts_of(files: pl.DataFrame, start: datetime, end: datetime, group_rows: int) -> Iterator[FileOrGroup]:
    """Yield the files; instead of a large file that extends beyond [start, end) or mixes tags, its row groups.

    Args:
        files: from `files_of`.
        start: first instant of the range.
        end: first instant after the range.
        group_rows: largest number of rows in a row group.
    """
    for file in whole_files(files):
        whole = file.tag is not None and file.rows <= _WHOLE * group_rows and file.lies_within(start, end)
        yield from [file] if whole or file.rows <= group_rows else groups_of(file.path)


def whole_files(files: pl.DataFrame) -> list[FileOrGroup]:
    """Return files, from `files_of`, as units of reading."""
    return [FileOrGroup(*row) for row in files.drop("day", "size_bytes", "logged_as", "slowest").iter_rows()]


def groups_of(path: str) -> Iterator[FileOrGroup]:
    """Yield the row groups of a file. Instants remain integers as stored: converting them to datetimes is slow."""
    footer = pq.read_metadata(path)
    place = {name: number for number, name in enumerate(footer.schema.names) if name in _PRUNED}
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        known = {name: group.column(at).statistics for name, at in place.items()}
        lowest, highest = _span(known["tag"], "min", "max")
        first, last = _span(known["timestamp"], "min_raw", "max_raw")
        best, worst = _span(known["quality"], "min_raw", "max_raw")
        yield FileOrGroup(
            path,
            group.num_rows,
            first,
            None if last is None else last + _SHORTENED,
            lowest and lowest[:_PREFIX],
            highest and highest[:_PREFIX],
            lowest if lowest == highest and len((lowest or "").encode()) < _PREFIX else None,
            best if best == worst else None,
            _texts(known, group.num_rows),
            group=number,
        )


def _texts(known: Mapping[str, pq.Statistics | None], rows: int) -> int | None:
    text = known.get("text")
    return rows - text.null_count if text else None if "text" in known else 0


def _span(statistics: pq.Statistics | None, least: str, most: str) -> tuple[Any, Any]:
    there = statistics is not None and statistics.has_min_max
    return (getattr(statistics, least), getattr(statistics, most)) if there else (None, None)
