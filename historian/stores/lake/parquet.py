"""Parquet files of a Delta table, flushed to disk (fsync) before anything refers to them.

delta-rs writes a file and the commit that names it in one call and flushes neither. A power cut could then leave a
commit without its data, and an unreadable table. So the lake writes its files itself and commits them afterwards
(`historian.stores.lake.table`). See docs/decisions/0021.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote
from uuid import uuid4

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from historian.stores.lake.layout import FileLayout

Action = dict[str, Any]
"""One line of a Delta commit, such as `{"add": {"path": …}}`."""
_UNBOUNDED: Final = 2**62
_EVENLY_SPACED: Final = ("timestamp", "last")
_VARIED: Final = (*_EVENLY_SPACED, "low", "high", "sum_squares")
"""Columns in which few values repeat, for which a dictionary would be one more thing to read."""
_TRIED: Final = 8
"""Number of values of a file that are compressed to find out whether compression is worth its time."""
_WORTH: Final = 0.9
"""Largest size, as a part of the size before, to which compression must bring them."""


class _Bounds(NamedTuple):
    """What is known of the rows of a row group; of columns that can be compared."""

    rows: int
    least: dict[str, Any]
    most: dict[str, Any]
    nulls: dict[str, int]


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
    for each in dict.fromkeys((folder, root)):
        sync(each)
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
) -> list[_Bounds]:
    """Write one file with `first` and as much of `rest` as fits; return the bounds of each row group."""
    bounds = [_bounds(first)]
    table = first.to_arrow(compat_level=pl.CompatLevel.oldest())
    # Timestamps are close to evenly spaced, which suits deltas. See docs/decisions/0011; for stretches 0024.
    deltas = {name: "DELTA_BINARY_PACKED" for name in first.columns if name in _EVENLY_SPACED}
    words = [name for name, dtype in first.schema.items() if name not in _VARIED and dtype != pl.Binary]
    options: dict[str, Any] = {"use_dictionary": words, "column_encoding": deltas or None}
    with (
        path.open("xb") as file,
        pq.ParquetWriter(file, table.schema, compression=_compression(first), store_schema=False, **options) as writer,
    ):
        writer.write_table(table, row_group_size=group_rows)
        while file.tell() < target and (group := next(rest, None)) is not None:
            bounds.append(_bounds(group))
            writer.write_table(group.to_arrow(compat_level=pl.CompatLevel.oldest()), row_group_size=group_rows)
    sync(path)
    return bounds


def _compression(rows: pl.DataFrame) -> dict[str, str]:
    """Return the compression of each column: none for bytes that it hardly makes smaller, such as noise."""
    found = dict.fromkeys(rows.columns, "lz4")
    for name in [name for name, dtype in rows.schema.items() if dtype == pl.Binary]:
        some = [rows.item(row, name) for row in range(0, rows.height, -(-rows.height // _TRIED))]
        packed = sum(pa.compress(value, codec="lz4_raw").size for value in some)
        if packed > _WORTH * sum(map(len, some)):
            found[name] = "none"
    return found


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


def _bounds(rows: pl.DataFrame) -> _Bounds:
    columns = [column for column in rows.iter_columns() if column.dtype != pl.Binary]
    return _Bounds(
        rows.height,
        {column.name: column.min() for column in columns},
        {column.name: column.max() for column in columns},
        {column.name: column.null_count() for column in columns},
    )


def _statistics(bounds: list[_Bounds]) -> str:
    """Return a file's statistics as JSON for a Delta commit. Instants are exact, not truncated to milliseconds."""
    return json.dumps(
        {
            "numRecords": sum(each.rows for each in bounds),
            "minValues": _of_each(min, [each.least for each in bounds]),
            "maxValues": _of_each(max, [each.most for each in bounds]),
            "nullCount": _of_each(sum, [each.nulls for each in bounds]),
        }
    )


def _of_each(combined: Callable[[list[Any]], Any], groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Combine what row groups have in each column; columns of nulls are left out."""
    known = {name: [each[name] for each in groups if each[name] is not None] for name in groups[0]}
    return {name: _plain(combined(values)) for name, values in known.items() if values}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value
