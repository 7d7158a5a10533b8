"""The quarantine: samples that must not enter the store, each with the reason, kept until a person has looked at them.

Nothing is lost and nothing coerced. Rows that a repeated backfill reads again are not kept twice.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl

from bridge.edge.database import Edge, pack, unpack
from historian.errors import InvalidInput
from historian.samples import SCHEMA
from historian.times import micros

REASONED: Final = pl.Schema({**SCHEMA, "reason": pl.String()})
"""A sample, or what should have been one, and why it was refused."""

KEPT: Final = pl.Schema({**REASONED, "source": pl.String(), "origin": pl.String(), "recorded_at": SCHEMA["timestamp"]})
"""The same, with the source's name, the place within it, and when it was refused."""


def reasoned(rows: pl.DataFrame, reason: str) -> pl.DataFrame:
    """Rows with the columns of a sample -> the same with one reason for all of them."""
    return rows.select(*SCHEMA.names(), reason=pl.lit(reason)).cast(REASONED)


class Quarantine:
    """The quarantine at rest, in the edge database."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def add(self, rows: pl.DataFrame, *, source: str, origin: str, now: datetime) -> None:
        """Keeps rows with the columns of `REASONED`, except those kept already for the same source and reason."""
        with self._edge.transaction():
            for (reason,), group in rows.group_by("reason", maintain_order=True):
                self._keep(group.drop("reason").cast(SCHEMA), (source, origin, micros(now), str(reason)))

    def counts(self) -> pl.DataFrame:
        """How many rows there are, and of which time: source, reason, rows, first, last; the largest count first."""
        query = "SELECT source, reason, sum(rows), min(first), max(last) FROM quarantine GROUP BY 1, 2 ORDER BY 3 DESC"
        times = {"first": pl.Int64(), "last": pl.Int64()}
        schema = {"source": pl.String(), "reason": pl.String(), "rows": pl.Int64(), **times}
        counted = pl.DataFrame(self._edge.rows(query), schema=schema, orient="row")
        return counted.with_columns(pl.col(*times).cast(SCHEMA["timestamp"]))

    def rows(self) -> pl.DataFrame:
        """Everything in quarantine, oldest first: columns of `KEPT`."""
        kept = self._edge.rows("SELECT payload, reason, source, origin, recorded_at FROM quarantine ORDER BY id")
        frames = [
            unpack(payload).with_columns(
                reason=pl.lit(why), source=pl.lit(source), origin=pl.lit(place), recorded_at=at
            )
            for payload, why, source, place, at in kept
        ]
        return pl.concat([frame.cast(KEPT) for frame in frames]) if frames else KEPT.to_frame()

    def export(self, path: Path) -> int:
        """Writes everything in quarantine to a Parquet or CSV file, by its suffix; returns the number of rows.

        Raises:
            InvalidInput: another suffix, or a path that cannot be written.
        """
        rows = self.rows()
        try:
            if path.suffix.lower() == ".parquet":
                rows.write_parquet(path)
            elif path.suffix.lower() == ".csv":
                rows.write_csv(path)
            else:
                raise InvalidInput(f"cannot export to {path}; give a name that ends in .parquet or .csv")
        except OSError as error:
            raise InvalidInput(f"cannot write {path}: {error}") from None
        return rows.height

    def _keep(self, rows: pl.DataFrame, key: tuple[str, str, int, str]) -> None:
        source, _, _, reason = key
        # Rows without a timestamp count as of the epoch, so that they too meet their repeats.
        times = pl.col("timestamp").to_physical().fill_null(0)
        first, last = rows.select(first=times.min(), last=times.max()).row(0)
        known = self._edge.rows(
            "SELECT payload FROM quarantine WHERE source = ? AND reason = ? AND first <= ? AND last >= ?",
            *(source, reason, last, first),
        )
        new = rows.unique(maintain_order=True)
        for (payload,) in known:
            new = new.join(unpack(payload), on=SCHEMA.names(), how="anti", nulls_equal=True, maintain_order="left")
        if new.is_empty():
            return
        with self._edge.transaction() as database:
            database.execute(
                "INSERT INTO quarantine (source, origin, recorded_at, reason, first, last, rows, payload) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*key, first, last, new.height, pack(new)),
            )
