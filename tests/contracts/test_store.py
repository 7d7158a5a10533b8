"""The store contract: what `historian.stores.protocols` promises, held against every store Penstock ships."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from historian.quality import BAD_TIMEOUT
from historian.samples import SCHEMA, SampleBatch, empty_batch, sample_batch
from historian.stores.lake.store import LakeStore
from historian.stores.protocols import EXTREMES, GAPS, LEDGER, Store
from tests.contracts.stores import EVER, STORES, Open, opener

T0 = datetime(2026, 3, 1, 23, 59, 58, tzinfo=UTC)  # two seconds before midnight: ranges cross a day
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Opens an empty store that pages after so many rows."""
    return opener(request, tmp_path_factory)


@pytest.fixture
def store(open_store: Open) -> Store:
    """An empty store."""
    return open_store(4_000_000)


def numbers(tag: str, *values: float | None, start: datetime = T0, step: timedelta = SECOND) -> SampleBatch:
    """One sample a `step` of one tag; None is a Bad sample."""
    rows = [
        (tag, start + index * step, value, None, 0 if value is not None else BAD_TIMEOUT)
        for index, value in enumerate(values)
    ]
    return sample_batch(pl.DataFrame(rows, schema=SCHEMA, orient="row"))


def everything(store: Store, *tags: str) -> pl.DataFrame:
    """All samples of some tags in one frame."""
    pages = list(store.read(tags, *EVER))
    return pl.concat(pages or [empty_batch()]).sort("tag", "timestamp")


def test_what_is_written_is_read_exactly(store: Store) -> None:
    """Values, texts, qualities, microseconds and awkward tag names come back as they went in."""
    rows = [
        ('käse, "x" = y/%20\\', T0 + timedelta(microseconds=1), 0.1 + 0.2, None, 0),
        ("c101.de_h", T0, -0.0, None, 0),
        ("c101.de_h", T0 + 3 * SECOND, None, None, 0xFFFFFFFF),
        ("c101.state", T0, None, 'läuft\n"\\', 0x40000000),
        ("c101.state", T0 + SECOND, None, "", 0),
    ]
    batch = sample_batch(pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("tag", "timestamp"))
    store.write(batch, source="line1", now=NOW)
    assert_frame_equal(everything(store, 'käse, "x" = y/%20\\', "c101.de_h", "c101.state"), batch, check_exact=True)


def test_ranges_are_half_open_and_only_the_requested_tags_are_read(store: Store) -> None:
    """start <= timestamp < end, to the microsecond."""
    store.write(numbers("a", 1, 2, 3, 4), source="s", now=NOW)
    store.write(numbers("b", 9, 9, 9, 9), source="s", now=NOW)
    pages = list(store.read(["a"], T0 + SECOND, T0 + 3 * SECOND))
    assert_frame_equal(pl.concat(pages), numbers("a", 2, 3, start=T0 + SECOND))


def test_writing_again_overwrites(store: Store) -> None:
    """Of several writes of the same (tag, timestamp) the last one is kept."""
    store.write(numbers("a", 1, 2, 3), source="s", now=NOW)
    store.write(numbers("a", 7, start=T0 + SECOND), source="s", now=NOW)
    store.write(numbers("a", 7, start=T0 + SECOND), source="s", now=NOW - timedelta(days=1))
    assert_frame_equal(everything(store, "a"), numbers("a", 1, 7, 3))


def test_latest_is_the_newest_sample_not_the_last_written(store: Store) -> None:
    """A backfill of last year does not become the latest value; tags without samples have no row."""
    store.write(numbers("a", 1, 2), source="s", now=NOW)
    store.write(numbers("b", 5, None), source="s", now=NOW)
    store.write(numbers("a", 0, start=T0 - timedelta(days=365)), source="s", now=NOW)
    expected = pl.concat([numbers("a", 2, start=T0 + SECOND), numbers("b", None, start=T0 + SECOND)])
    assert_frame_equal(store.latest(["a", "b", "never"]), expected)
    assert store.latest([]).is_empty()


def test_changes_list_each_write_once_per_tag(store: Store) -> None:
    """The ledger says which source wrote which interval of which tag."""
    both = sample_batch(pl.concat([numbers("a", 1, 2), numbers("b", 5)]))
    store.write(both, source="line1", now=NOW)
    expected = pl.DataFrame(
        [(NOW, "line1", "a", T0, T0 + SECOND, 2), (NOW, "line1", "b", T0, T0, 1)], schema=LEDGER, orient="row"
    )
    changes = store.changes(None).sort("tag")
    assert changes["ingested_at"].n_unique() == 1  # one write; when it was may be the store's own clock's word
    assert_frame_equal(changes.drop("ingested_at"), expected.drop("ingested_at"))


def test_the_cursor_never_misses_nor_repeats_a_write(store: Store) -> None:
    """`ingested_at` strictly increases even if clocks stand still or go back."""
    seen: list[datetime] = []
    for number, now in enumerate([NOW, NOW, NOW - timedelta(hours=1), NOW + SECOND]):
        store.write(numbers("a", number, start=T0 + number * SECOND), source="s", now=now)
        fresh = store.changes(seen[-1] if seen else None)
        assert fresh["first"].to_list() == [T0 + number * SECOND]
        seen += fresh["ingested_at"].to_list()
    assert seen == sorted(set(seen))
    assert store.changes(seen[-1]).is_empty()


def test_an_empty_batch_leaves_no_trace(store: Store) -> None:
    """It adds no samples and no ledger row."""
    store.write(empty_batch(), source="s", now=NOW)
    assert store.changes(None).is_empty()
    assert list(store.read(["a"], *EVER)) == []


def test_pages_are_bounded_and_follow_one_another_in_time(open_store: Open) -> None:
    """Each page is entirely after the one before, and all together are complete."""
    store = open_store(100)
    batch = sample_batch(pl.concat([numbers("a", *range(500)), numbers("b", *range(500))]))
    store.write(batch, source="s", now=NOW)
    pages = list(store.read(["a", "b"], *EVER))
    spans = [(page["timestamp"].min(), page["timestamp"].max()) for page in pages]
    assert max(page.height for page in pages) <= 102
    assert all(earlier[1] < later[0] for earlier, later in pairwise(spans))  # type: ignore[operator]  # Polars types min() loosely
    assert_frame_equal(pl.concat(pages).sort("tag", "timestamp"), batch)


WRITE = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.integers(-5, 5)), min_size=1, unique_by=lambda row: row[:2]
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=st.lists(WRITE, max_size=6), page_rows=st.integers(1, 40))
def test_any_history_of_writes_reads_like_a_dictionary(
    open_store: Open, writes: list[list[tuple[str, int, int]]], page_rows: int
) -> None:
    """A store is a dictionary from (tag, timestamp) to sample, whatever was written in which order."""
    store = open_store(page_rows)
    model: dict[tuple[str, datetime], float] = {}
    for rows in writes:
        frame = pl.DataFrame([(tag, T0 + at * SECOND, value, None, 0) for tag, at, value in rows], SCHEMA, orient="row")
        store.write(sample_batch(frame.sort("tag", "timestamp")), source="s", now=NOW)
        model |= {(tag, T0 + at * SECOND): float(value) for tag, at, value in rows}
    found = everything(store, "a", "b", "c")
    keys = zip(found["tag"], found["timestamp"], strict=True)
    assert dict(zip(keys, found["value"], strict=True)) == model
    newest = {tag: max(at for name, at in model if name == tag) for tag, _ in model}
    latest = store.latest(["a", "b", "c"])
    assert dict(zip(latest["tag"], latest["timestamp"], strict=True)) == newest


def test_the_lake_has_a_directory_of_its_own(tmp_path: Path) -> None:
    """Opening creates it; opening again finds what was written."""
    LakeStore(tmp_path / "new" / "lake").write(numbers("a", 1), source="s", now=NOW)
    assert_frame_equal(everything(LakeStore(tmp_path / "new" / "lake"), "a"), numbers("a", 1))


def test_extremes_show_what_a_plot_can_show(store: Store) -> None:
    """Each tag and interval has its lowest and highest number; texts, Bad and overwritten samples are left out."""
    store.write(numbers("a", 5, 1, None, 3, 7, 9), source="s", now=NOW)
    store.write(numbers("b", -1), source="s", now=NOW)
    store.write(numbers("a", 99, start=T0 + 9 * SECOND), source="s", now=NOW)
    store.write(numbers("a", None, start=T0 + 9 * SECOND), source="s", now=NOW)  # 99 is no more
    found = store.extremes(["a", "b"], T0, T0 + 10 * SECOND, every=2 * SECOND)
    rows = [("a", 0, 1.0, 5.0), ("a", 2, 3.0, 3.0), ("a", 4, 7.0, 9.0), ("b", 0, -1.0, -1.0)]
    expected = [(tag, T0 + second * SECOND, low, high) for tag, second, low, high in rows]
    assert_frame_equal(found, pl.DataFrame(expected, schema=EXTREMES, orient="row"))
    assert store.extremes(["a"], T0 + SECOND, T0 + 4 * SECOND, every=2 * SECOND)["high"].to_list() == [1, 3]
    assert store.extremes([], *EVER, every=SECOND).schema == EXTREMES


def test_gaps_are_listed_with_their_ends(open_store: Open) -> None:
    """Between samples, before the first and after the last; whatever their quality, and however they are paged."""
    store = open_store(2)
    for first in (1, 10, 12, 30):
        store.write(numbers("a b", 1, None, start=T0 + first * SECOND), source="s", now=NOW)
    store.write(numbers("b", 1, start=T0), source="s", now=NOW)
    found = store.gaps(["a b", "b", "never"], T0, T0 + 40 * SECOND, longer_than=5 * SECOND)
    rows = [("a b", 2, 10), ("a b", 13, 30), ("a b", 31, 40), ("b", 0, 40), ("never", 0, 40)]
    expected = [(tag, T0 + after * SECOND, T0 + before * SECOND) for tag, after, before in rows]
    assert_frame_equal(found, pl.DataFrame(expected, schema=GAPS, orient="row"))
    assert store.gaps(["a b"], T0, T0 + 40 * SECOND, longer_than=17 * SECOND).is_empty()
    assert store.gaps([], *EVER, longer_than=SECOND).schema == GAPS
