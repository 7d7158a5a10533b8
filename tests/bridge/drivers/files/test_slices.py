"""The slices in which a backfill reads files: each table is parsed once, and an interruption costs one slice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bridge.drivers.files.archive import FilesArchive
from bridge.drivers.files.layout import MOST_SLICES, Span, starts_between
from bridge.drivers.protocols import Driver, Page
from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.run.backfill import Backfill
from bridge.run.slices import Slice
from historian.errors import SourceError
from historian.plant.load import load_plant
from historian.samples import SCHEMA
from historian.stores.memory import MemoryStore
from tests.bridge.drivers.files.exports import BEGINNING, END, archive_of, bursts_of, plant_of

T0 = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 9, 1, tzinfo=UTC)
HOUR, MICROSECOND = timedelta(hours=1), timedelta(microseconds=1)
Delivers = Callable[[str], None]


class Watched(FilesArchive):
    """The archive, with a function that is called whenever a file has been parsed from its beginning."""

    delivers: Delivers

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`."""
        return self._watched(super().read(tags, start, end))

    async def _watched(self, pages: AsyncGenerator[Page]) -> AsyncGenerator[Page]:
        begun = set[str]()
        async with aclosing(pages):
            async for page in pages:
                if page.origin not in begun:
                    begun.add(page.origin)
                    self.delivers(page.origin)
                yield page


def export(directory: Path, *hours: range) -> Path:
    """A plant with a CSV file for each range of hours, of one sample an hour: its number."""
    plant_of(directory, {"t": 1}, "path = 'old/*.csv'\nlayout = 'long'", kind="process")
    (directory / "old").mkdir()
    for number, each in enumerate(hours):
        rows = [f"{(T0 + hour * HOUR).isoformat()},t,{hour}" for hour in each]
        (directory / "old" / f"{number}.csv").write_text("\n".join(["timestamp,tag,value", *rows, ""]))
    return directory


def backfill(plant: Path, edge: Edge, store: MemoryStore, delivers: Delivers) -> list[Slice]:
    """Plans and runs a backfill; returns its plan."""
    connection = load_plant(plant).archives["case"]
    watched = Watched(connection)
    watched.delivers = delivers
    driver = replace(cast(Driver, connection.driver), archive=lambda _: watched)
    task = Backfill(replace(connection, driver=driver), edge, store, clock=lambda: NOW, wait=lambda _, __: 0.0)

    async def main() -> list[Slice]:
        async with asyncio.timeout(30):
            plan = await task.plan(None, None)
            await task.run(plan, advance=lambda _: None)
            return plan

    return asyncio.run(main())


def hourly(hours: range) -> pl.DataFrame:
    """The samples of an export."""
    return pl.DataFrame([("t", T0 + hour * HOUR, float(hour), None, 0) for hour in hours], schema=SCHEMA, orient="row")


def stored(store: MemoryStore) -> pl.DataFrame:
    """Everything in the store."""
    return pl.concat([SCHEMA.to_frame(), *store.read(["t"], BEGINNING, END)]).sort("timestamp")


@pytest.mark.parametrize("hours", [[range(2000)], [range(700), range(700, 1400), range(1400, 2000)]])
def test_a_backfill_parses_each_table_once(edge: Edge, tmp_path: Path, hours: list[range]) -> None:
    """However long it is; a slice holds one file."""
    parsed, store = Counter[str](), MemoryStore()
    plan = backfill(export(tmp_path / "plant", *hours), edge, store, lambda name: parsed.update([name]))
    assert parsed == {f"old/{number}.csv": 1 for number in range(len(hours))}
    assert [piece.start for piece in plan] == [T0 + each[0] * HOUR for each in hours]
    assert_frame_equal(stored(store), hourly(range(2000)))


def test_files_of_the_same_time_share_a_slice(edge: Edge, tmp_path: Path) -> None:
    """They would be parsed twice otherwise."""
    parsed, store = Counter[str](), MemoryStore()
    plant = export(tmp_path / "plant", range(0, 300, 2), range(1, 300, 2), range(400, 500))
    plan = backfill(plant, edge, store, lambda name: parsed.update([name]))
    assert [piece.start for piece in plan] == [T0, T0 + 400 * HOUR]
    assert set(parsed.values()) == {1}


def test_an_interrupted_backfill_goes_on_with_the_file_it_was_reading(edge: Edge, tmp_path: Path) -> None:
    """The files before it are covered, and not parsed again."""
    parsed, store = Counter[str](), MemoryStore()
    plant = export(tmp_path / "plant", range(200), range(200, 400), range(400, 600))

    def breaks(name: str) -> None:
        parsed.update([name])
        if name == "old/1.csv":
            raise SourceError("the folder was unplugged")

    with pytest.raises(SourceError, match="unplugged"):
        backfill(plant, edge, store, breaks)
    [before, after] = Coverage(edge).of(["t"], T0, NOW).select("start", "end").rows()
    assert before == (T0, T0 + 200 * HOUR)
    assert after == (T0 + 400 * HOUR, T0 + 599 * HOUR + MICROSECOND)
    assert parsed == {"old/0.csv": 1, "old/1.csv": 1, "old/2.csv": 1}
    backfill(plant, edge, store, lambda name: parsed.update([name]))
    assert parsed == {"old/0.csv": 1, "old/1.csv": 2, "old/2.csv": 1}
    assert_frame_equal(stored(store), hourly(range(600)))


def test_waveforms_are_read_in_slices_of_equal_length(tmp_path: Path) -> None:
    """Of a file only the bursts of a slice are read, so that nothing is proposed."""
    plant = plant_of(tmp_path, {"de": 1000.0}, "path = '*.parquet'\nlayout = 'waveform'")
    bursts_of(T0, T0 + HOUR, samples=[[1.0], [2.0]]).write_parquet(plant / "b.parquet")
    assert asyncio.run(archive_of(plant).slice_starts(T0, NOW)) == []


spans = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 8)), min_size=1, max_size=200)


@given(spans)
@example([(0, 8), (1, 1), (3, 1)])
def test_no_proposed_slice_begins_inside_a_file(files: list[tuple[int, int]]) -> None:
    """Each file lies in one slice, and there are never more than 4,096."""
    known = [Span(T0 + first * HOUR, T0 + (first + length) * HOUR) for first, length in files]
    starts = starts_between(known)
    assert starts == sorted(set(starts))
    assert len(starts) <= MOST_SLICES
    assert starts[0] == min(known).earliest
    assert [(span, start) for span in known for start in starts if span.earliest < start <= span.latest] == []


def test_a_slice_is_a_file_unless_there_are_thousands() -> None:
    """Files apart from each other have a slice each; of more than 4,096, neighbours share one."""
    known = [Span(T0 + number * HOUR, T0 + number * HOUR) for number in range(MOST_SLICES + 1)]
    assert starts_between(known[:-1]) == [span.earliest for span in known[:-1]]
    assert starts_between(known) == [span.earliest for span in known[::2]]
