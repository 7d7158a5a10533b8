"""The spool: a durable first-in-first-out queue per source, between what reads the plant and the sinks.

What `append` has accepted survives a crash, a power cut and a store that is down for hours. Each sink has a cursor per
source, and a batch is deleted once the cursors of all sinks have passed it. Counts and sizes are kept as running
totals, so that no call takes longer as the queue grows. A row that cannot be read is set aside and counted; it never
blocks the rows behind it.

A row of the spool holds samples and stretches of waveforms; what is counted are samples, also those of stretches.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any, Final, NamedTuple

import polars as pl

from bridge.drivers.raw_rows import number_of_samples
from bridge.edge.database import Edge
from bridge.edge.frames import pack, pack_samples, pack_waveforms, unpack, unpack_samples, unpack_waveforms
from historian.errors import SpoolFull
from historian.intervals import INTERVALS, union
from historian.logs import get_logger
from historian.samples import SCHEMA, SampleBatch, empty_batch, newest_wins, sample_batch
from historian.times import from_micros, micros
from historian.waveforms.batch import WAVEFORM_SCHEMA, WaveformBatch, empty_waveforms, waveform_batch
from historian.waveforms.joining import newest_wins_waveforms

STORE: Final = "store"
"""The sink that every database has: the historian store."""
MAX_BYTES: Final = 8 << 30
"""Largest size of one source's batches, in bytes: about eleven hours of two 25.6 kHz points in float32."""
MAX_MEMORY: Final = 48 << 20
"""Approximate size in memory of the batches joined into one write: a million samples, or 12 million of a waveform in
float32."""
MAX_JOINED: Final = 2_000
"""Largest number of batches joined into one write."""

_SAMPLE_BYTES: Final = 48
"""Approximate bytes of a sample in memory."""

log = get_logger(__name__)


class Batches(NamedTuple):
    """Samples and stretches that were accepted together."""

    samples: SampleBatch = empty_batch()
    waveforms: WaveformBatch = empty_waveforms()

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a sample nor a stretch."""
        return self.samples.is_empty() and self.waveforms.is_empty()

    @property
    def total(self) -> int:
        """How many samples there are, also in stretches."""
        return self.samples.height + number_of_samples(self.waveforms)

    @property
    def memory(self) -> int:
        """Approximate size in memory, in bytes."""
        return _SAMPLE_BYTES * self.samples.height + int(self.waveforms["values"].bin.size().sum())


@dataclass(frozen=True)
class SpoolItem:
    """The oldest samples and stretches of a source that have not been delivered to a sink yet."""

    source: str
    first: int
    last: int
    """Ids of the first and last spool row it was made of, both included."""
    rows: int
    """Number of samples in these rows, repeats included."""
    batches: Batches
    covered: pl.DataFrame
    """Intervals that are completely in the store once this item has been written to it."""
    more: bool
    """Whether more batches of the source wait after this item."""


class Spool:
    """The queue of every source, in the edge database."""

    def __init__(self, edge: Edge, *, max_bytes: int = MAX_BYTES) -> None:
        self._edge = edge
        self._max_bytes = max_bytes

    def append(
        self,
        batches: Batches,
        *,
        source: str,
        now: datetime,
        covered: pl.DataFrame | None = None,
        covers_since: int | None = None,
    ) -> int:
        """Accept samples and stretches; when this returns, they are on disk.

        Without any, this is a mark: its `covered` applies once everything appended before it is stored.

        Args:
            batches: what was read.
            source: name of the source or archive.
            now: time of acceptance.
            covered: intervals that are complete once this batch and those since `covers_since` are stored.
            covers_since: id of the first batch that `covered` relies on; this one if None.

        Returns:
            The batch's id.

        Raises:
            SpoolFull: nothing was accepted; the source has reached its bound, or the disk is full.
        """
        payload = b"" if batches.samples.is_empty() else pack_samples(batches.samples)
        waveforms = b"" if batches.waveforms.is_empty() else pack_waveforms(batches.waveforms)
        marks = b"" if covered is None or covered.is_empty() else pack(covered)
        parts = (payload, waveforms, marks)
        count, size = batches.total, sum(map(len, parts))
        with self._edge.transaction() as database:
            self._check_room(source, size)
            inserted = database.execute(
                "INSERT INTO spool (source, accepted_at, rows, size, memory, covers_since, checksum, "
                "payload, waveforms, covered) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (source, micros(now), count, size, batches.memory, covers_since, _checksum(*parts), *parts),
            )
            database.execute(
                "INSERT INTO spool_totals VALUES (?, ?, ?, ?, ?) ON CONFLICT (source) DO UPDATE SET "
                "accepted = accepted + excluded.accepted, rows = rows + excluded.rows, bytes = bytes + excluded.bytes, "
                "last_accepted_at = excluded.last_accepted_at",
                (source, count, count, size, micros(now)),
            )
        return inserted.lastrowid or 0

    def oldest(
        self, source: str, *, now: datetime, sink: str = STORE, max_memory: int = MAX_MEMORY
    ) -> SpoolItem | None:
        """Return the oldest undelivered batches of a source, joined into one item of about `max_memory` bytes.

        Many small batches thus become few writes. The item stays in the spool until `delivered`. Returns None if
        nothing waits.
        """
        with self._edge.transaction():  # one view of the queue, though another process may empty it
            waiting = self._first(source, sink)
            if not waiting:
                return None
            chosen = _one_write(waiting, max_memory)
            first, last = chosen[0][0], chosen[-1][0]
            batches, marks = self._parts(source, first, last, now)
        covered = union(pl.concat([INTERVALS.to_frame(), *marks]))
        count = sum(each.total for each in batches)
        return SpoolItem(source, first, last, count, joined(batches), covered, len(chosen) < len(waiting))

    def delivered(self, item: SpoolItem, *, sink: str = STORE) -> None:
        """Move the sink's cursor past an item, and delete what every sink has."""
        with self._edge.transaction() as database:
            self._advance(sink, item.source, item.last, item.rows)
            [(everywhere,)] = self._edge.rows(
                "SELECT min(coalesce(position, 0)) FROM sinks LEFT JOIN cursors ON sink = name AND source = ?",
                [item.source],
            )
            done = (item.source, everywhere)
            [(rows, size)] = self._edge.rows(
                "SELECT coalesce(sum(rows), 0), coalesce(sum(size), 0) FROM spool WHERE source = ? AND id <= ?", done
            )
            database.execute("DELETE FROM spool WHERE source = ? AND id <= ?", done)
            database.execute(
                "UPDATE spool_totals SET rows = rows - ?, bytes = bytes - ? WHERE source = ?",
                (rows, size, item.source),
            )

    def register(self, *sinks: str) -> None:
        """Set the sinks that batches wait for. A new sink receives what is in the spool now, and all later batches."""
        with self._edge.transaction() as database:
            names = [json.dumps(sinks)]
            database.execute("DELETE FROM sinks WHERE name NOT IN (SELECT value FROM json_each(?))", names)
            database.execute("DELETE FROM cursors WHERE sink NOT IN (SELECT value FROM json_each(?))", names)
            database.executemany("INSERT OR IGNORE INTO sinks VALUES (?)", [(name,) for name in sinks])

    def waiting(self, *, sink: str = STORE) -> dict[str, int]:
        """Return the number of samples not yet delivered to the sink, by source."""
        counted = self._edge.rows(
            "SELECT t.source, accepted - coalesce(delivered, accepted - t.rows) FROM spool_totals t "
            "LEFT JOIN cursors c ON c.source = t.source AND sink = ? ORDER BY t.source",
            [sink],
        )
        return {source: count for source, count in counted if count}

    def accepted(self) -> dict[str, int]:
        """Return the number of samples accepted since the database was created, by source; repeats count."""
        return dict(self._edge.rows("SELECT source, accepted FROM spool_totals ORDER BY source"))

    def last_accepted(self) -> dict[str, datetime]:
        """Return when each source's newest batch was accepted."""
        found = self._edge.rows("SELECT source, last_accepted_at FROM spool_totals WHERE last_accepted_at IS NOT NULL")
        return {source: from_micros(instant) for source, instant in found}

    def sizes(self) -> dict[str, int]:
        """Return the number of bytes in the spool, by source."""
        return dict(self._edge.rows("SELECT source, bytes FROM spool_totals ORDER BY source"))

    def damaged(self) -> dict[str, int]:
        """Return the number of batches that could not be read and were set aside, by source."""
        return dict(self._edge.rows("SELECT source, count(*) FROM spool_damaged GROUP BY source ORDER BY source"))

    def _first(self, source: str, sink: str) -> list[tuple[int, int]]:
        """Return number and memory of the first batches that wait for the sink, one more than one write may join."""
        return self._edge.rows(
            "SELECT id, memory FROM spool WHERE source = ? AND id > ? ORDER BY id LIMIT ?",
            (source, self._position(sink, source), MAX_JOINED + 1),
        )

    def _parts(self, source: str, first: int, last: int, now: datetime) -> tuple[list[Batches], list[pl.DataFrame]]:
        """Return the batches of the readable rows and what they cover; set the other rows aside."""
        readable = list(self._readable(source, first, last, now))
        covered = [
            marks
            for number, relies_on, _, marks in readable
            if marks is not None and not self._damaged_between(source, relies_on, number)
        ]
        return [batches for _, _, batches, _ in readable], covered

    def _readable(
        self, source: str, first: int, last: int, now: datetime
    ) -> Iterator[tuple[int, int, Batches, pl.DataFrame | None]]:
        """Yield number, first number its coverage relies on, batches and coverage of each row that can be read."""
        kept = self._edge.rows(
            "SELECT id, coalesce(covers_since, id), checksum, CAST(payload AS BLOB), CAST(waveforms AS BLOB), "
            "CAST(covered AS BLOB) FROM spool WHERE source = ? AND id BETWEEN ? AND ? ORDER BY id",
            (source, first, last),
        )
        for number, relies_on, *row in kept:
            found = _read(row)
            if isinstance(found, Exception):
                self._set_aside(source, number, found, now)
            else:
                yield number, relies_on, *found

    def _damaged_between(self, source: str, first: int, last: int) -> bool:
        query = "SELECT 1 FROM spool_damaged WHERE source = ? AND id BETWEEN ? AND ? LIMIT 1"
        return bool(self._edge.rows(query, (source, first, last)))

    def _set_aside(self, source: str, number: int, error: Exception, now: datetime) -> None:
        """Move a row out of the queue; its bytes are kept in case somebody can still decode them."""
        reason = f"{type(error).__name__}: {error}"
        with self._edge.transaction() as database:
            [(rows, size)] = self._edge.rows("SELECT rows, size FROM spool WHERE id = ?", [number])
            database.execute(
                "INSERT INTO spool_damaged SELECT id, source, accepted_at, rows, ?, ?, payload, waveforms FROM spool "
                "WHERE id = ?",
                (reason, micros(now), number),
            )
            database.execute("DELETE FROM spool WHERE id = ?", [number])
            database.execute(
                "UPDATE spool_totals SET rows = rows - ?, bytes = bytes - ? WHERE source = ?", (rows, size, source)
            )
            database.execute(
                "UPDATE cursors SET delivered = delivered + ? WHERE source = ? AND position < ?", (rows, source, number)
            )
        log.error("a batch of the spool cannot be read and was set aside", source=source, batch=number, reason=reason)

    def _position(self, sink: str, source: str) -> int:
        found = self._edge.rows("SELECT position FROM cursors WHERE sink = ? AND source = ?", (sink, source))
        return int(found[0][0]) if found else 0

    def _advance(self, sink: str, source: str, position: int, rows: int) -> None:
        with self._edge.transaction() as database:
            if position <= self._position(sink, source):  # another process has delivered it as well
                return
            database.execute(
                "INSERT INTO cursors SELECT ?, source, ?, accepted - rows + ? FROM spool_totals WHERE source = ? "
                "ON CONFLICT (sink, source) DO UPDATE SET position = excluded.position, delivered = delivered + ?",
                (sink, position, rows, source, rows),
            )

    def _check_room(self, source: str, size: int) -> None:
        found = self._edge.rows("SELECT bytes FROM spool_totals WHERE source = ?", [source])
        taken = int(found[0][0]) if found else 0
        # An empty spool accepts a batch larger than the bound: refusing it for ever would stop the source.
        if taken and taken + size > self._max_bytes:
            raise SpoolFull(
                f"the spool holds {taken:,} bytes of {source} and may hold {self._max_bytes:,}; "
                "it drains as soon as the store can be written"
            )


def _checksum(*parts: bytes) -> int:
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return checksum


def _read(row: Sequence[Any]) -> tuple[Batches, pl.DataFrame | None] | Exception:
    """Return the batches and the covered intervals of one row, or the reason why it cannot be read."""
    checksum, payload, waveforms, marks = row
    if checksum is not None and checksum != _checksum(payload, waveforms, marks):
        return ValueError("its checksum is wrong")
    try:
        samples = unpack_samples(payload) if payload else empty_batch()
        stretches = unpack_waveforms(waveforms) if waveforms else empty_waveforms()
        covered = unpack(marks) if marks else None
    except Exception as error:  # noqa: BLE001 - whatever a decoder makes of damaged bytes
        return error
    sound = samples.schema == SCHEMA and stretches.schema == WAVEFORM_SCHEMA
    if not sound or (covered is not None and covered.schema != INTERVALS):
        return ValueError("its columns are not those of a batch")
    return Batches(SampleBatch(samples), WaveformBatch(stretches)), covered


def joined(batches: Sequence[Batches]) -> Batches:
    """Return several batches as one, in which the newest sample and the newest stretch count."""
    samples = [each.samples for each in batches if each.samples.height]
    waveforms = [each.waveforms for each in batches if each.waveforms.height]
    return Batches(
        sample_batch(newest_wins(pl.concat(samples))) if samples else empty_batch(),
        waveform_batch(newest_wins_waveforms(pl.concat(waveforms))) if waveforms else empty_waveforms(),
    )


def _one_write(waiting: Sequence[tuple[int, int]], max_memory: int) -> Sequence[tuple[int, int]]:
    """Return the first of some batches (number, memory) that one write takes: at least one, and about so many bytes."""
    few = sum(1 for total in accumulate(memory for _, memory in waiting) if total <= max_memory)
    return waiting[: max(1, min(few, MAX_JOINED))]
