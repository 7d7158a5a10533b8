"""Event files: what happened to an asset (a failure, a repair, an alarm), when, and when it became known.

An event file is CSV or Parquet. Its columns are `asset`, `kind`, `happened_at` and, optionally:

- `known_at`: when the event became known (a work order may be entered days later); `happened_at` where it is empty;
- `end`: the asset was down from `happened_at` until then.

Other columns are ignored.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import polars as pl

from features.tables.labels import ASSET
from features.tables.written_tables import Columns, read_checked

_INSTANT: Final = pl.Datetime("us", "UTC")
EVENTS: Final = pl.Schema(
    {"asset": pl.String(), "kind": pl.String(), "happened_at": _INSTANT, "known_at": _INSTANT, "end": _INSTANT}
)
_COLUMNS: Final = Columns(
    "event",
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
        Columns of `EVENTS`, one row per event in the file's order; a missing `known_at` or `end` is `happened_at`.

    Raises:
        InvalidInput: with every problem found.
    """
    events = read_checked(path, _COLUMNS, assets)
    happened = pl.col("happened_at")
    known, end = (pl.col(name).fill_null(happened) for name in ("known_at", "end"))
    return events.select(ASSET, "kind", happened, known, end)
