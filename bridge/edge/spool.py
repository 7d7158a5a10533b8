"""The spool: a durable first-in-first-out queue per source, between what reads the plant and what writes the store.

What `append` has accepted survives a crash, a power cut and a store that is down for hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Final

import polars as pl

from bridge.edge.database import Edge, pack, unpack
from bridge.ingest.coverage import union
from historian.errors import SpoolFull
from historian.samples import SampleBatch, newest_wins, sample_batch
from historian.times import micros

MAX_BYTES: Final = 8 << 30
"""Bound of one source's share, compressed: about six hours of two 25.6 kHz vibration points."""
MAX_JOINED: Final = 2_000
"""Batches joined into one write at most."""

_QUEUE: Final = "SELECT id, rows FROM spool WHERE source = ? ORDER BY id LIMIT ?"


@dataclass(frozen=True)
class SpoolItem:
    """The oldest samples of a source, on their way to the store."""

    source: str
    ids: tuple[int, ...]
    batch: SampleBatch
    proven: pl.DataFrame
    """Stretches that are proven to be in the store, completely, once this item is."""
    more: bool
    """Whether this was too little to take everything that waits."""


class Spool:
    """The queue of every source, in the edge database."""

    def __init__(self, edge: Edge, *, max_bytes: int = MAX_BYTES) -> None:
        self._edge = edge
        self._max_bytes = max_bytes

    def append(self, batch: SampleBatch, *, source: str, now: datetime, proven: pl.DataFrame) -> None:
        """Accepts a batch: when this returns, it is on the disk.

        An empty batch is a mark: its `proven` stretches hold once everything appended before it is stored.

        Raises:
            SpoolFull: nothing was accepted; the source has reached its bound, or the disk is full.
        """
        payload, marks = pack(batch), pack(proven)
        size = len(payload) + len(marks)
        with self._edge.transaction() as database:
            self._check_room(source, size)
            database.execute(
                "INSERT INTO spool (source, accepted_at, rows, size, proven, payload) VALUES (?, ?, ?, ?, ?, ?)",
                (source, micros(now), batch.height, size, marks, payload),
            )
            database.execute(
                "INSERT INTO accepted VALUES (?, ?) "
                "ON CONFLICT (source) DO UPDATE SET samples = samples + excluded.samples",
                (source, batch.height),
            )

    def oldest(self, source: str, *, rows: int = 1_000_000) -> SpoolItem | None:
        """The oldest batches of a source, joined into one of about `rows` samples; None when nothing waits.

        Many small batches become few writes this way. The item stays in the spool until `remove`.
        """
        waiting = self._edge.rows(_QUEUE, source, MAX_JOINED + 1)
        if not waiting:
            return None
        reach = accumulate(height for _, height in waiting)
        few = sum(1 for total in reach if total <= rows)
        ids = tuple(number for number, _ in waiting[: max(1, min(few, MAX_JOINED))])
        kept = self._edge.rows(
            "SELECT payload, proven FROM spool WHERE source = ? AND id BETWEEN ? AND ? ORDER BY id",
            *(source, ids[0], ids[-1]),
        )
        batches = [unpack(payload) for payload, _ in kept]
        joined = batches[0] if len(batches) == 1 else newest_wins(pl.concat(batches))
        proven = union(pl.concat([unpack(marks) for _, marks in kept]))
        return SpoolItem(source, ids, sample_batch(joined), proven, more=len(ids) < len(waiting))

    def remove(self, item: SpoolItem) -> None:
        """Forgets an item: the store has it."""
        with self._edge.transaction() as database:
            bounds = (item.source, item.ids[0], item.ids[-1])
            database.execute("DELETE FROM spool WHERE source = ? AND id BETWEEN ? AND ?", bounds)

    def waiting(self) -> dict[str, int]:
        """Samples in the spool, by source."""
        return dict(self._edge.rows("SELECT source, sum(rows) FROM spool GROUP BY source ORDER BY source"))

    def accepted(self) -> dict[str, int]:
        """Samples ever accepted, by source, since the database was made; repeats of a sample count."""
        return dict(self._edge.rows("SELECT source, samples FROM accepted ORDER BY source"))

    def _check_room(self, source: str, size: int) -> None:
        [(taken,)] = self._edge.rows("SELECT coalesce(sum(size), 0) FROM spool WHERE source = ?", source)
        # A batch larger than the whole bound is let into an empty spool: refusing it for ever would stop the source.
        if taken and taken + size > self._max_bytes:
            raise SpoolFull(
                f"the spool holds {taken:,} bytes of {source} and may hold {self._max_bytes:,}; "
                "it drains as soon as the store can be written"
            )
