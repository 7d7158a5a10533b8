"""Rejected rows, and how the quarantine table holds them: one row each, known by a digest of its contents."""

from __future__ import annotations

import sqlite3
from typing import Final

import polars as pl

from historian.samples import SCHEMA

REJECTED: Final = pl.Schema({**SCHEMA, "reason": pl.String(), "detail": pl.String()})
"""A sample, or what should have been one, with the reason it was rejected and what is particular to this row.

`reason` is one of few, so that rows can be counted and chosen by it; row numbers, cells and messages go into `detail`.
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
    """Rows with the columns of a sample -> the same as `REJECTED`, with one reason for all of them."""
    return rows.select(*SCHEMA.names(), reason=pl.lit(reason), detail=pl.lit(detail)).cast(REJECTED)


def insert_rows(
    connection: sqlite3.Connection, rows: pl.DataFrame, *, source: str, origin: str, recorded_at: int
) -> None:
    """Insert rows (columns of `REJECTED`) that are not there yet, and count them by reason.

    The work depends on how many rows are inserted, not on how many there are.

    Args:
        connection: with an open transaction.
        rows: what was rejected.
        source: the source or archive it came from.
        origin: the file, table or request within it.
        recorded_at: microseconds since the epoch.
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
    """64 bits over all that makes a row what it is: where within a source it stood, and when, does not."""
    contents = pl.struct(*SCHEMA.names(), "reason", source=pl.lit(source))
    return contents.hash(seed=1).reinterpret(signed=True).alias("digest")
