"""The archives that the cases read, and what they hold."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import BaseModel

from bridge.drivers.protocols import Archive, Driver, Extent, Page, open_archive
from bridge.drivers.raw_rows import RawRows
from faults.cases import Case
from historian.plant.connections import ConnectionConfig
from historian.samples import SCHEMA

TAGS: Final = ("a", "b")
COUNT: Final = 60
"""Samples of each tag."""
CHANGE: Final = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)
"""Half an hour before the clock is set back in Berlin."""
MINUTE: Final = timedelta(minutes=1)

Step = Callable[[], None]
"""Called before each page; it may raise or cancel."""

PLANT: Final = """
[site]
name = "faults"
[classes.c.points]
a = { kind = "process" }
b = { kind = "process" }
[assets.x]
class = "c"
[archives.old]
driver = "files"
tags = "tags.csv"
path = "old/*.csv"
layout = "long"
timestamp_format = "%Y-%m-%d %H:%M:%S %z"
"""


def truth() -> pl.DataFrame:
    """Return all samples of an archive: one a minute of each tag, over the night in which the clock is set back."""
    times = pl.select(time=pl.datetime_range(CHANGE, CHANGE + (COUNT - 1) * MINUTE, "1m", time_unit="us")).to_series()
    parts = [
        pl.DataFrame(
            {"tag": tag, "timestamp": times, "value": pl.int_range(COUNT, eager=True).cast(pl.Float64) + number}
        )
        for number, tag in enumerate(TAGS)
    ]
    return pl.concat(parts).with_columns(text=pl.lit(None, pl.String), quality=pl.lit(0, pl.UInt32)).cast(SCHEMA)


class FramesArchive:
    """Pages of a bounded number of samples; the last sample of a page comes again with the next one."""

    def __init__(self, case: Case, rows: pl.DataFrame) -> None:
        self._case = case
        self._rows = rows.sort("timestamp", "tag")

    async def open(self) -> None:
        """See `Archive.open`."""

    async def close(self) -> None:
        """See `Archive.close`."""

    async def extents(self) -> Mapping[str, Extent]:
        """See `Archive.extents`."""
        return dict.fromkeys(TAGS, (CHANGE, CHANGE + COUNT * MINUTE))

    async def slice_starts(self, start: datetime, end: datetime) -> Sequence[datetime]:
        """See `ProposesSlices.slice_starts`."""
        return [start + number * (end - start) / self._case.slices for number in range(self._case.slices)]

    def concurrent_reads(self) -> int:
        """See `ReadsConcurrently.concurrent_reads`."""
        return self._case.workers

    async def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`."""
        near = pl.col("tag").is_in(tags) & pl.col("timestamp").is_between(start, end, closed="left")
        rows = self._rows.filter(near)
        for first in range(0, rows.height, self._case.page):
            yield Page(RawRows(rows[max(0, first - 1) : first + self._case.page]), origin=f"rows from {first}")


@dataclass
class Watched:
    """Another archive, with a step before each page and before each time it is opened."""

    inner: Archive
    step: Step

    async def open(self) -> None:
        """See `Archive.open`."""
        await self.inner.open()

    async def close(self) -> None:
        """See `Archive.close`."""
        await self.inner.close()

    async def extents(self) -> Mapping[str, Extent]:
        """See `Archive.extents`."""
        return await self.inner.extents()

    async def slice_starts(self, start: datetime, end: datetime) -> Sequence[datetime]:
        """See `ProposesSlices.slice_starts`."""
        starts: Sequence[datetime] = await self.inner.slice_starts(start, end)  # type: ignore[attr-defined]  # both do
        return starts

    def concurrent_reads(self) -> int:
        """See `ReadsConcurrently.concurrent_reads`."""
        allowed: int = self.inner.concurrent_reads()  # type: ignore[attr-defined]  # both do
        return allowed

    async def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`."""
        async for page in self.inner.read(tags, start, end):
            self.step()
            yield page
        self.step()


def write_plant(case: Case, directory: Path) -> Path:
    """Write a plant with the files of a case, and return its directory."""
    (directory / "old").mkdir(parents=True, exist_ok=True)
    (directory / "plant.toml").write_text(PLANT)
    (directory / "tags.csv").write_text("tag,asset,point,address\na,x,a,a\nb,x,b,b\n")
    rows, zone = truth().sort("timestamp", "tag"), ZoneInfo("Europe/Berlin")
    size = rows.height if case.source == "clock-change" else case.page
    for number, first in enumerate(range(0, rows.height, size)):
        part = rows[max(0, first - 1) : first + size]
        times = [f"{instant.astimezone(zone):%Y-%m-%d %H:%M:%S %z}" for instant in part["timestamp"]]
        table = part.select(timestamp=pl.Series(times), tag="tag", value="value")
        table.write_csv(directory / "old" / f"{number:03}.csv")
    return directory


def connection_of(case: Case, found: ConnectionConfig, step: Step) -> ConnectionConfig:
    """Return the archive of a case as a connection, with a step before each page."""
    inner = FramesArchive(case, truth()) if case.source == "frames" else open_archive(found)
    watched = Watched(inner, step)
    driver = Driver(options=BaseModel, address=BaseModel, archive=lambda _: watched)
    return replace(found, driver=driver)
