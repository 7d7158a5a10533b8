"""A backfill has its windows computed again, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
from pydantic import BaseModel

from bridge.drivers.protocols import Driver, Extent, Page
from bridge.drivers.raw_rows import RawRows
from bridge.edge.database import Edge
from bridge.run.backfill import Backfill
from features.compute.run import compute
from historian.plant.connections import ConnectionConfig
from historian.stores.lake.store import LakeStore
from tests.features.compute.pumps import EPOCH, NOW, SECOND, START, at, plant, signal, stored, write

HOUR = timedelta(hours=1)


class NoOptions(BaseModel):
    """A driver without keys or columns of its own."""


class OldSeconds:
    """An archive of the seconds 0 to 3 and 3600 to 3603 of a vibration tag, a sample a row."""

    async def open(self) -> None:
        """See `Archive.open`."""

    async def close(self) -> None:
        """See `Archive.close`."""

    async def extents(self) -> Mapping[str, Extent]:
        """See `Archive.extents`."""
        return {"p1.de_h": (START, START + HOUR + 3 * SECOND)}

    async def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`."""
        rows = pl.concat([signal(tag, first, 3) for tag in tags for first in (0, 3600)])
        yield Page(RawRows(rows.filter(pl.col("timestamp").is_between(start, end, closed="left"))), "old")


def test_what_a_backfill_brought_is_computed_and_nothing_else(tmp_path: Path) -> None:
    """Live windows of another time, and the hour between the two parts of the archive, get no new row."""
    site, store = plant(tmp_path, EPOCH), LakeStore(tmp_path / "lake")
    write(store, signal("p1.de_h", 1800, 3), source="live", now=NOW)
    write(store, signal("p1.de_h", 9000, 3), source="live", now=NOW)
    compute(site, store, at(NOW))
    driver = Driver(options=NoOptions, address=NoOptions, archive=lambda _: OldSeconds())
    connection = ConnectionConfig("old", driver, NoOptions(), (site.tags["p1.de_h"],), tmp_path)

    async def backfill(edge: Edge) -> None:
        task = Backfill(connection, edge, store, clock=lambda: NOW)
        await task.run(await task.plan(None, None), advance=lambda _: None)

    with closing(Edge(tmp_path / "edge.db")) as edge:
        asyncio.run(backfill(edge))
    compute(site, store, at(NOW + SECOND))
    new = stored(site, EPOCH).filter(pl.col("created_timestamp") == NOW + SECOND)
    ends = ((new["event_timestamp"] - START) / SECOND).sort().to_list()
    assert [end for end in ends if not (0 < end <= 4 or 3600 < end <= 3604)] == []
    assert len(ends) >= 10
