"""Helpers of the tests of verification: samples of both sides, a comparison of them, and what brute force finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel

from bridge.drivers.protocols import Driver, Page
from bridge.drivers.raw_rows import RawRows
from bridge.edge.database import Edge
from bridge.run.verify.comparing import Comparing
from bridge.run.verify.verification import Order, Verification, verify_archive
from historian.plant.connections import ConnectionConfig, Tag
from historian.samples import SCHEMA, normalise
from historian.stores.memory import MemoryStore
from historian.waveforms.batch import WaveformBatch, waveform_batch
from historian.waveforms.cutting import cut
from historian.waveforms.encoding import HEADS, encode

T0 = datetime(2026, 3, 1, 22, tzinfo=UTC)  # two hours before a day ends
NOW = datetime(2026, 4, 1, tzinfo=UTC)
DAY, HOUR, MINUTE, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
Connections = Callable[..., ConnectionConfig]
Row = tuple[str, int, float | str | None, int]
"""Tag, minute after T0, value or text, quality."""


def frame(rows: Sequence[Row]) -> pl.DataFrame:
    """Raw rows."""
    filled = [
        (tag, T0 + minute * MINUTE, None, value, quality)
        if isinstance(value, str)
        else (tag, T0 + minute * MINUTE, value, None, quality)
        for tag, minute, value, quality in rows
    ]
    return pl.DataFrame(filled, schema=SCHEMA, orient="row")


def minutes(tag: str, first: int, count: int, *, plus: float = 0) -> list[Row]:
    """A sample a minute, whose value is its number plus `plus`."""
    return [(tag, number, number + plus, 0) for number in range(first, first + count)]


def stored(*parts: pl.DataFrame, source: str = "old") -> MemoryStore:
    """A store with these samples."""
    store = MemoryStore(page_rows=7)
    for part in parts:
        store.write(normalise(part).batch, source=source, now=NOW)
    return store


def wave(tag: str, start: datetime, values: Sequence[float], rate: float, *, quality: int = 0) -> WaveformBatch:
    """A stretch."""
    head = pl.DataFrame([(tag, start, rate, len(values), quality)], schema=HEADS, orient="row")
    return waveform_batch(encode(head, np.array(values, np.float64)))


def compared(connection: ConnectionConfig, edge: Edge, store: Any, *, most: int = 1_000) -> Comparing:
    """The comparison of everything."""
    found = Comparing(connection, edge, store, lambda: NOW, most=most)
    asyncio.run(found.whole(None, None))
    return found


def verified(
    connection: ConnectionConfig, edge: Edge, store: Any, report: Path, order: Order | None = None
) -> Verification:
    """A verification of everything, with its report."""
    return asyncio.run(
        verify_archive(connection, edge, store, order=order or Order(), report=report, clock=lambda: NOW)
    )


class Waveforms:
    """An archive of stretches, which it cuts to the range that is read."""

    def __init__(self, stretches: WaveformBatch) -> None:
        self.stretches = stretches

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def extents(self) -> dict[str, tuple[datetime, datetime]]:
        """Tag a, from its first sample to two minutes later."""
        first = self.stretches["timestamp"][0]
        return {"a": (first, first + 2 * MINUTE)}

    async def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`."""
        yield Page(RawRows(waveforms=cut(self.stretches, start, end)), "stretches")


def connected(archive: Any, tag: Tag) -> ConnectionConfig:
    """A connection to an archive with one tag."""
    driver = Driver(options=BaseModel, address=BaseModel, archive=lambda _: archive)
    return ConnectionConfig("old", driver, None, (tag,), Path())
