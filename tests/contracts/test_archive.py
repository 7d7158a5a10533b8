"""The archive contract: what `bridge.drivers.protocols` promises, held against every archive Penstock ships."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import NamedTuple, TypeVar, cast

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bridge.drivers.protocols import Archive, Extent, Page, ProposesSlices, ReportsProblems, open_archive
from historian.errors import NotConnected
from historian.plant.connections import ConnectionConfig
from historian.samples import SCHEMA
from tests.contracts.archive_kinds import HARNESSES, SERVERS, kinds
from tests.contracts.archives import (
    ABSENT,
    CHANGED,
    GRADED,
    NIGHT,
    NUMBERS,
    OLD,
    SECOND,
    T0,
    ArchiveHarness,
    ServerHarness,
    history_of,
)

EVER = (datetime(1971, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC))
PAGE_ROWS = 7
Result = TypeVar("Result")


@cache
def connection_to(harness: Hashable, tags: tuple[str, ...], page_rows: int) -> ConnectionConfig:
    """The harness's connection; to write and check a plant takes longer than to read it."""
    return cast(ArchiveHarness, harness).connection(tags, page_rows)


class Filled(NamedTuple):
    """An archive that holds the suite's history."""

    harness: ArchiveHarness
    history: pl.DataFrame
    """Columns of `SCHEMA`."""

    @property
    def tags(self) -> list[str]:
        """The tags of the history."""
        return sorted(self.history["tag"].unique())

    def connection(self, *tags: str, page_rows: int = PAGE_ROWS) -> ConnectionConfig:
        """A connection with these tags, or all of the history."""
        return connection_to(cast(Hashable, self.harness), tags or tuple(self.tags), page_rows)

    def held(self, tags: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """The samples of start <= timestamp < end, in order."""
        within = pl.col("timestamp").is_between(start, end, closed="left")
        return in_order(self.history.filter(pl.col("tag").is_in(tags), within))


@pytest.fixture(scope="module", params=kinds(HARNESSES))
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """An archive of each kind."""
    harness = HARNESSES[request.param](request, tmp_path_factory.mktemp(request.param))
    history = history_of(harness)
    harness.fill(history)
    return Filled(harness, history)


def in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows sorted by everything, so that repeats compare."""
    return rows.sort(SCHEMA.names(), nulls_last=True)


def opened(connection: ConnectionConfig, work: Callable[[Archive], Awaitable[Result]]) -> Result:
    """What some work on an open archive returns."""

    async def main() -> Result:
        archive = open_archive(connection)
        try:
            await archive.open()
            async with asyncio.timeout(30):
                return await work(archive)
        finally:
            await archive.close()

    return asyncio.run(main())


async def pages_of(archive: Archive, tags: Sequence[str], start: datetime, end: datetime) -> list[Page]:
    """The pages of a range."""
    return [page async for page in archive.read(tags, start, end)]


async def extents_of(archive: Archive) -> Mapping[str, Extent]:
    """The extents of an archive that is opened first; some connect only for these."""
    await archive.open()
    return await archive.extents()


def samples_of(pages: Sequence[Page]) -> pl.DataFrame:
    """The samples of pages, of which nothing was rejected, in order."""
    assert all(page.rejected is None or page.rejected.is_empty() for page in pages), [page.rejected for page in pages]
    return in_order(pl.concat([SCHEMA.to_frame(), *(page.rows.samples.cast(SCHEMA) for page in pages)]))


def read(connection: ConnectionConfig, tags: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """The samples of a range, in order."""
    return samples_of(opened(connection, lambda archive: pages_of(archive, tags, start, end)))


@pytest.mark.parametrize("page_rows", [2, 1000])
def test_every_sample_is_read_exactly_once(filled: Filled, page_rows: int) -> None:
    """Whatever the page size, and however many samples share a time; with value, text and quality as they are."""
    found = read(filled.connection(page_rows=page_rows), filled.tags, *EVER)
    assert_frame_equal(found, in_order(filled.history), check_exact=True)


def test_ranges_are_half_open(filled: Filled) -> None:
    """start <= timestamp < end, to the finest difference that the historian keeps."""
    step = filled.harness.resolution
    for start, end in [(T0, T0 + step), (T0 + step, T0 + SECOND), (T0, T0 + SECOND), (T0 - step, T0)]:
        assert_frame_equal(read(filled.connection(*NUMBERS), NUMBERS, start, end), filled.held(NUMBERS, start, end))


def test_adjoining_ranges_read_what_the_whole_range_has(filled: Filled) -> None:
    """However a range is divided, nothing is lost or doubled at its borders."""
    cuts = [T0 - SECOND, *(T0 + number * timedelta(seconds=3.5) for number in range(5)), T0 + 30 * SECOND]

    async def by_parts(archive: Archive) -> list[Page]:
        parts = [await pages_of(archive, filled.tags, start, end) for start, end in pairwise(cuts)]
        return [page for part in parts for page in part]

    assert_frame_equal(samples_of(opened(filled.connection(), by_parts)), filled.held(filled.tags, cuts[0], cuts[-1]))


def test_pages_are_bounded(filled: Filled) -> None:
    """No page has more rows than the historian was requested to return at a time."""
    pages = opened(filled.connection(), lambda archive: pages_of(archive, filled.tags, *EVER))
    assert max(page.rows.samples.height for page in pages) <= filled.harness.most_rows(PAGE_ROWS)


def test_a_range_without_samples_has_no_rows(filled: Filled) -> None:
    """Before, after and between samples."""
    for start in (EVER[0], T0 + timedelta(days=400), T0 - timedelta(days=30)):
        assert read(filled.connection(), filled.tags, start, start + timedelta(days=1)).is_empty()


def test_only_the_requested_tags_are_read_in_any_order(filled: Filled) -> None:
    """The order of the request and that of the tag list do not matter."""
    wanted = [OLD, NUMBERS[2], NUMBERS[0]]
    assert_frame_equal(read(filled.connection(*reversed(filled.tags)), wanted, *EVER), filled.held(wanted, *EVER))


def test_extents_hold_every_sample(filled: Filled) -> None:
    """Of each tag that has samples, and of no other."""
    extents = opened(filled.connection(*filled.tags, ABSENT), lambda archive: archive.extents())
    assert sorted(extents) == filled.tags
    for tag, (start, end) in extents.items():
        assert_frame_equal(filled.held([tag], start, end), filled.held([tag], *EVER))


def test_an_unknown_tag_is_named_and_stops_nothing(filled: Filled) -> None:
    """What the historian does not have is reported with tag and row of the tag list; all else is read."""

    async def work(archive: Archive) -> tuple[list[Page], str]:
        assert isinstance(archive, ReportsProblems)
        await archive.extents()
        pages = await pages_of(archive, [*NUMBERS, ABSENT], *EVER)
        return pages, "\n".join(await archive.problems())

    pages, problems = opened(filled.connection(*filled.tags, ABSENT), work)
    assert_frame_equal(samples_of(pages), filled.held(NUMBERS, *EVER))
    row = len(filled.tags) + 2
    assert [line for line in problems.splitlines() if ABSENT in line and f"row {row}" in line], problems


def test_the_hours_of_a_clock_change_are_kept(filled: Filled) -> None:
    """In the night in which an hour occurs twice, every sample keeps its time and its value."""
    hour = timedelta(hours=1)
    for start in (NIGHT, NIGHT + hour, NIGHT + 2 * hour):
        found = read(filled.connection(CHANGED), [CHANGED], start, start + hour)
        assert_frame_equal(found, filled.held([CHANGED], start, start + hour))


def test_qualities_are_those_of_the_declared_vocabulary(filled: Filled) -> None:
    """A quality of the historian's own becomes the StatusCode of the same meaning."""
    found = read(filled.connection(GRADED), [GRADED], *EVER)
    assert found["quality"].to_list() == [0, *filled.harness.qualities]


def test_an_abandoned_read_leaves_the_archive_usable(filled: Filled) -> None:
    """A reader may stop at any page, and read again."""

    async def work(archive: Archive) -> list[Page]:
        async with aclosing(archive.read(filled.tags, *EVER)) as pages:
            await anext(pages)
        return await pages_of(archive, filled.tags, *EVER)

    assert_frame_equal(samples_of(opened(filled.connection(), work)), in_order(filled.history))


def test_close_may_be_called_twice_and_before_open(filled: Filled) -> None:
    """An archive can be opened again after it was closed."""

    async def main() -> list[Page]:
        archive = open_archive(filled.connection(*NUMBERS))
        await archive.close()
        for _ in range(2):
            await archive.open()
            pages = await pages_of(archive, NUMBERS, *EVER)
            await archive.close()
            await archive.close()
        return pages

    assert_frame_equal(samples_of(asyncio.run(main())), filled.held(NUMBERS, *EVER))


def test_proposed_slices_are_in_order_and_within_the_range(filled: Filled) -> None:
    """Where the archive proposes slices at all."""

    async def work(archive: Archive) -> Sequence[datetime]:
        await archive.extents()
        return await archive.slice_starts(*EVER) if isinstance(archive, ProposesSlices) else []

    starts = opened(filled.connection(), work)
    assert list(starts) == sorted(set(starts))
    assert all(EVER[0] <= start < EVER[1] for start in starts)


@pytest.mark.parametrize("filled", kinds(SERVERS), indirect=True)
def test_a_lost_server_is_reported_and_can_be_reopened(filled: Filled) -> None:
    """Every call on a server that is gone raises `NotConnected`; once it is back, the same archive opens again."""
    server = cast(ServerHarness, filled.harness)

    async def main() -> list[Page]:
        archive = open_archive(filled.connection(*NUMBERS))
        await archive.open()
        server.stop()
        try:
            with pytest.raises(NotConnected):
                await pages_of(archive, NUMBERS, *EVER)
            await archive.close()
            with pytest.raises(NotConnected):
                await extents_of(archive)
        finally:
            await archive.close()
            server.start()
        await archive.open()
        pages = await pages_of(archive, NUMBERS, *EVER)
        await archive.close()
        return pages

    assert_frame_equal(samples_of(asyncio.run(main())), filled.held(NUMBERS, *EVER))
