"""The rows of the spool: how batches are packed, written, read, set aside when damaged, and deleted.

A small batch is in its row; the parts of a large one are a frame in a segment (`bridge.edge.segments`). What was
accepted lately is held in memory as well, so that a sink that keeps up with its sources needs no byte of it back.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

import polars as pl

from bridge.edge.batches import Batches
from bridge.edge.database import Edge
from bridge.edge.frames import pack, pack_samples, pack_waveforms, unpack, unpack_samples, unpack_waveforms
from bridge.edge.segments import Place, parts_of
from historian.intervals import INTERVALS
from historian.logs import get_logger
from historian.samples import SCHEMA, SampleBatch, empty_batch
from historian.times import micros
from historian.waveforms.batch import WAVEFORM_SCHEMA, WaveformBatch, empty_waveforms

INLINE_BYTES: Final = 64 << 10
"""Size from which a batch goes to a segment: below it a second file to flush costs more than SQLite's two copies."""

log = get_logger(__name__)


class Contents(NamedTuple):
    """What a row holds."""

    batches: Batches
    covered: pl.DataFrame | None
    """Intervals, columns of `INTERVALS`, that are complete once the row and those it relies on are stored."""


class ReadRow(NamedTuple):
    """A row that could be read."""

    number: int
    relies_on: int
    """Id of the first row that its coverage relies on."""
    contents: Contents


class Parts(NamedTuple):
    """A row's contents as bytes; what there is nothing of is empty."""

    samples: bytes
    waveforms: bytes
    covered: bytes

    @property
    def size(self) -> int:
        """Number of bytes."""
        return sum(map(len, self))

    @property
    def checksum(self) -> int:
        """CRC-32 of all of them."""
        found = 0
        for part in self:
            found = zlib.crc32(part, found)
        return found


def parts_to_store(contents: Contents) -> Parts:
    """Return contents as bytes."""
    (samples, waveforms), covered = contents
    return Parts(
        b"" if samples.is_empty() else pack_samples(samples),
        b"" if waveforms.is_empty() else pack_waveforms(waveforms),
        b"" if covered is None or covered.is_empty() else pack(covered),
    )


def insert_row(
    edge: Edge, contents: Contents, parts: Parts, place: Place | None, *, source: str, now: datetime, since: int | None
) -> int:
    """Insert a row, in the caller's transaction, and return its id.

    Args:
        edge: the database.
        contents: what was accepted.
        parts: the same as bytes.
        place: where they are in a segment; None if they are to be in the row.
        source: name of the source.
        now: time of acceptance.
        since: id of the first row that the coverage relies on; this one if None.
    """
    inline = parts if place is None else Parts(b"", b"", b"")
    batches, checksum = contents.batches, parts.checksum
    with edge.transaction() as database:
        inserted = database.execute(
            "INSERT INTO spool (source, accepted_at, rows, size, memory, covers_since, checksum, payload, waveforms, "
            "covered, segment, position, length) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (source, micros(now), batches.total, parts.size, batches.memory, since, checksum, *inline)
            + (place or (None, None, None)),
        )
    number = inserted.lastrowid or 0
    edge.after_commit(lambda: edge.recent.hold(number, checksum, contents, batches.memory))
    return number


def readable_rows(edge: Edge, source: str, first: int, last: int, now: datetime) -> Iterator[ReadRow]:
    """Yield the rows in a range of ids that can be read, in order; set the others aside, at `now`."""
    span = (source, first, last)
    heads = edge.rows(
        "SELECT id, coalesce(covers_since, id), checksum FROM spool WHERE source = ? AND id BETWEEN ? AND ? "
        "ORDER BY id",
        span,
    )
    held = [ReadRow(number, since, edge.recent.of(number, checksum)) for number, since, checksum in heads]
    if all(row.contents is not None for row in held):
        yield from held
        return
    for number, relies_on, *row in edge.rows(
        "SELECT id, coalesce(covers_since, id), checksum, CAST(payload AS BLOB), CAST(waveforms AS BLOB), "
        "CAST(covered AS BLOB), segment, position, length FROM spool WHERE source = ? AND id BETWEEN ? AND ? "
        "ORDER BY id",
        span,
    ):
        found = _read(edge, row)
        if isinstance(found, Exception):
            _set_aside(edge, source, number, found, now)
        else:
            yield ReadRow(number, relies_on, found)


def delete_rows(edge: Edge, source: str, last: int) -> None:
    """Delete the rows of a source up to an id; the segments that only they needed go when that is durable."""
    done = (source, last)
    with edge.transaction() as database:
        [(rows, size)] = edge.rows(
            "SELECT coalesce(sum(rows), 0), coalesce(sum(size), 0) FROM spool WHERE source = ? AND id <= ?", done
        )
        segments = edge.rows(
            "SELECT DISTINCT segment FROM spool WHERE source = ? AND id <= ? AND segment IS NOT NULL", done
        )
        numbers = edge.rows("SELECT id FROM spool WHERE source = ? AND id <= ?", done)
        database.execute("DELETE FROM spool WHERE source = ? AND id <= ?", done)
        database.execute(
            "UPDATE spool_totals SET rows = rows - ?, bytes = bytes - ? WHERE source = ?", (rows, size, source)
        )
    edge.recent.forget([number for (number,) in numbers])
    edge.after_commit(partial(edge.segments.reclaim, [name for (name,) in segments]))


def _read(edge: Edge, row: Sequence[Any]) -> Contents | Exception:
    """Return the contents of one row, or the reason why it cannot be read."""
    checksum, *inline, segment, position, length = row
    try:
        parts = Parts(*inline)
        if segment is not None:
            parts = Parts(*parts_of(edge.segments.read(Place(segment, position, length))))
        if checksum is not None and checksum != parts.checksum:
            return ValueError("its checksum is wrong")
        samples = unpack_samples(parts.samples) if parts.samples else empty_batch()
        stretches = unpack_waveforms(parts.waveforms) if parts.waveforms else empty_waveforms()
        covered = unpack(parts.covered) if parts.covered else None
    except Exception as error:  # noqa: BLE001 - whatever a decoder makes of damaged bytes
        return error
    sound = samples.schema == SCHEMA and stretches.schema == WAVEFORM_SCHEMA
    if not sound or (covered is not None and covered.schema != INTERVALS):
        return ValueError("its columns are not those of a batch")
    return Contents(Batches(SampleBatch(samples), WaveformBatch(stretches)), covered)


def _set_aside(edge: Edge, source: str, number: int, error: Exception, now: datetime) -> None:
    """Move a row out of the queue; its bytes are kept in case somebody can still decode them."""
    reason = f"{type(error).__name__}: {error}"
    with edge.transaction() as database:
        [(rows, size, *place)] = edge.rows(
            "SELECT rows, size, segment, position, length FROM spool WHERE id = ?", [number]
        )
        database.execute(
            "INSERT INTO spool_damaged SELECT id, source, accepted_at, rows, ?, ?, payload, waveforms FROM spool "
            "WHERE id = ?",
            (reason, micros(now), number),
        )
        if place[0] is not None:
            kept = _bytes_left(edge, Place(*place))
            database.execute("UPDATE spool_damaged SET payload = ? WHERE id = ?", (kept, number))
        database.execute("DELETE FROM spool WHERE id = ?", [number])
        database.execute(
            "UPDATE spool_totals SET rows = rows - ?, bytes = bytes - ? WHERE source = ?", (rows, size, source)
        )
        database.execute(
            "UPDATE cursors SET delivered = delivered + ? WHERE source = ? AND position < ?", (rows, source, number)
        )
    if place[0] is not None:
        edge.after_commit(partial(edge.segments.reclaim, place[:1]))
    log.error("a batch of the spool cannot be read and was set aside", source=source, batch=number, reason=reason)


def _bytes_left(edge: Edge, place: Place) -> bytes:
    """Return what can still be read of a damaged frame."""
    try:
        return edge.segments.read(place)
    except OSError:
        return b""
