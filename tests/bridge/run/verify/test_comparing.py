"""Verification finds exactly what differs, by tag and day, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.drivers.protocols import Page
from bridge.drivers.raw_rows import RawRows
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.edge.quarantine_rows import rejected
from historian.errors import NotConnected, SourceError
from historian.quality import BAD_NO_DATA
from historian.stores.memory import MemoryStore
from historian.times import micros
from historian.waveforms.batch import WaveformBatch
from tests.bridge.run.verify.scene import (
    MINUTE,
    NOW,
    T0,
    Connections,
    Row,
    compared,
    connected,
    frame,
    minutes,
    stored,
    wave,
)

samples = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.integers(0, 5), st.sampled_from([1.5, -0.0, 0.0, None]), st.sampled_from([0, 64])
    ),
    max_size=12,
    unique_by=lambda row: row[:2],
)
"""Few values, times and qualities, so that both sides often agree; the second one begins the next day."""


def _spread(rows: list[Row]) -> list[Row]:
    """Two samples an hour apart before midnight, the others after it."""
    return [(tag, 60 * at, value, quality if value is not None else BAD_NO_DATA) for tag, at, value, quality in rows]


def _by_brute_force(ours: list[Row], theirs: list[Row]) -> dict[tuple[str, date], tuple[int, int, int]]:
    """Missing, extra and changed samples of each tag and day on which a side has any."""
    source, store = ({row[:2]: (repr(row[2]), row[3]) for row in rows} for rows in (ours, theirs))
    found: dict[tuple[str, date], list[int]] = {}
    for tag, minute in {*source, *store}:
        counts = found.setdefault((tag, (T0 + minute * MINUTE).date()), [0, 0, 0])
        one, other = source.get((tag, minute)), store.get((tag, minute))
        kind = 0 if other is None else 1 if one is None else 2
        counts[kind] += one != other
    return {key: (counts[0], counts[1], counts[2]) for key, counts in found.items()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(samples, samples, st.integers(1, 4), st.randoms(use_true_random=False))
def test_exactly_the_tags_and_days_that_differ_are_found(
    edge: Edge, archived: Connections, ours: list[Row], theirs: list[Row], pages: int, random: Any
) -> None:
    """Whatever the order and repeats of the source's pages, and however few samples may be in memory."""
    ours, theirs = _spread(ours), _spread(theirs)
    shuffled = [*ours, *ours[:3]]
    random.shuffle(shuffled)
    parts = [frame(shuffled[number::pages]) for number in range(pages)]
    results = compared(archived("old", parts), edge, stored(frame(theirs)), most=3).results.days
    found = {(key.tag, key.start.date()): (day.missing, day.extra, day.changed) for key, day in results.items()}
    assert found == _by_brute_force(ours, theirs)
    same = {key for key, counts in found.items() if not any(counts)}
    by_hash = {key for key, day in results.items() if day.source.summary() == day.store.summary()}
    assert {(key.tag, key.start.date()) for key in by_hash} == same


def test_what_ingest_rejects_is_no_difference_but_counted(edge: Edge, archived: Connections, make_tag: Any) -> None:
    """Samples outside the range, contradictions within the source, and what the store refused: it is in quarantine."""
    tag = make_tag("a", range=(0, 100), scale=2.0)
    rows = [*minutes("a", 0, 20), ("a", 30, 99.0, 0), ("a", 5, 17.0, 0)]
    store = stored(frame([(name, minute, 2.0 * float(minute), 0) for name, minute, _, _ in minutes("a", 0, 19)]))
    refused = frame([("a", 19, 38.0, 0)])
    Quarantine(edge).add(rejected(refused, "refused by the store"), source="old", origin="", now=NOW)
    [(_, day)] = compared(archived("old", [frame(rows)], tag), edge, store).results.days.items()
    assert (day.is_equal, day.quarantined, day.source.summary().count) == (True, 3, 19)


def test_a_deletion_at_the_source_is_found_beyond_its_new_end(edge: Edge, archived: Connections) -> None:
    """What was once written from the archive bounds the range, not only what the archive still has."""
    store = stored(frame(minutes("a", 0, 300)))
    days = compared(archived("old", [frame(minutes("a", 50, 100))]), edge, store).results.days
    assert {key.start.date().day: day.extra for key, day in days.items()} == {1: 50, 2: 150}


def test_a_part_that_cannot_be_read_is_named_and_stops_nothing(
    edge: Edge, archived: Connections, make_archive: Any
) -> None:
    """It proves nothing, so it is no difference either; a lost connection is made again."""
    both = [*minutes("a", 0, 60), *minutes("a", 240, 60)]
    archive = make_archive([frame(both)], fails={0: SourceError("page 0 is damaged")})
    found = compared(archived("old", archive), edge, stored(frame(both)))
    assert [(task.start, reason) for task, reason in found.failures] == [(T0, "page 0 is damaged")]
    assert {key.start.date().day: day.is_equal for key, day in found.results.days.items()} == {2: True}
    flaky = make_archive([frame(both)], fails={0: NotConnected("gone")})
    again = compared(archived("old", flaky), edge, stored(frame(both)))
    assert (again.failures, again.samples, flaky.opened) == ([], 120, 2)


MIDNIGHT = datetime(2026, 3, 2, tzinfo=T0.tzinfo)
RATE = 25_600.0  # its period is no whole number of microseconds


def _waves(*parts: tuple[int, int], plus: float = 0) -> WaveformBatch:
    """Stretches of a continuous signal from sample to sample, each with its own rounding of the first time."""
    start = datetime(2026, 3, 1, 23, 59, 59, tzinfo=T0.tzinfo)
    stretches = (
        wave(
            "a",
            start + timedelta(microseconds=round(first * 1e6 / RATE)),
            [n % 97 + plus for n in range(first, last)],
            RATE,
        )
        for first, last in parts
    )
    return WaveformBatch(pl.concat(stretches))


@pytest.mark.parametrize("most", [100_000, 20_000])
def test_waveforms_are_equal_however_they_are_cut(edge: Edge, archived: Connections, make_tag: Any, most: int) -> None:
    """Across midnight, with other borders of stretches and other roundings of times on either side."""
    tag = make_tag("a", kind="vibration", sample_rate=RATE)
    store = MemoryStore(page_rows=9_999)
    for number in range(7):
        store.write_waveforms(_waves((number * 7_777, min((number + 1) * 7_777, 51_200))), source="old", now=NOW)
    source = archived("old", [_waves(*((first, first + 5_120) for first in range(0, 51_200, 5_120)))], tag)
    found = compared(source, edge, store, most=most)
    assert {key.start.date().day: day.is_equal for key, day in found.results.days.items()} == {1: True, 2: True}
    assert all(day.source.summary().sha256 == day.store.summary().sha256 for day in found.results.days.values())
    assert sum(day.source.summary().count for day in found.results.days.values()) == 51_200


def test_a_lost_and_a_changed_sample_of_a_waveform_are_found(edge: Edge, archived: Connections, make_tag: Any) -> None:
    """To the sample."""
    tag = make_tag("a", kind="vibration", sample_rate=RATE)
    store = MemoryStore()
    for part in (_waves((0, 999)), _waves((1_000, 2_000)), _waves((2_000, 2_001), plus=1), _waves((2_001, 5_120))):
        store.write_waveforms(part, source="old", now=NOW)
    days = compared(archived("old", [_waves((0, 5_120))], tag), edge, store, most=100_000).results.days
    [day] = days.values()
    assert (day.missing, day.extra, day.changed) == (1, 0, 1)
    first = micros(datetime(2026, 3, 1, 23, 59, 59, tzinfo=T0.tzinfo))
    assert day.span == (first + round(999e6 / RATE), first + round(2_000e6 / RATE))


class Rerounded:
    """An archive of a waveform with a sample at midnight, whose time it rounds down or, read from there, up."""

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def extents(self) -> dict[str, tuple[datetime, datetime]]:
        """A second on either side of midnight."""
        return {"a": (MIDNIGHT - timedelta(seconds=1), MIDNIGHT + timedelta(seconds=1))}

    async def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """A stretch of a hundred samples on each side."""
        late = timedelta(microseconds=self.up if start > MIDNIGHT - timedelta(seconds=1) else 1 - self.up)
        first = MIDNIGHT - timedelta(microseconds=1) + late - timedelta(microseconds=4_000)
        yield Page(RawRows(waveforms=wave("a", first, list(range(200)), 25_000.0)), "a stretch")

    def __init__(self, up: int) -> None:
        self.up = up


@pytest.mark.parametrize("up", [0, 1])
def test_a_sample_at_the_border_of_two_slices_counts_once(edge: Edge, make_tag: Any, up: int) -> None:
    """Whichever way either slice rounds its time."""
    tag = make_tag("a", kind="vibration", sample_rate=25_000.0)
    store = MemoryStore()
    first = MIDNIGHT - timedelta(microseconds=4_000)
    store.write_waveforms(wave("a", first, list(range(200)), 25_000.0), source="old", now=NOW)
    days = compared(connected(Rerounded(up), tag), edge, store, most=1_000).results.days
    assert [day.is_equal for day in days.values()] == [True, True]
    assert sum(day.source.summary().count for day in days.values()) == 200
