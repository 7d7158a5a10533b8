"""Fixtures of the bridge's tests: an edge database, tags, and connections with scripted sources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import BaseModel

from bridge.drivers.protocols import Driver, Page
from bridge.drivers.raw_rows import RawRows
from bridge.edge.database import Edge
from historian.errors import EndOfInput, InvalidBatch, StoreUnavailable
from historian.plant.connections import ConnectionConfig, Tag
from historian.samples import SampleBatch
from historian.stores.memory import MemoryStore
from historian.waveforms.batch import WAVEFORM_SCHEMA, WaveformBatch


class NoOptions(BaseModel):
    """A driver without keys or columns of its own."""


ANY_TAG = Tag(
    name="t",
    asset="a",
    point="p",
    kind="process",
    unit="",
    sample_rate=None,
    range=None,
    max_staleness=timedelta(minutes=10),
    address="1",
    scale=1,
    offset=0,
    options=NoOptions(),
)


class ScriptedSource:
    """A source that reports every change and follows a script.

    Rows are returned, an error raised, an event waited for, a function called; then the source ends.
    """

    def __init__(
        self, script: Sequence[pl.DataFrame | RawRows | Exception | asyncio.Event | Callable[[], None]]
    ) -> None:
        self.script = list(script)
        self.connections = 0
        self.closed = 0
        self.close_error: Exception | None = None

    def complete_tags(self) -> Collection[str]:
        """See `ReportsEveryChange.complete_tags`."""
        return ("a", "b")

    async def connect(self) -> None:
        """Counts."""
        self.connections += 1

    async def read(self) -> RawRows:
        """The next line; a frame is one of samples."""
        line = self.script.pop(0) if self.script else EndOfInput("the script is over")
        if isinstance(line, asyncio.Event):
            await line.wait()
            return await self.read()
        if callable(line):
            line()
            return await self.read()
        if isinstance(line, Exception):
            raise line
        return line if isinstance(line, RawRows) else RawRows(line)

    async def close(self) -> None:
        """Counts; fails if the test wants it."""
        self.closed += 1
        if self.close_error is not None:
            raise self.close_error


class FrameArchive:
    """An archive over frames, a page each; records every request, and can fail once in place of a page.

    A frame with the columns of `WAVEFORM_SCHEMA` is one of stretches, which stand in the range by their first sample.
    """

    def __init__(self, frames: Sequence[pl.DataFrame], *, fails: Mapping[int, Exception] | None = None) -> None:
        self.frames = list(frames)
        self.fails = dict(fails or {})
        self.requests: list[tuple[tuple[str, ...], datetime, datetime]] = []
        self.served = 0
        self.opened = self.closed = 0

    async def open(self) -> None:
        """Count."""
        self.opened += 1

    async def close(self) -> None:
        """Count."""
        self.closed += 1

    async def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`."""
        self.requests.append((tuple(tags), start, end))
        within = pl.col("tag").is_in(tags) & pl.col("timestamp").is_between(start, end, closed="left")
        for number, frame in enumerate(self.frames):
            page = frame.filter(within)
            if page.is_empty():
                continue
            failure = self.fails.pop(self.served, None)
            self.served += 1
            if failure:
                raise failure
            rows = RawRows(waveforms=page) if page.schema == WAVEFORM_SCHEMA else RawRows(page)
            yield Page(rows, origin=f"frame {number}")

    async def extents(self) -> dict[str, tuple[datetime, datetime]]:
        """See `Archive.extents`."""
        times = (
            pl.concat([frame.select("tag", "timestamp") for frame in self.frames])
            .group_by("tag")
            .agg(first=pl.col("timestamp").min(), last=pl.col("timestamp").max())
        )
        return {tag: (first, last + timedelta(microseconds=1)) for tag, first, last in times.rows()}


class FlakyStore:
    """A store in memory that can be down, and that refuses samples with certain values, and stretches with such a
    highest value; records write sizes, in samples.
    """

    def __init__(self, *refused: float) -> None:
        self.memory = MemoryStore()
        self.refused = refused
        self.down = False
        self.writes: list[int] = []

    def write(self, batch: SampleBatch, *, source: str, now: datetime) -> None:
        """See `Sink.write`."""
        self._check(batch["value"])
        self.writes.append(batch.height)
        self.memory.write(batch, source=source, now=now)

    def write_waveforms(self, batch: WaveformBatch, *, source: str, now: datetime) -> None:
        """See `Sink.write_waveforms`."""
        self._check(batch["high"])
        self.writes.append(int(batch["count"].sum()))
        self.memory.write_waveforms(batch, source=source, now=now)

    def _check(self, values: pl.Series) -> None:
        if self.down:
            raise StoreUnavailable("the store is down")
        refused = values.is_in(self.refused)
        if refused.any():
            raise InvalidBatch(f"{refused.sum()} of {len(values)} values are refused")

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """See `Reader.read`."""
        return self.memory.read(tags, start, end)

    def read_waveforms(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[WaveformBatch]:
        """See `Reader.read_waveforms`."""
        return self.memory.read_waveforms(tags, start, end)

    def latest(self, tags: Sequence[str]) -> SampleBatch:
        """See `Reader.latest`."""
        return self.memory.latest(tags)

    def changes(self, since: datetime | None) -> pl.DataFrame:
        """See `Reader.changes`."""
        return self.memory.changes(since)


@pytest.fixture
def make_store() -> Callable[..., FlakyStore]:
    """The class, which a test cannot import from here."""
    return FlakyStore


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    """An empty edge database."""
    database = Edge(tmp_path / "edge.db")
    yield database
    database.close()


@pytest.fixture
def make_tag() -> Callable[..., Tag]:
    """Makes a numeric tag, with whatever is given changed."""

    def make(name: str, **changes: Any) -> Tag:
        return Tag(**{**vars(ANY_TAG), "name": name, **changes})

    return make


@pytest.fixture
def live(make_tag: Callable[..., Tag]) -> Callable[..., ConnectionConfig]:
    """Makes a connection whose source follows the script given."""

    def make(name: str, lines: Sequence[Any], *tags: Tag) -> ConnectionConfig:
        source = ScriptedSource(lines)
        driver = Driver(options=NoOptions, address=NoOptions, source=lambda _: source)
        return ConnectionConfig(name, driver, NoOptions(), tags or (make_tag("a"), make_tag("b")), Path())

    return make


@pytest.fixture
def archived(make_tag: Callable[..., Tag]) -> Callable[..., ConnectionConfig]:
    """Makes a connection to the archive given, or to an archive of the frames given."""

    def make(name: str, archive: FrameArchive | Sequence[pl.DataFrame], *tags: Tag) -> ConnectionConfig:
        held = archive if isinstance(archive, FrameArchive) else FrameArchive(archive)
        driver = Driver(options=NoOptions, address=NoOptions, archive=lambda _: held)
        return ConnectionConfig(name, driver, NoOptions(), tags or (make_tag("a"), make_tag("b")), Path())

    return make


@pytest.fixture
def make_archive() -> Callable[..., FrameArchive]:
    """The class, which a test cannot import from here."""
    return FrameArchive
