"""Event files: what happened to an asset (a failure, a repair, an alarm), when, and when that became known.

Columns `asset`, `kind`, `happened_at`, and if need be `known_at` (when it became known: a work order is entered days
later; `happened_at` where it is empty) and `end` (the asset is down from `happened_at` until then). CSV or Parquet;
other columns are left aside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import polars as pl

from features.tables.labels import ASSET
from features.tables.written_tables import (
    WrittenTable,
    absent_columns,
    asset_problems,
    instants,
    name_complaints,
    read_written,
    time_complaints,
    time_problems,
)
from historian.errors import Problem

_INSTANT: Final = pl.Datetime("us", "UTC")
EVENTS: Final = pl.Schema(
    {"asset": pl.String(), "kind": pl.String(), "happened_at": _INSTANT, "known_at": _INSTANT, "end": _INSTANT}
)
_REQUIRED: Final = ("asset", "kind", "happened_at")
_TIMES: Final = ("happened_at", "known_at", "end")


def read_events(path: Path, assets: Collection[str]) -> pl.DataFrame:
    """Reads and checks an event file.

    Returns:
        Columns of `EVENTS`, in the file's order; `end` is `happened_at` where the file has none.

    Raises:
        InvalidInput: with every problem found.
    """
    return checked_events(read_written(path, "event"), assets)


def checked_events(table: WrittenTable, assets: Collection[str]) -> pl.DataFrame:
    """Events as a person wrote them -> columns of `EVENTS`. Raises as `read_events` does."""
    table.refuse(*_column_problems(table.frame))
    empty = [pl.lit(None, _INSTANT).alias(name) for name in _TIMES if name not in table.frame.columns]
    whole = WrittenTable(table.frame.with_columns(*empty), table.file, table.first_row)
    times = {name: instants(whole.frame[name]) for name in _TIMES}
    events = whole.frame.with_columns(*times.values())
    table.refuse_rows([*_row_problems(whole, times, events, assets)])
    happened = pl.col("happened_at")
    return events.select(
        ASSET, "kind", happened, pl.col("known_at").fill_null(happened), pl.col("end").fill_null(happened)
    )


def _column_problems(frame: pl.DataFrame) -> Iterator[str]:
    absent = absent_columns(frame, _REQUIRED)
    yield from absent
    if absent:
        return
    if frame.is_empty():
        yield "has no events"
    yield from name_complaints(frame, ASSET)
    if frame.schema["kind"] != pl.String():
        yield f"column kind holds {frame.schema['kind']}, not words such as failure, repair, alarm"
    for name in _TIMES:
        yield from time_complaints(frame, name) if name in frame.columns else ()


def _row_problems(
    table: WrittenTable, times: dict[str, pl.Series], events: pl.DataFrame, assets: Collection[str]
) -> Iterator[Problem]:
    yield from asset_problems(table, assets, column=ASSET)
    for name, column in times.items():
        yield from time_problems(table, column, optional=name != "happened_at")
    for row in events["kind"].is_null().arg_true():
        yield table.problem(row, "kind is empty")
    for row in (events["end"] < events["happened_at"]).arg_true():
        yield table.problem(row, "end is before happened_at")
