"""Event files: what happened to an asset (a failure, a repair, an alarm), when, and when that became known.

Columns `asset`, `kind`, `happened_at`, and optionally `known_at` (when it became known: a work order is entered days
later; `happened_at` where it is empty) and `end` (the asset is down from `happened_at` until then). CSV or Parquet;
other columns are ignored.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import polars as pl

from features.tables.labels import ASSET
from features.tables.written_tables import Columns, WrittenTable, read_written

_INSTANT: Final = pl.Datetime("us", "UTC")
EVENTS: Final = pl.Schema(
    {"asset": pl.String(), "kind": pl.String(), "happened_at": _INSTANT, "known_at": _INSTANT, "end": _INSTANT}
)
_COLUMNS: Final = Columns(
    "events",
    ASSET,
    times=("happened_at",),
    optional_times=("known_at", "end"),
    words={"kind": "words such as failure, repair, alarm"},
    mistakes={"end is before happened_at": pl.col("end") < pl.col("happened_at")},
)


def read_events(path: Path, assets: Collection[str]) -> pl.DataFrame:
    """Read and check an event file.

    Args:
        path: CSV, or Parquet with any other suffix.
        assets: The names of the plant's assets.

    Returns:
        Columns of `EVENTS`, in the file's order; `end` is `happened_at` where the file has none.

    Raises:
        InvalidInput: with every problem found.
    """
    return checked_events(read_written(path, "event"), assets)


def checked_events(table: WrittenTable, assets: Collection[str]) -> pl.DataFrame:
    """Check events that were read already; arguments, result and errors are those of `read_events`."""
    happened = pl.col("happened_at")
    known, end = (pl.col(name).fill_null(happened) for name in ("known_at", "end"))
    return table.checked(_COLUMNS, assets).select(ASSET, "kind", happened, known, end)
