"""A backfill reads everything once, stores nothing twice, and resumes where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.run.backfill import ATTEMPTS, Backfill
from bridge.run.courtesy import Limits
from bridge.run.slices import SLICES, Slice, slices
from bridge.run.source_runner import SourceRunner
from historian.errors import AccessDenied, ConfigError, NotConnected, SourceError, StoreError, TagsNotRead
from historian.intervals import INTERVALS, intervals
from historian.plant.connections import ConnectionConfig
from historian.samples import SCHEMA
from historian.stores.memory import MemoryStore
from historian.stores.protocols import Reader

T0 = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 4, 1, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
Connections = Callable[..., ConnectionConfig]


def minutes(tag: str, first: int, count: int, *, plus: float = 0) -> pl.DataFrame:
    """A sample a minute whose value is its number plus `plus`."""
    rows = [(tag, T0 + number * MINUTE, number + plus, None, 0) for number in range(first, first + count)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def run(
    edge: Edge, store: Any, connection: ConnectionConfig, *, start: datetime | None = None, end: datetime | None = None
) -> Backfill:
    """Plans and runs a backfill."""
    backfill = Backfill(connection, edge, store, clock=lambda: NOW, wait=lambda _, __: 0.0)

    async def main() -> None:
        async with asyncio.timeout(30):
            await backfill.run(await backfill.plan(start, end), advance=lambda _: None)

    asyncio.run(main())
    return backfill


def stored(store: Reader) -> pl.DataFrame:
    """All samples in the store."""
    return pl.concat([SCHEMA.to_frame(), *store.read(["a", "b"], T0, NOW)]).sort("tag", "timestamp")


pieces = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 300), st.integers(0, 300)).map(lambda p: (p[0], *sorted(p[1:]))),
    max_size=6,
)


@given(pieces, st.integers(0, 250), st.integers(1, 300), st.sets(st.integers(0, 600), max_size=5))
def test_slices_hold_every_gap_and_nothing_that_all_tags_have(
    covered: list[tuple[str, int, int]], first: int, length: int, cuts: set[int]
) -> None:
    """Slices do not overlap, stay within the range, are cut where proposed, and contain a gap of each of their tags."""
    start, end = T0 + first * MINUTE, T0 + (first + length) * MINUTE
    known = [(tag, T0 + begin * MINUTE, T0 + stop * MINUTE) for tag, begin, stop in covered]
    open_ = {
        (tag, minute)
        for tag in "ab"
        for minute in range(first, first + length)
        if not any(tag == one and begin <= minute < stop for one, begin, stop in covered)
    }
    starts = [T0 + cut * MINUTE for cut in sorted(cuts)]
    frame = pl.DataFrame(known, schema=INTERVALS, orient="row")
    found = slices(frame, intervals(["a", "b"], start, end), starts=starts)
    read = [
        (tag, minute)
        for piece in found
        for tag in piece.tags
        for minute in range((piece.start - T0) // MINUTE, (piece.end - T0) // MINUTE)
    ]
    assert open_ <= set(read)
    assert len(read) == len(set(read))
    assert all(start <= piece.start < piece.end <= end for piece in found)
    assert [(piece, at) for piece in found for at in starts if piece.start < at < piece.end] == []
    needed = {(tag, piece.start) for piece in found for tag in piece.tags if _needs(piece, tag, open_)}
    assert needed == {(tag, piece.start) for piece in found for tag in piece.tags}


def _needs(piece: Slice, tag: str, open_: set[tuple[str, int]]) -> bool:
    return any((tag, minute) in open_ for minute in range((piece.start - T0) // MINUTE, (piece.end - T0) // MINUTE))


def test_a_range_is_cut_into_a_bounded_number_of_slices() -> None:
    """No slice is shorter than an hour, so that small archives are read in one request."""
    nothing = INTERVALS.to_frame()
    assert slices(nothing, intervals(["a"], T0, T0 + 30 * MINUTE)) == [Slice(T0, T0 + 30 * MINUTE, ("a",))]
    odd = 9999 * HOUR + timedelta(microseconds=1)
    assert len(slices(nothing, intervals(["a"], T0, T0 + odd))) == SLICES


def test_an_archive_comes_into_the_store_completely(edge: Edge, archived: Connections) -> None:
    """Every sample is stored, in any number of pages; the archive's whole time is then covered."""
    store = MemoryStore()
    frames = [minutes("a", 0, 100), minutes("b", 50, 100), minutes("a", 100, 50)]
    backfill = run(edge, store, archived("old", frames))
    assert_frame_equal(stored(store), pl.concat(frames).sort("tag", "timestamp"))
    assert backfill.link.written == 250
    covered = intervals(["a", "b"], T0, T0 + 149 * MINUTE + timedelta(microseconds=1))
    assert_frame_equal(Coverage(edge).of(["a", "b"], T0, NOW), covered)


def test_a_backfill_can_be_forced_to_read_again(edge: Edge, archived: Connections, make_archive: Any) -> None:
    """After an address was corrected or a file arrived late, covered time is read again."""
    store, archive = MemoryStore(), make_archive([minutes("a", 0, 30)])
    run(edge, store, archived("old", archive))
    task = Backfill(archived("old", archive), edge, store)
    assert asyncio.run(task.plan(None, None)) == []
    [whole] = asyncio.run(task.plan(None, None, again=True))
    assert (whole.start, whole.tags) == (T0, ("a",))


def test_a_second_backfill_reads_nothing(edge: Edge, archived: Connections, make_archive: Any) -> None:
    """A wider range reads only what is new, and never more than the archive has."""
    store, archive = MemoryStore(), make_archive([minutes("a", 0, 300), minutes("b", 0, 300)])
    run(edge, store, archived("old", archive), start=T0 + HOUR, end=T0 + 2 * HOUR)
    run(edge, store, archived("old", archive), start=T0 + HOUR, end=T0 + 2 * HOUR)
    run(edge, store, archived("old", archive), end=NOW)
    both, last = ("a", "b"), T0 + 299 * MINUTE + timedelta(microseconds=1)
    rest = [(both, T0 + hour * HOUR, min(T0 + (hour + 1) * HOUR, last)) for hour in (0, 2, 3, 4)]
    assert archive.requests == [(both, T0 + HOUR, T0 + 2 * HOUR), *rest]
    assert stored(store).height == 600


def test_what_live_samples_cover_is_not_read_again(edge: Edge, archived: Connections, make_archive: Any) -> None:
    """Coverage is used tag by tag."""
    archive = make_archive([minutes("a", 0, 60), minutes("b", 0, 60)])
    Coverage(edge).add(intervals(["a"], T0 + 30 * MINUTE, T0 + 90 * MINUTE))
    Coverage(edge).add(intervals(["b"], T0, T0 + 90 * MINUTE))
    run(edge, MemoryStore(), archived("old", archive))
    assert archive.requests == [(("a",), T0, T0 + 30 * MINUTE)]


@pytest.mark.parametrize(
    ("fails", "stored_first"),
    [
        (dict.fromkeys(range(2, 2 + ATTEMPTS), NotConnected("gone")), 120),
        ({2: SourceError("gone")}, 240),
        ({2: ZeroDivisionError("gone")}, 240),
    ],
)
def test_an_interrupted_backfill_resumes(
    edge: Edge, archived: Connections, make_archive: Any, fails: dict[int, Exception], stored_first: int
) -> None:
    """A lost archive ends it, a damaged part of one does not; the next run reads only what failed."""
    store, archive = MemoryStore(), make_archive([minutes("a", 0, 300)], fails=fails)
    with pytest.raises(SourceError, match="gone"):
        run(edge, store, archived("old", archive))
    assert stored(store).height == stored_first
    archive.requests.clear()
    run(edge, store, archived("old", archive))
    starts = [start for _, start, _ in archive.requests]
    assert starts == [T0 + hour * HOUR for hour in range(2, 7 - stored_first // 60)]
    assert_frame_equal(stored(store), minutes("a", 0, 300))


def test_an_archive_that_is_lost_for_a_while_is_opened_again(
    edge: Edge, archived: Connections, make_archive: Any
) -> None:
    """The slice is read again from its start; nothing is missing or in conflict."""
    frames = [minutes("a", 0, 100), minutes("a", 100, 100)]
    archive, store = make_archive(frames, fails={1: NotConnected("gone"), 2: NotConnected("gone")}), MemoryStore()
    backfill = run(edge, store, archived("old", archive))
    assert_frame_equal(stored(store), minutes("a", 0, 200))
    assert (archive.opened, archive.closed) == (3, 2)
    assert (backfill.ingest.conflicts, backfill.ingest.quarantined) == (0, 0)


def test_a_backfill_with_the_store_down_covers_nothing(edge: Edge, archived: Connections, make_store: Any) -> None:
    """It gives up after some attempts, says why, and the next run reads it again."""
    store, connection = make_store(), archived("old", [minutes("a", 0, 100)])
    store.down = True
    with pytest.raises(SourceError, match="archive old: waiting for the store, in vain: the store is down"):
        run(edge, store, connection)
    assert Coverage(edge).of(["a"], T0, NOW).is_empty()
    store.down = False
    run(edge, store, connection)
    assert_frame_equal(stored(store), minutes("a", 0, 100))


def test_samples_that_contradict_each_other_across_pages_are_conflicts(edge: Edge, archived: Connections) -> None:
    """The first page is kept, contradicting samples go to quarantine, repeats are ignored."""
    store = MemoryStore()
    frames = [minutes("a", 0, 10), minutes("a", 5, 10, plus=0.5), minutes("a", 0, 3), minutes("b", 5, 5)]
    backfill = run(edge, store, archived("old", frames))
    expected = pl.concat([minutes("a", 0, 10), minutes("a", 10, 5, plus=0.5), minutes("b", 5, 5)])
    assert_frame_equal(stored(store), expected)
    kept = Quarantine(edge).rows()
    assert_frame_equal(kept.select(SCHEMA.names()), minutes("a", 5, 5, plus=0.5))
    assert set(kept["origin"]) == {"frame 1"}
    assert (backfill.ingest.conflicts, backfill.ingest.quarantined) == (5, 5)


def test_a_live_source_cannot_be_backfilled(edge: Edge, live: Connections) -> None:
    """The error is raised before anything is read."""
    with pytest.raises(ConfigError, match="it cannot backfill"):
        Backfill(live("s", []), edge, MemoryStore())


class Locked:
    """A store that denies access to reads and writes."""

    def __init__(self, error: StoreError) -> None:
        self.error = error

    def write(self, batch: pl.DataFrame, *, source: str, now: datetime) -> None:
        """See `Sink.write`."""
        raise self.error

    def read(self, tags: list[str], start: datetime, end: datetime) -> Iterator[pl.DataFrame]:
        """See `Reader.read`."""
        raise self.error


def test_a_store_that_denies_access_ends_a_backfill(edge: Edge, archived: Connections) -> None:
    """Waiting would not help: a person must act."""
    with pytest.raises(AccessDenied, match="the token has expired; what was not written is read again"):
        run(edge, Locked(AccessDenied("the token has expired")), archived("old", [minutes("a", 0, 3000)]))
    assert Coverage(edge).of(["a"], T0, NOW).is_empty()


def test_a_tag_that_fails_leaves_the_others_covered(edge: Edge, archived: Connections, make_archive: Any) -> None:
    """The next backfill reads that tag alone."""
    frames, store = [minutes("a", 0, 30), minutes("b", 0, 30)], MemoryStore()
    archive = make_archive(frames, fails={1: TagsNotRead("b: gone", "b")})
    with pytest.raises(SourceError, match="b: gone"):
        run(edge, store, archived("old", archive))
    assert Coverage(edge).of(["a", "b"], T0, NOW)["tag"].to_list() == ["a"]
    archive.requests.clear()
    run(edge, store, archived("old", archive))
    assert [tags for tags, _, _ in archive.requests] == [("b",)]
    assert stored(store).height == 60


def test_several_workers_read_at_once_if_the_archive_allows_it(
    edge: Edge, archived: Connections, make_archive: Any
) -> None:
    """The newest slices first; every one is read once."""
    archive = make_archive([minutes("a", 0, 300)])
    archive.concurrent_reads = lambda: 2
    store = MemoryStore()
    backfill = Backfill(archived("old", archive), edge, store, limits=Limits(workers=3), clock=lambda: NOW)
    done: list[int] = []

    async def main() -> None:
        plan = await backfill.plan(None, None, order="newest")
        await backfill.run(plan, advance=done.append)

    asyncio.run(main())
    starts = [start for _, start, _ in archive.requests]
    assert starts == [T0 + hour * HOUR for hour in (4, 3, 2, 1, 0)]
    assert (done, stored(store).height) == ([1] * 5, 300)


def test_an_archive_cannot_be_streamed(edge: Edge, archived: Connections) -> None:
    """The error is raised before any connection opens."""
    with pytest.raises(ConfigError, match="it cannot stream"):
        SourceRunner(archived("old", [minutes("a", 0, 1)]), edge)
