"""Label files: which asset, at what time, and whatever else a person knows about it (the target, a work order).

Columns `asset` and `event_timestamp`, CSV or Parquet; every other column is kept as it is, those of a CSV as text. A
label file is checked completely, and every problem is reported at once, with file and row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import polars as pl

from features.written_tables import (
    WrittenTable,
    absent_columns,
    asset_problems,
    instants,
    name_complaints,
    read_written,
    time_complaints,
    time_problems,
)
from historian.errors import InvalidInput, near_misses

ASSET: Final = "asset"
EVENT_TIMESTAMP: Final = "event_timestamp"
EPISODE: Final = "episode"
"""A run of an asset between two overhauls, where a label file or a rule tells it."""


def read_labels(path: Path, assets: Collection[str]) -> pl.DataFrame:
    """Reads and checks a label file.

    Returns:
        `asset` String, `event_timestamp` Datetime("us", "UTC"), and the file's other columns, rows in the file's order.

    Raises:
        InvalidInput: with every problem found.
    """
    return _checked(read_written(path, "label"), assets)


def checked_labels(frame: pl.DataFrame, assets: Collection[str], *, file: str) -> pl.DataFrame:
    """Labels as a person wrote them -> labels that can be joined. See `read_labels`.

    Raises:
        InvalidInput: a column is missing, an asset unknown, a time absent, unreadable or without a zone.
    """
    return _checked(WrittenTable(frame, file), assets)


def _checked(table: WrittenTable, assets: Collection[str]) -> pl.DataFrame:
    table.refuse(*_column_problems(table.frame))
    times = instants(table.frame[EVENT_TIMESTAMP])
    table.refuse_rows([*asset_problems(table, assets, column=ASSET), *time_problems(table, times)])
    return table.frame.with_columns(times)


def _column_problems(frame: pl.DataFrame) -> Iterator[str]:
    absent = absent_columns(frame, (ASSET, EVENT_TIMESTAMP))
    yield from absent
    if absent:
        return
    if frame.is_empty():
        yield "has no labels"
    yield from name_complaints(frame, ASSET)
    yield from time_complaints(frame, EVENT_TIMESTAMP)


def with_target(labels: pl.DataFrame, target: str) -> pl.DataFrame:
    """The labels with the target as numbers, where it is text of which every cell is a number.

    Raises:
        InvalidInput: there is no such column besides asset and event_timestamp.
    """
    others = [name for name in labels.columns if name not in (ASSET, EVENT_TIMESTAMP)]
    if target not in others:
        raise InvalidInput(f"the labels have no column {target!r} to be the target{near_misses(target, others)}")
    if labels.schema[target] != pl.String():
        return labels
    for dtype in (pl.Int64(), pl.Float64()):
        numbers = labels[target].cast(dtype, strict=False)
        if numbers.null_count() == labels[target].null_count():
            return labels.with_columns(numbers)
    return labels
