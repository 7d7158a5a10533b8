"""The layout of the lake's files: the columns of its tables, and the sizes of files and row groups."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from historian.samples import SCHEMA
from historian.waveforms.batch import WAVEFORM_SCHEMA
from historian.waveforms.timing import last_us

WRITTEN: Final = "ingested_at"
"""Name of the column with the time of writing; also the id of the ledger's application transaction."""
# Delta has no unsigned integers; `ingested_at` and `day` are columns of the lake only.
STORED: Final = pl.Schema({**SCHEMA, "quality": pl.Int64(), WRITTEN: pl.Datetime("us", "UTC"), "day": pl.Date()})
STORED_WAVEFORMS: Final = pl.Schema(
    {
        **WAVEFORM_SCHEMA,
        "count": pl.Int64(),
        "not_finite": pl.Int64(),
        "quality": pl.Int64(),
        "last": pl.Datetime("us", "UTC"),  # time of the last sample, by which files and row groups are pruned
        WRITTEN: pl.Datetime("us", "UTC"),
        "day": pl.Date(),  # of the first sample
    }
)
NEWEST: Final = pl.Schema(
    {**SCHEMA, "quality": pl.Int64(), WRITTEN: pl.Datetime("us", "UTC"), "up_to": pl.Datetime("us", "UTC")}
)


@dataclass(frozen=True)
class FileLayout:
    """Sizes of files and row groups. Processes that share a lake may use different ones; every reader accepts all."""

    group_rows: int = 2**18
    """Largest number of rows in a row group. A group that lies partly in a range is decoded as a whole."""
    group_stretches: int = 256
    """The same for stretches, which have 32 KiB of values at most."""
    at_once: int = 16 * 2**20
    """Size in bytes up to which the files of a range are read once with all columns: what was written lately."""
    merge_every: int = 200
    """Number of writes after which small files are merged and the table of newest samples is updated."""
    small: int = 2**20
    """Size in bytes below which files are merged: those of live streaming. Files of a backfill are larger."""
    crowded: int = 1000
    """Number of files in one day above which the day is rewritten, whatever their sizes."""
    ledger_rows: int = 100_000
    """Number of rows above twice the size after the last compaction at which the ledger is compacted."""


def stamped(batch: pl.DataFrame, ingested_at: datetime) -> pl.DataFrame:
    """Return rows with the time of their writing."""
    return batch.with_columns(pl.lit(ingested_at, STORED[WRITTEN]).alias(WRITTEN))


def stored(batch: pl.DataFrame) -> pl.DataFrame:
    """Return samples with `ingested_at` as rows of the table `samples`, columns of `STORED`."""
    day = pl.col("timestamp").dt.date()
    return batch.with_columns(pl.col("quality").cast(pl.Int64), day=day).select(STORED.names())


def stored_waveforms(batch: pl.DataFrame) -> pl.DataFrame:
    """Return stretches with `ingested_at` as rows of the table `waveforms`, columns of `STORED_WAVEFORMS`."""
    last, day = pl.Series(last_us(batch)), pl.col("timestamp").dt.date()
    whole = pl.col("count", "not_finite", "quality").cast(pl.Int64)
    return batch.with_columns(whole, last=last.cast(STORED_WAVEFORMS["last"]), day=day).select(STORED_WAVEFORMS.names())


def with_batch_types(rows: pl.DataFrame) -> pl.DataFrame:
    """Return stored stretches, or some columns of them, with the types that a batch has."""
    return rows.cast({name: dtype for name, dtype in WAVEFORM_SCHEMA.items() if name in rows.columns})
