"""What an outage cost is read from the history of the other side, where there is one; else it stays a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import BaseModel

from bridge.drivers.protocols import Driver, Page
from bridge.drivers.raw_rows import RawRows
from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from historian.errors import EndOfInput, NotConnected
from historian.plant.connections import ConnectionConfig, Tag
from historian.stores.memory import MemoryStore
from tests.bridge.run.scripted import DAY, SECOND, T0, Clock, bridge_of, raw, run, stored

INSTANT = timedelta(microseconds=1)


class Keys(BaseModel):
    """No keys."""


class Remembering:
    """A source that follows a script of frames, steps and errors; None waits until no outage is being filled."""

    longest_outage = DAY
    history_lag = timedelta(milliseconds=50)

    def __init__(self, script: Sequence[Any], history: pl.DataFrame, *, errors: Sequence[Exception] = ()) -> None:
        self.script = list(script)
        self.history = history
        self.errors = list(errors)
        self.ranges: list[tuple[datetime, datetime]] = []

    def complete_tags(self) -> Collection[str]:
        """Every change is reported."""
        return ("a", "b")

    async def connect(self) -> None:
        """Does nothing."""

    async def close(self) -> None:
        """Does nothing."""

    async def read(self) -> RawRows:
        """The next frame."""
        while self.script:
            line = self.script.pop(0)
            if isinstance(line, pl.DataFrame):
                return RawRows(line)
            if isinstance(line, Exception):
                raise line
            if line is None:
                while any(task.get_name() == "fill outage of s" for task in asyncio.all_tasks()):
                    await asyncio.sleep(0.01)
            else:
                line()
        raise EndOfInput("the script is over")

    async def read_missed(
        self, start: datetime, end: datetime, take: Callable[[Page], Awaitable[None]]
    ) -> Collection[str]:
        """Two rows a page; an error comes after the first page."""
        self.ranges.append((start, end))
        rows = self.history.filter(pl.col("timestamp").is_between(start, end, closed="left"))
        for page in rows.iter_slices(2):
            await take(Page(RawRows(page), "history"))
            if self.errors:
                raise self.errors.pop(0)
        return ["a"]


def streamed(edge: Edge, source: Remembering, tags: Sequence[Tag], directory: Path, clock: Clock) -> MemoryStore:
    """The store after the script."""
    store = MemoryStore()
    driver = Driver(options=Keys, address=Keys, source=lambda _: source)
    connection = ConnectionConfig("s", driver, Keys(), tuple(tags), Path())
    run(bridge_of(edge, store, [connection], directory, clock))
    return store


def good(store: MemoryStore, tag: str) -> list[float]:
    """Seconds of the Good samples of a tag."""
    rows = stored(store).filter(pl.col("tag") == tag, pl.col("quality") == 0)
    return [(at - T0) / SECOND for at in rows["timestamp"]]


def script(clock: Clock) -> list[Any]:
    """Values of two tags at 1 Hz, of which those from 4 to 59 are lost."""
    before = [step for s in (1, 2, 3) for step in (clock.at(s), raw(("a", s, s), ("b", s, s)))]
    after = [clock.at(60.5), raw(("a", 60, 60), ("b", 60, 60)), None, clock.at(61), raw(("a", 61, 61), ("b", 61, 61))]
    return [*before, clock.at(60), NotConnected("cut"), *after]


@pytest.fixture
def tags(make_tag: Callable[..., Tag]) -> list[Tag]:
    """Of which the first one has a history."""
    return [make_tag("a"), make_tag("b")]


def test_an_outage_is_filled_and_covered(edge: Edge, tags: list[Tag], tmp_path: Path) -> None:
    """From ten seconds before the source was last heard until now; a tag without history keeps its gap."""
    clock = Clock()
    source = Remembering(script(clock), raw(*(("a", s, s) for s in range(61))))
    store = streamed(edge, source, tags, tmp_path, clock)
    assert good(store, "a") == [float(s) for s in range(62)]
    assert good(store, "b") == [1.0, 2.0, 3.0, 60.0, 61.0]
    covered = Coverage(edge).of(["a", "b"], T0 - DAY, T0 + DAY)
    start, end = T0 - 7 * SECOND + INSTANT, T0 + 61 * SECOND + INSTANT
    assert covered.filter(tag="a").rows() == [("a", start, end)]
    assert covered.filter(tag="b").height == 2


def test_an_outage_that_cannot_be_filled_stays_a_gap(
    edge: Edge, tags: list[Tag], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was read is stored, but nothing of it counts as covered; the reason is logged, and live values go on."""
    clock = Clock()
    source = Remembering(script(clock), raw(*(("a", s, s) for s in range(61))), errors=[ValueError("broken")])
    store = streamed(edge, source, tags, tmp_path, clock)
    assert good(store, "a") == [0.0, 1.0, 2.0, 3.0, 60.0, 61.0]
    assert Coverage(edge).of(["a"], T0 - DAY, T0 + DAY).height == 2
    assert "an outage could not be filled from the history" in caplog.text
    assert "ValueError: broken" in caplog.text


def test_an_outage_is_filled_after_the_next_one_if_the_first_filling_was_cut_off(
    edge: Edge, tags: list[Tag], tmp_path: Path
) -> None:
    """From the earlier beginning."""
    clock = Clock()
    lines = [
        *script(clock),
        clock.at(90),
        NotConnected("again"),
        clock.at(90.5),
        raw(("a", 90, 90), ("b", 90, 90)),
        None,
    ]
    history = raw(*(("a", s, s) for s in range(91)))
    source = Remembering(lines, history, errors=[NotConnected("lost")])
    store = streamed(edge, source, tags, tmp_path, clock)
    assert good(store, "a") == [float(s) for s in range(91)]
    assert [start for start, _ in source.ranges] == [T0 - 7 * SECOND + INSTANT] * 2
    assert Coverage(edge).of(["a"], T0 - DAY, T0 + DAY).height == 1


def test_a_longer_outage_is_left_to_a_backfill(tags: list[Tag], tmp_path: Path) -> None:
    """Nor is anything read if filling is switched off, or if there was no outage."""
    clock = Clock()
    for longest, given in ((50 * SECOND, script(clock)), (timedelta(0), script(clock)), (DAY, script(clock)[:6])):
        source = Remembering(given, raw(("a", 30, 30)))
        source.longest_outage = longest
        clock.at(0)()
        directory = tmp_path / str(len(given)) / str(longest)
        directory.mkdir(parents=True)
        edge = Edge(directory / "edge.db")
        streamed(edge, source, tags, directory, clock)
        edge.close()
        assert source.ranges == []
