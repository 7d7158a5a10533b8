"""In any order of arrival, and wherever a run dies, the newest rows are those of a single complete run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from features.compute.run import compute
from features.tables.feature_table import FeatureTable
from historian.errors import StoreUnavailable
from historian.plant.plant import View
from historian.quality import BAD
from historian.samples import SampleBatch
from historian.stores.memory import MemoryStore
from historian.times import micros
from historian.waveforms.batch import WaveformBatch
from tests.features.compute.pumps import (
    BURST,
    EPOCH,
    NOW,
    PROCESS,
    SECOND,
    START,
    at,
    at_once,
    batch,
    newest,
    plant,
    signal,
    stored,
    write,
)

Batch = TypeVar("Batch", SampleBatch, WaveformBatch)
HOLDS = View("pump_holds", "pump", ("oil_temp",), "process", 4 * SECOND, 2 * SECOND, "epoch", None)


def second(*seconds: float) -> list[int]:
    """Seconds after START in microseconds since the epoch."""
    return [micros(START) + round(each * 1e6) for each in seconds]


@pytest.mark.parametrize(
    ("view", "early", "late"),
    [
        (
            BURST,
            [signal("p1.de_h", 0, 0.2), signal("p1.de_h", 0.3, 0.2), signal("p1.de_h", 10, 0.5)],
            signal("p1.de_h", 0.2, 0.1),
        ),
        (BURST, [signal("p1.de_h", 0.3, 2)], signal("p1.de_h", 0, 0.3)),
        (
            HOLDS,
            [batch("p1.oil_temp", second(1.5, 20), [50, 50])],
            batch("p1.oil_temp", second(1.8), [None], quality=BAD),
        ),
    ],
    ids=["two pieces of a burst joined", "head of a burst backfilled", "hold ended"],
)
def test_rows_of_windows_that_no_longer_exist_are_withdrawn(
    tmp_path: Path, view: View, early: list[SampleBatch], late: SampleBatch
) -> None:
    """The remaining rows are those of a single complete run; Delta's history has the withdrawn rows."""
    store, site = MemoryStore(), plant(tmp_path, view)
    for each in early:
        write(store, each, source="live", now=NOW)
    compute(site, store, at(NOW))
    before = newest(site, view)
    write(store, late, source="late", now=NOW)
    compute(site, store, at(NOW + SECOND))
    after = at_once([*early, late], view)
    assert_frame_equal(newest(site, view), after)
    assert not before.join(after, on=["asset", "event_timestamp"], how="anti").is_empty()
    history = pl.read_delta(str(FeatureTable(site, view).path), version=1)
    assert history.height == before.height


def test_the_burst_before_a_change_keeps_its_row(tmp_path: Path) -> None:
    """Its window, which is longer than it, may end just where the burst that changed begins, or inside it."""
    for number, start in enumerate((0.25, 0.4)):
        batches = [signal("p1.de_h", start, 0.25), signal("p1.de_h", 0.75, 1), signal("p1.de_h", 1.75, 0.5)]
        store, site = MemoryStore(), plant(tmp_path / str(number), BURST)
        for each in batches:
            write(store, each, source="live", now=NOW)
            compute(site, store, at(NOW))
        assert_frame_equal(newest(site, BURST), at_once(batches, BURST))


class Failing:
    """A store that becomes unavailable after some pages."""

    def __init__(self, store: MemoryStore, pages: int) -> None:
        self.store = store
        self.pages = pages
        self.write, self.write_waveforms = store.write, store.write_waveforms
        self.extremes, self.gaps = store.extremes, store.gaps

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """Yields the remaining pages, then fails."""
        yield from self._while_it_lasts(self.store.read(tags, start, end))

    def read_waveforms(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[WaveformBatch]:
        """The same of waveforms."""
        yield from self._while_it_lasts(self.store.read_waveforms(tags, start, end))

    def _while_it_lasts(self, pages: Iterator[Batch]) -> Iterator[Batch]:
        for page in pages:
            if self.pages == 0:
                raise StoreUnavailable("the store is gone")
            self.pages -= 1
            yield page

    def latest(self, tags: Sequence[str]) -> SampleBatch:
        """Returns the newest samples."""
        return self.store.latest(tags)

    def changes(self, since: datetime | None) -> pl.DataFrame:
        """Returns the ledger rows."""
        return self.store.changes(since)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=3), st.sampled_from([EPOCH, BURST, PROCESS]))
@settings(max_examples=6)
def test_a_run_that_dies_leaves_no_trace(deaths: list[int], view: View) -> None:
    """After a rerun the rows are those of a run that did not die, wherever and however often it died."""
    period = 1.0 if view is PROCESS else 0.001
    tags = [f"{asset}.{point}" for asset in ("p1", "p2") for point in view.points]
    batches = [signal(tag, 0.3, 4000 * period, period=period) for tag in tags]
    with TemporaryDirectory() as dying, TemporaryDirectory() as living:
        store, victim, other = MemoryStore(page_rows=1500), plant(Path(dying), view), plant(Path(living), view)
        for each in batches:
            write(store, each, source="live", now=NOW)
        for pages in deaths:
            try:
                compute(victim, Failing(store, pages), at(NOW), rows_per_commit=2)
            except StoreUnavailable:
                continue
        compute(victim, store, at(NOW), rows_per_commit=2)
        compute(other, store, at(NOW))
        assert_frame_equal(stored(victim, view), stored(other, view))


@st.composite
def arrivals(draw: st.DrawFn) -> list[list[tuple[str, float, float, int]]]:
    """Runs of the job: for each, the intervals (tag, start, seconds, quality) that arrived before it, in any order."""
    tag, start = st.sampled_from(["p1.a", "p1.b", "p2.a"]), st.integers(0, 48).map(lambda quarter: quarter / 4)
    interval = st.tuples(tag, start, st.sampled_from([0.25, 1.0, 2.1, 4.0]), st.sampled_from([0, 0, 0, BAD]))
    return draw(st.lists(st.lists(interval, max_size=3), min_size=2, max_size=5))


@given(arrivals(), st.sampled_from([EPOCH, BURST, PROCESS]), st.sampled_from([700, 10**6]))
@settings(max_examples=8)
def test_any_order_of_arrival_leads_to_the_same_newest_rows(
    arrived: list[list[tuple[str, float, float, int]]], view: View, page_rows: int
) -> None:
    """Samples arrive live, late or as backfill between runs: the newest rows are those of a single complete run."""
    scale = 5.0 if view is PROCESS else 1.0
    names = dict(zip("ab", view.points, strict=True))
    batches: list[SampleBatch] = []
    with TemporaryDirectory() as root:
        store, site = MemoryStore(page_rows=page_rows), plant(Path(root), view)
        for number, intervals in enumerate(arrived):
            for tag, start, seconds, quality in intervals:
                name, period = f"{tag[:-1]}{names[tag[-1]]}", 0.7 if view is PROCESS else 0.001
                batches.append(signal(name, start * scale, seconds * scale, period=period, quality=quality))
                write(store, batches[-1], source="test", now=NOW)
            compute(site, store, at(NOW + number * SECOND))
        assert_frame_equal(newest(site, view), at_once(batches, view))


@given(
    st.lists(st.sampled_from([0.1, 0.5, 0.75, 1.3]), min_size=1, max_size=8), st.lists(st.integers(1, 7), max_size=4)
)
@settings(max_examples=8)
def test_bursts_that_arrive_in_pieces_are_tiled_as_one(lengths: list[float], runs: list[int]) -> None:
    """Windows start where the burst starts, for any division into batches and any times of the runs."""
    batches, start = [], 0.0
    for length in lengths:
        batches += [signal("p1.de_h", start, length / 2), signal("p1.de_h", start + length / 2, length / 2)]
        start += length + 2
    with TemporaryDirectory() as root:
        store, site = MemoryStore(page_rows=700), plant(Path(root), BURST)
        for number, each in enumerate(batches):
            write(store, each, source="test", now=NOW)
            if number in runs:
                compute(site, store, at(NOW + number * SECOND))
        compute(site, store, at(NOW + 100 * SECOND))
        assert_frame_equal(newest(site, BURST), at_once(batches, BURST))
