"""Stretches on their way through the bridge: live, from archives, across interruptions, and out of quarantine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bridge.drivers.raw_rows import RawRows
from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine, Selection
from bridge.ingest.validation import CONFLICT
from bridge.run.backfill import Backfill
from bridge.run.replay import Replayed, replay
from historian.errors import NotConnected
from historian.intervals import intervals
from historian.plant.connections import ConnectionConfig, Tag
from historian.quality import BAD_NOT_CONNECTED, UNCERTAIN_ENGINEERING_UNITS_EXCEEDED
from historian.status import StatusFile
from historian.stores.memory import MemoryStore
from historian.stores.protocols import Store
from historian.waveforms.encoding import HEADS, encode
from historian.waveforms.packing import unpack
from tests.bridge.run.scripted import DAY, SECOND, T0, Clock, Connections, bridge_of, raw, run

MICROSECOND = timedelta(microseconds=1)


def stretch(second: float, *values: float, tag: str = "w") -> pl.DataFrame:
    """A stretch at 100 Hz that begins at this second."""
    head = {"tag": [tag], "timestamp": [T0 + second * SECOND], "sample_rate": [100.0], "count": [len(values)]}
    return encode(pl.DataFrame({**head, "quality": [0]}, schema=HEADS), np.array(values))


def read(*stretches: pl.DataFrame) -> RawRows:
    """What a driver read."""
    return RawRows(waveforms=pl.concat(stretches))


def stored(store: Any) -> list[tuple[float, float, int]]:
    """(second, value, quality) of every sample of every stretch in the store."""
    rows = unpack(pl.concat(store.read_waveforms(["w"], T0 - DAY, T0 + DAY))).select("timestamp", "value", "quality")
    return [((time - T0) / SECOND, value, quality) for time, value, quality in rows.rows()]


@pytest.fixture
def tags(make_tag: Callable[..., Tag]) -> list[Tag]:
    """A vibration tag and a temperature."""
    return [make_tag("w", kind="vibration", sample_rate=100.0, range=(-10.0, 10.0)), make_tag("a")]


def test_stretches_are_streamed_with_their_counts_and_coverage(
    edge: Edge, live: Connections, tags: list[Tag], tmp_path: Path
) -> None:
    """The source covers what lies between its stretches; a rejected one is one row, and its samples are counted."""
    store, clock = MemoryStore(), Clock()
    lines = [
        clock.at(1),
        read(stretch(0.9, 1.0, 2.0)),
        clock.at(2),
        read(stretch(1, 3.0, 30.0), stretch(1e6, 5.0, 6.0)),
    ]
    connection = live("s", [*lines, raw(("a", 2, 7.0))], *tags)
    source = connection.driver.source(connection)  # type: ignore[attr-defined]  # a test's driver, not only its spec
    source.complete_tags = lambda: ("w",)
    report = run(bridge_of(edge, store, [connection], tmp_path, clock))
    marked = UNCERTAIN_ENGINEERING_UNITS_EXCEEDED
    assert stored(store) == [(0.9, 1.0, 0), (0.91, 2.0, 0), (1.0, 3.0, marked), (1.01, 30.0, marked)]
    assert (report.samples_streamed, report.samples_stored, report.quarantined) == (5, 5, 2)
    assert Quarantine(edge).counts().select("reason", "rows").rows() == [("timestamp more than a day in the future", 1)]
    covered = Coverage(edge).of(["w"], T0, T0 + DAY)
    assert_frame_equal(covered, intervals(["w"], T0, T0 + 1.01 * SECOND + MICROSECOND))
    [status] = StatusFile(tmp_path).bridge().sources
    assert (status.samples, status.quarantined) == (5, 2)


def test_an_outage_is_a_bad_sample_without_a_value(
    edge: Edge, live: Connections, tags: list[Tag], tmp_path: Path
) -> None:
    """It takes one period of the waveform, and what was measured meanwhile replaces it."""
    store, clock = MemoryStore(), Clock()
    lines = [clock.at(1), read(stretch(0.99, 1.0, 2.0)), NotConnected("cut"), clock.at(9), read(stretch(8, 3.0))]
    run(bridge_of(edge, store, [live("s", lines, *tags)], tmp_path, clock))
    [*_, (at, value, quality), last] = stored(store)
    assert (at, isnan(value), quality, last) == (1.01, True, BAD_NOT_CONNECTED, (8.0, 3.0, 0))
    run(bridge_of(edge, store, [live("t", [read(stretch(1.0, 2.0, 2.5))], *tags)], tmp_path, clock))
    assert stored(store) == [(0.99, 1.0, 0), (1.0, 2.0, 0), (1.01, 2.5, 0), (8.0, 3.0, 0)]


def backfilled(edge: Edge, store: Store, connection: ConnectionConfig) -> Backfill:
    """Plans and runs a backfill."""
    task = Backfill(connection, edge, store, clock=lambda: T0 + DAY, wait=lambda _, __: 0.0)

    async def main() -> None:
        async with asyncio.timeout(30):
            await task.run(await task.plan(T0, T0 + SECOND * 60), advance=lambda _: None)

    asyncio.run(main())
    return task


def test_pages_of_an_archive_that_contradict_each_other(edge: Edge, archived: Connections, tags: list[Tag]) -> None:
    """The first page is kept, whichever begins first; repeats are dropped, and continuations are stored."""
    store = MemoryStore()
    pages = [
        stretch(1, 1.0, 2.0, 3.0),
        pl.concat([stretch(0.99, 0.0, 1.0, 9.0), stretch(5, 5.0)]),  # begins earlier, and differs in one value
        pl.concat([stretch(1.01, 2.0, 3.0, 4.0), stretch(1, 1.0, 2.0, 3.0, tag="w")]),  # goes on; and a repeat
        raw(("w", 5, 6.0), ("w", 6, 7.0)),  # a row a sample
    ]
    task = backfilled(edge, store, archived("old", pages, *tags))
    assert [(at, value) for at, value, _ in stored(store)] == [
        *((1.0, 1.0), (1.01, 2.0), (1.02, 3.0), (1.03, 4.0)),
        *((5.0, 5.0), (6.0, 7.0)),
    ]
    kept = Quarantine(edge).rows().select("timestamp", "count", "reason").rows()
    assert kept == [(T0 + 0.99 * SECOND, 3, CONFLICT), (T0 + 5 * SECOND, 1, CONFLICT)]
    assert (task.ingest.conflicts, task.ingest.quarantined) == (4, 4)


class _Plant:
    """What a replay needs of a plant."""

    def __init__(self, **archives: ConnectionConfig) -> None:
        self.archives, self.sources = archives, dict[str, ConnectionConfig]()


def replayed(edge: Edge, store: Store, plant: Any, selection: Selection) -> Replayed:
    """The result of a replay."""
    return asyncio.run(replay(plant, edge, store, selection, now=T0 + DAY))


def test_stretches_are_replayed_once_the_contract_accepts_them(
    edge: Edge, archived: Connections, tags: list[Tag], make_tag: Callable[..., Tag]
) -> None:
    """Every sample of them; what is still rejected stays as it was, and no row is in both places."""
    store, numeric = MemoryStore(), [make_tag("w"), tags[1]]
    pages = [pl.concat([stretch(1, 1.0, 20.0), stretch(2, 3.0, tag="w")]), stretch(3, 4.0, 5.0, tag="w")]
    backfilled(edge, store, archived("old", pages, *numeric))
    before = Quarantine(edge).rows()
    assert before["reason"].unique().to_list() == ["a waveform for a tag of single samples"]
    assert replayed(edge, store, _Plant(old=archived("old", [], *numeric)), Selection()) == Replayed(0, 3, 0)
    assert_frame_equal(Quarantine(edge).rows(), before)
    assert replayed(edge, store, _Plant(old=archived("old", [], *tags)), Selection()) == Replayed(3, 0, 0)
    marked = UNCERTAIN_ENGINEERING_UNITS_EXCEEDED
    assert stored(store) == [(1.0, 1.0, marked), (1.01, 20.0, marked), (2.0, 3.0, 0), (3.0, 4.0, 0), (3.01, 5.0, 0)]
    assert Quarantine(edge).rows().is_empty()


def test_samples_of_a_tag_that_has_waveforms_now_are_replayed_as_stretches(
    edge: Edge, archived: Connections, tags: list[Tag], make_tag: Callable[..., Tag]
) -> None:
    """Vibration points have waveforms and nothing else."""
    store, narrow = MemoryStore(), [make_tag("w", range=(0.0, 1.0)), tags[1]]
    backfilled(edge, store, archived("old", [raw(("w", 1, 5.0), ("w", 1.01, 6.0))], *narrow))
    assert replayed(edge, store, _Plant(old=archived("old", [], *tags)), Selection()) == Replayed(2, 0, 0)
    assert stored(store) == [(1.0, 5.0, 0), (1.01, 6.0, 0)]


def test_a_contradiction_is_replayed_only_by_name_and_overwrites(
    edge: Edge, archived: Connections, tags: list[Tag]
) -> None:
    """The newest written stretch counts on its whole interval."""
    store = MemoryStore()
    backfilled(edge, store, archived("old", [pl.concat([stretch(1, 1.0, 2.0), stretch(1.01, 7.0, 8.0)])], *tags))
    plant = _Plant(old=archived("old", [], *tags))
    assert replayed(edge, store, plant, Selection()) == Replayed(0, 0, 0)
    assert replayed(edge, store, plant, Selection(reason=CONFLICT)) == Replayed(1, 0, 0)
    assert [(at, value) for at, value, _ in stored(store)] == [(1.0, 1.0), (1.01, 7.0), (1.02, 8.0)]
