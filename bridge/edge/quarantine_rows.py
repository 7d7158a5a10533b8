"""Rejected samples and stretches as the quarantine table stores them, identified by a digest of their contents."""

from __future__ import annotations

import sqlite3
from typing import Final

import polars as pl

from historian.samples import SCHEMA
from historian.waveforms.batch import WAVEFORM_SCHEMA

STRETCH: Final = pl.Schema(
    {name: WAVEFORM_SCHEMA[name] for name in ("sample_rate", "count", "encoding", "scale", "divisor", "values")}
)
"""Columns of a rejected stretch that a sample does not have; statistics are computed again when they are needed."""
REJECTED: Final = pl.Schema({**SCHEMA, **STRETCH, "reason": pl.String(), "detail": pl.String()})
"""Columns of a rejected row: those of a sample or of a stretch, the others null; the reason, and details of this row.

There are few different values of `reason`, so that rows can be counted and selected by it; row numbers, cell contents
and messages go into `detail`.
"""

_COUNT: Final = (
    "INSERT INTO quarantine_totals (source, reason, kept, discarded) VALUES (?, ?, ?, 0) "
    "ON CONFLICT (source, reason) DO UPDATE SET kept = kept + excluded.kept"
)
_COUNT_BYTES: Final = (
    "UPDATE quarantine_totals SET bytes = bytes + "
    '(SELECT coalesce(sum(length("values")), 0) FROM quarantine WHERE id > ?) WHERE source = ? AND reason = ?'
)


def rejected(rows: pl.DataFrame, reason: str, *, detail: str | None = None) -> pl.DataFrame:
    """Return samples or stretches as `REJECTED`, all with the same reason and detail."""
    return as_rejected(rows.with_columns(reason=pl.lit(reason), detail=pl.lit(detail, pl.String)))


def as_rejected(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with some of the columns of `REJECTED` with all of them; the others are null."""
    known = pl.Schema({name: dtype for name, dtype in REJECTED.items() if name in rows.columns})
    return pl.concat([REJECTED.to_frame(), rows.select(known.names()).cast(known)], how="diagonal")


def insert_rows(
    connection: sqlite3.Connection, rows: pl.DataFrame, *, source: str, origin: str, recorded_at: int
) -> None:
    """Insert rows that are not there yet, and count them by reason.

    The cost depends on the number of rows inserted, not on the number already stored.

    Args:
        connection: with an open transaction.
        rows: rejected rows, columns of `REJECTED`; without those of `STRETCH` into a table that has none yet.
        source: name of the source or archive they came from.
        origin: the file, table or request within it.
        recorded_at: time of the rejection, microseconds since the epoch.
    """
    described = rows.with_columns(
        pl.col("timestamp").to_physical(),
        digest=_digest(rows.columns, source),
        source=pl.lit(source),
        origin=pl.lit(origin),
        recorded_at=pl.lit(recorded_at),
    )
    columns = ", ".join(f'"{name}"' for name in described.columns)
    places = ", ".join("?" * described.width)
    insert = f"INSERT OR IGNORE INTO quarantine ({columns}) VALUES ({places})"
    for (reason,), group in described.group_by("reason", maintain_order=True):
        [(newest,)] = connection.execute("SELECT coalesce(max(id), 0) FROM quarantine").fetchall()
        before = connection.total_changes
        connection.executemany(insert, group.iter_rows())
        if kept := connection.total_changes - before:
            connection.execute(_COUNT, (source, reason, kept))
            if "values" in rows.columns:
                connection.execute(_COUNT_BYTES, (newest, source, reason))


def _digest(columns: list[str], source: str) -> pl.Expr:
    """Return a 64-bit digest of source and contents; place within the source and time of rejection do not count."""
    sample = (*SCHEMA.names(), "reason")
    digest = pl.struct(*sample, source=pl.lit(source)).hash(seed=1)
    if "values" in columns:
        stretch = pl.struct(*sample, *STRETCH.names(), source=pl.lit(source)).hash(seed=1)
        digest = pl.when(pl.col("values").is_null()).then(digest).otherwise(stretch)
    return digest.reinterpret(signed=True).alias("digest")
