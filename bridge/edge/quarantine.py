"""The quarantine: rows that must not enter the store, each with its reason, kept until a person decides on them.

A row is a sample, or a stretch of a waveform with its values. Nothing is coerced. Rows that a repeated backfill reads
again are kept once. The quarantine is bounded: above `MAX_ROWS` or `MAX_BYTES` per source, the oldest rows of the
source's largest reason are discarded and counted, so that one bad tag can neither fill the disk nor displace rare rows.
Rows older than the retention are discarded as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa

from bridge.edge.database import Edge
from bridge.edge.quarantine_rows import REJECTED, insert_rows
from historian.errors import InvalidInput
from historian.samples import SCHEMA
from historian.times import micros
from historian.waveforms.encoding import decode

MAX_ROWS: Final = 1_000_000
"""Largest number of rows kept per source: three days of one tag that is out of range at 4 Hz."""
MAX_BYTES: Final = 256 << 20
"""Largest number of bytes of waveform values kept per source: 43 minutes of one 25.6 kHz tag in float32."""
TAKEN_BYTES: Final = 32 << 20
"""Bytes of waveform values after which `Quarantine.take` returns what it has."""
RETENTION: Final = timedelta(days=365)

KEPT: Final = pl.Schema({**REJECTED, "source": pl.String(), "origin": pl.String(), "recorded_at": SCHEMA["timestamp"]})
"""Columns of `REJECTED`, the name of the source, the place within it, and the time of rejection."""

_VALUES: Final = 1 + KEPT.names().index("values")
"""Place of the values in a selected row, which begins with its id."""
_SELECTED: Final = """
(?1 IS NULL OR source = ?1) AND (?2 IS NULL OR reason = ?2) AND (?3 IS NULL OR tag = ?3)
AND (?4 IS NULL OR recorded_at < ?4)
"""
_COUNT: Final = (
    'SELECT source, reason, count(*), coalesce(sum(length("values")), 0) FROM quarantine WHERE '
    + _SELECTED
    + " GROUP BY 1, 2"
)
_DELETE: Final = "DELETE FROM quarantine WHERE " + _SELECTED
_SELECT: Final = (
    "SELECT id, " + ", ".join(f'"{name}"' for name in KEPT) + " FROM quarantine "
    "WHERE " + _SELECTED + " AND id > ?5 ORDER BY id LIMIT ?6"
)


@dataclass(frozen=True)
class Selection:
    """A selection of quarantined rows; a field that is None matches every row."""

    source: str | None = None
    reason: str | None = None
    tag: str | None = None
    before: datetime | None = None
    """Only rows recorded before this."""

    @property
    def parameters(self) -> list[object]:
        """The parameters of the SQL condition `_SELECTED`."""
        return [self.source, self.reason, self.tag, None if self.before is None else micros(self.before)]


class Quarantine:
    """The quarantined rows of every source, in the edge database."""

    def __init__(self, edge: Edge, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> None:
        self._edge = edge
        self._max_rows = max_rows
        self._max_bytes = max_bytes

    def add(self, rows: pl.DataFrame, *, source: str, origin: str, now: datetime) -> None:
        """Keep rows, columns of `REJECTED`, except those already kept for the same source and reason.

        Args:
            rows: rejected rows.
            source: name of the source or archive they came from.
            origin: the file, table or request within it.
            now: time of the rejection.
        """
        with self._edge.transaction() as database:
            insert_rows(database, rows, source=source, origin=origin, recorded_at=micros(now))
            self._discard_excess(source)

    def counts(self) -> pl.DataFrame:
        """Return the number of rows kept and discarded: source, reason, rows, discarded; the largest count first."""
        query = "SELECT source, reason, kept, discarded FROM quarantine_totals ORDER BY kept DESC, source, reason"
        schema = {"source": pl.String(), "reason": pl.String(), "rows": pl.Int64(), "discarded": pl.Int64()}
        return pl.DataFrame(self._edge.rows(query), schema=schema, orient="row")

    def rows(self, selection: Selection | None = None, *, limit: int | None = None) -> pl.DataFrame:
        """Return the selected rows, oldest first: columns of `KEPT`."""
        return self._select(selection, limit=limit)[1]

    def export(self, path: Path, selection: Selection | None = None) -> int:
        """Write the selected rows to a Parquet or CSV file, by its suffix; return the number of rows.

        A stretch is a row whose `values` are a list of numbers; in CSV, numbers separated by spaces.

        Raises:
            InvalidInput: another suffix, or a path that cannot be written.
        """
        rows = _readable(self.rows(selection))
        try:
            if path.suffix.lower() == ".parquet":
                rows.write_parquet(path)
            elif path.suffix.lower() == ".csv":
                rows.with_columns(pl.col("values").cast(pl.List(pl.String)).list.join(" ")).write_csv(path)
            else:
                raise InvalidInput(f"cannot export to {path}; give a name that ends in .parquet or .csv")
        except OSError as error:
            raise InvalidInput(f"cannot write {path}: {error}") from None
        return rows.height

    def purge(self, selection: Selection | None = None) -> int:
        """Delete the selected rows and return how many there were."""
        parameters = (selection or Selection()).parameters
        with self._edge.transaction() as database:
            counted = self._edge.rows(_COUNT, parameters)
            database.execute(_DELETE, parameters)
            for source, reason, count, size in counted:
                self._forget(source, reason, count, size)
        return sum(count for _, _, count, _ in counted)

    def expire(self, *, now: datetime, retention: timedelta = RETENTION) -> int:
        """Delete rows kept for longer than the retention and return how many there were."""
        return self.purge(Selection(before=now - retention))

    def take(self, selection: Selection, *, limit: int, after: int = 0) -> tuple[list[int], pl.DataFrame]:
        """Return the ids of the oldest selected rows above `after`, for `release`, and the rows: columns of `KEPT`.

        There are at most `limit`, and fewer if they have many bytes of values.
        """
        return self._select(selection, limit=limit, after=after, max_bytes=TAKEN_BYTES)

    def release(self, ids: Sequence[int]) -> None:
        """Delete rows by id, in the caller's transaction, after a decision on them."""
        with self._edge.transaction() as database:
            for number in ids:
                [(source, reason, size)] = self._edge.rows(
                    'SELECT source, reason, coalesce(length("values"), 0) FROM quarantine WHERE id = ?', [number]
                )
                database.execute("DELETE FROM quarantine WHERE id = ?", [number])
                self._forget(source, reason, 1, size)

    def _select(
        self, selection: Selection | None, *, limit: int | None, after: int = 0, max_bytes: int | None = None
    ) -> tuple[list[int], pl.DataFrame]:
        parameters = [*(selection or Selection()).parameters, after, -1 if limit is None else limit]
        found, taken = [], 0
        with self._edge.transaction() as database:
            for row in database.execute(_SELECT, parameters):
                found.append(row)
                taken += len(row[_VALUES] or b"")
                if max_bytes is not None and taken > max_bytes:
                    break
        times = {"timestamp": pl.Int64(), "recorded_at": pl.Int64()}
        stored = pl.Schema({"id": pl.Int64(), **KEPT, **times})
        frame = pl.DataFrame(found, schema=stored, orient="row")
        return frame["id"].to_list(), frame.drop("id").cast(KEPT)

    def _discard_excess(self, source: str) -> None:
        """Delete the oldest rows of the source's largest reason until the source is within its bounds."""
        for measure, bound in (("kept", self._max_rows), ("bytes", self._max_bytes)):
            totals = f"SELECT reason, {measure} FROM quarantine_totals WHERE source = ? ORDER BY {measure} DESC"
            counted = self._edge.rows(totals, [source])
            excess = sum(total for _, total in counted) - bound
            for reason, total in counted:
                if excess <= 0:
                    break
                self._discard(source, reason, measure, min(excess, total))
                excess -= total

    def _discard(self, source: str, reason: str, measure: str, excess: int) -> None:
        """Delete the oldest rows of one reason until it has less by at least `excess` rows or bytes."""
        size = "1" if measure == "kept" else 'coalesce(length("values"), 0)'
        with self._edge.transaction() as database:
            oldest = database.execute(
                f"SELECT id, {size} FROM quarantine WHERE source = ? AND reason = ? ORDER BY id", [source, reason]
            )
            last = 0
            while excess > 0:
                last, freed = oldest.fetchone()
                excess -= freed
            oldest.close()
            gone = [source, reason, last]
            where = "FROM quarantine WHERE source = ? AND reason = ? AND id <= ?"
            [(count, freed)] = self._edge.rows(f'SELECT count(*), coalesce(sum(length("values")), 0) {where}', gone)
            database.execute(f"DELETE {where}", gone)
            self._forget(source, reason, count, freed, discarded=count)

    def _forget(self, source: str, reason: str, count: int, size: int, *, discarded: int = 0) -> None:
        with self._edge.transaction() as database:
            database.execute(
                "UPDATE quarantine_totals SET kept = kept - ?, bytes = bytes - ?, discarded = discarded + ? "
                "WHERE source = ? AND reason = ?",
                [count, size, discarded, source, reason],
            )
            database.execute("DELETE FROM quarantine_totals WHERE kept = 0 AND discarded = 0")


def _readable(rows: pl.DataFrame) -> pl.DataFrame:
    """Return kept rows with the values of stretches as lists of numbers instead of bytes with an encoding."""
    is_stretch = rows["values"].is_not_null()
    values, offsets = decode(rows.filter(is_stretch))
    lists = pl.Series(pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values)), dtype=pl.List(pl.Float64))
    place = pl.when(is_stretch).then(is_stretch.cum_sum() - 1)
    return rows.with_columns(values=lists.gather(rows.select(place).to_series())).drop("encoding", "scale", "divisor")
