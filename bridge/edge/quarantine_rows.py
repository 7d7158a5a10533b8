"""Rejected rows as the quarantine table stores them: one row per sample, identified by a digest of its contents."""

from __future__ import annotations

import sqlite3
from typing import Final

import polars as pl

from historian.samples import SCHEMA

REJECTED: Final = pl.Schema({**SCHEMA, "reason": pl.String(), "detail": pl.String()})
"""Columns of a rejected row: those of a sample, the reason, and details of this row.

There are few different values of `reason`, so that rows can be counted and selected by it; row numbers, cell contents
and messages go into `detail`.
"""

_INSERT: Final = (
    "INSERT OR IGNORE INTO quarantine "
    "(tag, timestamp, value, text, quality, reason, detail, digest, source, origin, recorded_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_COUNT: Final = (
    "INSERT INTO quarantine_totals VALUES (?, ?, ?, 0) "
    "ON CONFLICT (source, reason) DO UPDATE SET kept = kept + excluded.kept"
)


def rejected(rows: pl.DataFrame, reason: str, *, detail: str | None = None) -> pl.DataFrame:
    """Return rows with the columns of a sample as `REJECTED`, all with the same reason and detail."""
    return rows.select(*SCHEMA.names(), reason=pl.lit(reason), detail=pl.lit(detail)).cast(REJECTED)


def insert_rows(
    connection: sqlite3.Connection, rows: pl.DataFrame, *, source: str, origin: str, recorded_at: int
) -> None:
    """Insert rows (columns of `REJECTED`) that are not there yet, and count them by reason.

    The cost depends on the number of rows inserted, not on the number already stored.

    Args:
        connection: with an open transaction.
        rows: rejected rows.
        source: name of the source or archive they came from.
        origin: the file, table or request within it.
        recorded_at: time of the rejection, microseconds since the epoch.
    """
    described = rows.with_columns(
        pl.col("timestamp").to_physical(), digest=_digest(source), source=pl.lit(source), origin=pl.lit(origin)
    )
    for (reason,), group in described.group_by("reason", maintain_order=True):
        before = connection.total_changes
        connection.executemany(_INSERT, group.with_columns(at=pl.lit(recorded_at)).iter_rows())
        if kept := connection.total_changes - before:
            connection.execute(_COUNT, (source, reason, kept))


def _digest(source: str) -> pl.Expr:
    """Return a 64-bit digest of source and contents; place within the source and time of rejection do not count."""
    contents = pl.struct(*SCHEMA.names(), "reason", source=pl.lit(source))
    return contents.hash(seed=1).reinterpret(signed=True).alias("digest")
