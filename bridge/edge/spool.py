"""The spool: a durable first-in-first-out queue per source, between what reads the plant and the sinks.

What `append` has accepted survives a crash, a power cut and a store that is down for hours. Each sink has a cursor per
source, and a batch is deleted once the cursors of all sinks have passed it. Counts and sizes are kept as running
totals, so that no call takes longer as the queue grows. A row that cannot be read is set aside and counted; it never
blocks the rows behind it. What a source may take of the disk is bounded (`bridge.edge.spool_room`).

A row of the spool holds samples and stretches of waveforms; what is counted are samples, also those of stretches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Final

import polars as pl

from bridge.edge.batches import Batches, SpoolItem, joined
from bridge.edge.database import Edge
from bridge.edge.segments import SEGMENT_BYTES
from bridge.edge.spool_room import Lasting, Rate, Room
from bridge.edge.spool_rows import (
    INLINE_BYTES,
    Contents,
    Parts,
    ReadRow,
    delete_rows,
    insert_row,
    parts_to_store,
    readable_rows,
)
from historian.intervals import INTERVALS, union
from historian.plant.model import SpoolBounds
from historian.times import from_micros, micros

STORE: Final = "store"
"""The sink that every database has: the historian store."""
MAX_MEMORY: Final = 48 << 20
"""Approximate size in memory of the batches joined into one write: a million samples, or 12 million of a waveform in
float32."""
MAX_JOINED: Final = 2_000
"""Largest number of batches joined into one write."""
_SEGMENTS: Final = 16
"""Smallest number of segments in the room of a source: what is delivered of one is freed with the rest of it."""


class Spool:
    """The queue of every source, in the edge database."""

    def __init__(self, edge: Edge, *, bounds: SpoolBounds | None = None) -> None:
        bounds = bounds or SpoolBounds()
        self._edge = edge
        self._room = Room(edge, bounds)
        self._segment_bytes = min(SEGMENT_BYTES, bounds.max_size // _SEGMENTS)

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
        contents = Contents(batches, covered)
        parts = parts_to_store(contents)
        self._room.check(source, parts.size, now)
        segments, place = self._edge.segments, None
        if parts.size >= INLINE_BYTES:  # outside the transaction, so that others can write meanwhile
            place = segments.append(source, parts, segment_bytes=self._segment_bytes)
        try:
            with self._edge.transaction():
                self._room.make(source, parts.size, now)
                number = insert_row(self._edge, contents, parts, place, source=source, now=now, since=covers_since)
                self._count(source, batches.total, parts, now)
        except BaseException:
            if place is not None:
                segments.take_back(source, place)
            raise
        return number

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
            rows = list(readable_rows(self._edge, source, first, last, now))
            marks = [marks for row in rows if (marks := self._covered(row, source, sink)) is not None]
        batches = [row.contents.batches for row in rows]
        covered = union(pl.concat([INTERVALS.to_frame(), *marks]))
        count = sum(each.total for each in batches)
        return SpoolItem(source, first, last, count, joined(batches), covered, len(chosen) < len(waiting))

    def delivered(self, item: SpoolItem, *, sink: str = STORE) -> None:
        """Move the sink's cursor past an item, and delete what every sink has."""
        with self._edge.transaction():
            self._advance(item, sink)
            [(everywhere,)] = self._edge.rows(
                "SELECT min(coalesce(position, 0)) FROM sinks LEFT JOIN cursors ON sink = name AND source = ?",
                [item.source],
            )
            delete_rows(self._edge, item.source, everywhere)

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

    def discarded(self, *, sink: str = STORE) -> dict[str, int]:
        """Return the number of samples that were discarded before the sink had them, by source."""
        query = "SELECT source, discarded FROM cursors WHERE sink = ? AND discarded > 0 ORDER BY source"
        return dict(self._edge.rows(query, [sink]))

    def lasts(self, estimated: Mapping[str, float], *, now: datetime) -> dict[str, Lasting]:
        """Return how long the room of each source lasts while no sink takes anything; see `Room.lasts`."""
        return self._room.lasts(estimated, now=now)

    def damaged(self) -> dict[str, int]:
        """Return the number of batches that could not be read and were set aside, by source."""
        return dict(self._edge.rows("SELECT source, count(*) FROM spool_damaged GROUP BY source ORDER BY source"))

    def _first(self, source: str, sink: str) -> list[tuple[int, int]]:
        """Return number and memory of the first batches that wait for the sink, one more than one write may join."""
        return self._edge.rows(
            "SELECT id, memory FROM spool WHERE source = ? AND id > ? ORDER BY id LIMIT ?",
            (source, self._cursor(sink, source)[0], MAX_JOINED + 1),
        )

    def _covered(self, row: ReadRow, source: str, sink: str) -> pl.DataFrame | None:
        """Return what a row covers, unless a batch that this relies on was set aside or discarded."""
        if row.contents.covered is None or row.relies_on <= self._cursor(sink, source)[1]:
            return None
        query = "SELECT 1 FROM spool_damaged WHERE source = ? AND id BETWEEN ? AND ? LIMIT 1"
        damaged = self._edge.rows(query, (source, row.relies_on, row.number))
        return None if damaged else row.contents.covered

    def _cursor(self, sink: str, source: str) -> tuple[int, int]:
        """Return the ids up to which a sink has everything, and up to which batches were discarded that it missed."""
        query = "SELECT position, discarded_to FROM cursors WHERE sink = ? AND source = ?"
        return next(iter(self._edge.rows(query, (sink, source))), (0, 0))

    def _advance(self, item: SpoolItem, sink: str) -> None:
        with self._edge.transaction() as database:
            position, discarded_to = self._cursor(sink, item.source)
            if item.last <= position:  # another process has delivered it as well
                return
            [(rows,)] = self._edge.rows(
                "SELECT coalesce(sum(rows), 0) FROM spool WHERE source = ? AND id > ? AND id <= ?",
                (item.source, position, item.last),
            )
            # What was discarded while the item was under way has been delivered after all.
            saved = item.rows - rows if item.first <= discarded_to else 0
            database.execute(
                "INSERT INTO cursors SELECT ?, source, ?, accepted - rows + ?, 0, 0 FROM spool_totals WHERE source = ? "
                "ON CONFLICT (sink, source) DO UPDATE SET position = excluded.position, delivered = delivered + ?, "
                "discarded = discarded - ?",
                (sink, item.last, rows, item.source, rows, saved),
            )

    def _count(self, source: str, count: int, parts: Parts, now: datetime) -> None:
        """Add a batch to the totals of its source."""
        at, size = micros(now), parts.size
        query = "SELECT rate_bytes, rate_since, last_accepted_at FROM spool_totals WHERE source = ?"
        known = [row for row in self._edge.rows(query, [source]) if None not in row]
        rate = Rate(*known[0]).plus(size, at) if known else Rate(0, at, at)
        with self._edge.transaction() as database:
            database.execute(
                "INSERT INTO spool_totals VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (source) DO UPDATE SET "
                "accepted = accepted + excluded.accepted, rows = rows + excluded.rows, bytes = bytes + excluded.bytes, "
                "last_accepted_at = excluded.last_accepted_at, rate_bytes = excluded.rate_bytes, "
                "rate_since = excluded.rate_since",
                (source, count, count, size, at, rate.size, rate.since),
            )


def _one_write(waiting: Sequence[tuple[int, int]], max_memory: int) -> Sequence[tuple[int, int]]:
    """Return the first of some batches (number, memory) that one write takes: at least one, and about so many bytes."""
    few = sum(1 for total in accumulate(memory for _, memory in waiting) if total <= max_memory)
    return waiting[: max(1, min(few, MAX_JOINED))]
