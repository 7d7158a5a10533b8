"""Writes feature rows to a file of a Delta table; the library's own writer takes twice as long for few rows."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import polars as pl
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

STATISTICS: Final = ("asset", "event_timestamp", "created_timestamp")
"""The columns with statistics: those of a hundred features would make up most of every commit, and nobody uses them."""

CONFIGURATION: Final = {"delta.dataSkippingStatsColumns": ",".join(STATISTICS)}
"""Of a table: Delta's own writers keep the same statistics."""


def write_file(root: Path, rows: pl.DataFrame) -> AddAction:
    """Write rows to a new file in the table's directory; they belong to the table once the action is committed.

    Args:
        root: directory of the table.
        rows: at least one, with the columns of `STATISTICS`; a column of the table that they lack is null.

    Raises:
        OSError: the file cannot be written.
    """
    path = root / f"part-{uuid4()}.parquet"
    words = [name for name, dtype in rows.schema.items() if dtype == pl.String]
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    pq.write_table(table, path, use_dictionary=words, write_statistics=list(STATISTICS), store_schema=False)
    state = path.stat()
    return AddAction(
        path=path.name,
        size=state.st_size,
        partition_values={},
        modification_time=state.st_mtime_ns // 10**6,
        data_change=True,
        stats=_statistics(rows),
    )


def _statistics(rows: pl.DataFrame) -> str:
    """Return a file's statistics as Delta Lake keeps them."""
    bounds = {name: (rows[name].min(), rows[name].max()) for name in STATISTICS}
    return json.dumps(
        {
            "numRecords": rows.height,
            "minValues": {name: _plain(least) for name, (least, _) in bounds.items()},
            "maxValues": {name: _plain(most) for name, (_, most) in bounds.items()},
            "nullCount": dict.fromkeys(STATISTICS, 0),
        }
    )


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value
