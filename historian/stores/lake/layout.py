"""How the lake's files are laid out: the columns of its tables, and the sizes of files and row groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from historian.samples import SCHEMA

WRITTEN: Final = "ingested_at"
"""The column that says when a row was written. Also the id of the ledger's application transaction."""
# Delta has no unsigned integers; `ingested_at` and `day` are columns of the lake only.
STORED: Final = pl.Schema({**SCHEMA, "quality": pl.Int64(), WRITTEN: pl.Datetime("us", "UTC"), "day": pl.Date()})
NEWEST: Final = pl.Schema(
    {**SCHEMA, "quality": pl.Int64(), WRITTEN: pl.Datetime("us", "UTC"), "up_to": pl.Datetime("us", "UTC")}
)


@dataclass(frozen=True)
class FileLayout:
    """Sizes of files and row groups. Processes that share a lake may use different ones: all of them can read all."""

    group_rows: int = 2**18
    """Rows of a row group, at most. A group that lies partly in a range is decoded whole."""
    merge_every: int = 200
    """Number of writes after which small files are merged, and the newest samples are noted."""
    small: int = 2**20
    """Bytes. Files smaller than this come from live streaming and are merged; those of a backfill are larger."""
    crowded: int = 1000
    """Number of files in one day from which on the day is rewritten, whatever the files' size."""
    ledger_rows: int = 100_000
    """The ledger is compacted when it has this many rows more than twice what the last compaction left."""


def stored(batch: pl.DataFrame) -> pl.DataFrame:
    """Return samples with `ingested_at` as rows of the table `samples`, columns of `STORED`."""
    day = pl.col("timestamp").dt.date()
    return batch.with_columns(pl.col("quality").cast(pl.Int64), day=day).select(STORED.names())
