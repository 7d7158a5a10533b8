"""Parquet files of a Delta table, flushed to disk (fsync) before anything refers to them.

delta-rs writes a file and the commit that names it in one call and flushes neither. A power cut could then leave a
commit without its data, and an unreadable table. So the lake writes its files itself and commits them afterwards
(`historian.stores.lake.table`). See docs/decisions/0021.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import polars as pl
import polars.selectors as cs
import pyarrow.parquet as pq

from historian.stores.lake.layout import FileLayout

Action = dict[str, Any]
"""One line of a Delta commit, such as `{"add": {"path": …}}`."""
_UNBOUNDED: Final = 2**62
_COMPARABLE: Final = cs.exclude(cs.binary())
"""Columns with statistics."""
_EVENLY_SPACED: Final = ("timestamp", "last")


def write_files(
    root: Path, frames: Iterable[pl.DataFrame], layout: FileLayout, *, day: str | None = None, target: int = _UNBOUNDED
) -> list[Action]:
    """Write rows to new Parquet files, and flush them and their directory to disk.

    Args:
        root: directory of the Delta table.
        frames: rows in the order of storage, without the partition column.
        layout: row group size.
        day: value of the partition column `day`; None for a table without partitions.
        target: size in bytes above which a new file is started.

    Returns:
        The `add` actions for a commit.
    """
    folder = root / f"day={day}" if day else root
    folder.mkdir(exist_ok=True)
    groups = _regrouped(frames, layout.group_rows)
    actions = []
    for first in groups:
        path = folder / f"part-{uuid4()}.parquet"
        bounds = _write_file(path, first, groups, layout.group_rows, target)
        state = path.stat()
        add = {
            "path": quote(str(path.relative_to(root)), safe="/="),
            "partitionValues": {"day": day} if day else {},
            "size": state.st_size,
            "modificationTime": state.st_mtime_ns // 10**6,
            "dataChange": True,
            "stats": _statistics(bounds),
        }
        actions.append({"add": add})
    sync(folder)
    sync(root)
    return actions


def sync(path: Path) -> None:
    """Flush a file, or the entries of a directory, to disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_file(
    path: Path, first: pl.DataFrame, rest: Iterator[pl.DataFrame], group_rows: int, target: int
) -> list[pl.DataFrame]:
    """Write one file with `first` and as much of `rest` as fits; return the bounds of each row group."""
    bounds = [_bounds(first)]
    table = first.to_arrow(compat_level=pl.CompatLevel.oldest())
    # Timestamps are close to evenly spaced, which suits deltas. See docs/decisions/0011; for stretches 0024.
    deltas = {name: "DELTA_BINARY_PACKED" for name in first.columns if name in _EVENLY_SPACED}
    words = [name for name, dtype in first.schema.items() if name not in deltas and dtype != pl.Binary]
    options: dict[str, Any] = {"compression": "lz4", "use_dictionary": words, "column_encoding": deltas or None}
    with path.open("xb") as file, pq.ParquetWriter(file, table.schema, store_schema=False, **options) as writer:
        writer.write_table(table, row_group_size=group_rows)
        while file.tell() < target and (group := next(rest, None)) is not None:
            bounds.append(_bounds(group))
            writer.write_table(group.to_arrow(compat_level=pl.CompatLevel.oldest()), row_group_size=group_rows)
    sync(path)
    return bounds


def _regrouped(frames: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Yield the same rows in frames of `rows` each; the last may have fewer."""
    waiting: list[pl.DataFrame] = []
    for frame in frames:
        waiting.append(frame)
        if sum(map(len, waiting)) >= rows:
            *whole, last = pl.concat(waiting).iter_slices(rows)
            yield from whole if last.height < rows else [*whole, last]
            waiting = [last] if last.height < rows else []
    if any(map(len, waiting)):
        yield pl.concat(waiting)


def _bounds(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        pl.len().alias("rows"),
        _COMPARABLE.min().name.prefix("min."),
        _COMPARABLE.max().name.prefix("max."),
        _COMPARABLE.null_count().name.prefix("nulls."),
    )


def _statistics(bounds: list[pl.DataFrame]) -> str:
    """Return a file's statistics as JSON for a Delta commit. Instants are exact, not truncated to milliseconds."""
    every = bounds[0] if len(bounds) == 1 else _bounds_of_all(pl.concat(bounds))
    (whole,) = every.to_dicts()
    named = {kind: _values(whole, f"{kind}.") for kind in ("min", "max", "nulls")}
    return json.dumps(
        {
            "numRecords": whole["rows"],
            "minValues": named["min"],
            "maxValues": named["max"],
            "nullCount": named["nulls"],
        }
    )


def _bounds_of_all(bounds: pl.DataFrame) -> pl.DataFrame:
    return bounds.select(
        pl.col("rows").sum(), pl.col("^min\\..*$").min(), pl.col("^max\\..*$").max(), pl.col("^nulls\\..*$").sum()
    )


def _values(row: dict[str, Any], prefix: str) -> dict[str, Any]:
    found = {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}
    return {name: _plain(value) for name, value in found.items() if value is not None}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value
