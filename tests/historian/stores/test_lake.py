"""The embedded store beyond the contract: several processes, compaction, vacuum, and killed writers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from historian.errors import StoreUnavailable
from historian.samples import SCHEMA, SampleBatch, empty_batch, sample_batch
from historian.stores.lake.files import files_of
from historian.stores.lake.layout import STORED, FileLayout
from historian.stores.lake.store import LakeStore
from historian.stores.lake.table import LakeTable
from historian.stores.memory import MemoryStore

T0 = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 2, tzinfo=UTC)
EVER = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))
LONG = "plant.of.a.very.long.name.indeed."
SPAWN = multiprocessing.get_context("spawn")


def samples_of(tag: str, first: int, count: int, *, value: float = 0) -> SampleBatch:
    """`count` samples a millisecond apart, whose value is their number plus `value`."""
    numbers = pl.int_range(first, first + count, eager=True)
    frame = pl.DataFrame(
        {
            "tag": pl.repeat(tag, count, eager=True),
            "timestamp": T0 + numbers.cast(pl.Duration("ms")).cast(pl.Duration("us")),
            "value": numbers.cast(pl.Float64) + value,
            "text": pl.repeat(None, count, dtype=pl.String, eager=True),
            "quality": pl.repeat(0, count, dtype=pl.UInt32, eager=True),
        },
        schema_overrides=dict(SCHEMA),
    )
    return sample_batch(frame)


def contents(store: LakeStore, *tags: str) -> pl.DataFrame:
    """All samples of some tags."""
    return pl.concat([samples_of("none", 0, 0), *store.read(tags, *EVER)]).sort("tag", "timestamp")


def write_steadily(path: Path, tag: str, batches: int) -> None:
    """A writer process: `batches` times 100 samples."""
    store = LakeStore(path)
    for number in range(batches):
        store.write(samples_of(tag, number * 100, 100), source=tag, now=NOW)


def write_until_killed(path: Path, started: Event) -> None:
    """A writer process that never stops by itself."""
    store = LakeStore(path)
    for number in range(1_000_000):
        store.write(samples_of("a", number * 100, 100), source="s", now=NOW)
        started.set()


@pytest.mark.parametrize("tags", [("a",), ("a", "b"), (LONG + "a",), (LONG + "a", LONG + "b")], ids=len)
@pytest.mark.parametrize("unlike", [{}, {"quality": 7}, {"text": "x"}, {"value": None}], ids=lambda unlike: [*unlike])
@pytest.mark.parametrize("late", [0, 95, 250], ids=["over", "overlap", "apart"])
def test_columns_that_files_have_in_common_are_as_if_read(
    tmp_path: Path, tags: tuple[str, ...], unlike: dict[str, object], late: int
) -> None:
    """One tag or two, another quality, a text or a missing value here and there, written in any order and twice."""
    store, memory = LakeStore(tmp_path), MemoryStore()
    for number, tag in enumerate(tags):
        for first, value in ((100, 0.0), (late, 1.0), (150, 2.0)):
            batch = samples_of(tag, first + number, 100, value=value)
            if unlike and value:
                replaced = {name: pl.lit(other, SCHEMA[name]) for name, other in unlike.items()}
                batch = sample_batch(batch.with_columns(**replaced))
            for each in (store, memory):
                each.write(batch, source="s", now=NOW)
    for first, last in ((0, 400), (0, 150), (99, 200), (150, 240), (200, 400)):
        start, end = (T0 + timedelta(milliseconds=each) for each in (first, last))
        for selected in dict.fromkeys((tags, tags[:1])):
            found = pl.concat([empty_batch(), *store.read(selected, start, end)]).sort("tag", "timestamp")
            expected = pl.concat([empty_batch(), *memory.read(selected, start, end)]).sort("tag", "timestamp")
            assert_frame_equal(found, expected)


def test_a_range_of_a_compacted_day_is_read_in_pages_of_its_own_rows(tmp_path: Path) -> None:
    """The size of the files that contain it does not matter."""
    store = LakeStore(tmp_path, page_rows=1000)
    for first in range(0, 10_000, 2000):
        store.write(samples_of("a", first, 2000), source="s", now=NOW)
    store.compact()
    start = T0 + timedelta(seconds=5)
    (page,) = store.read(["a"], start, start + timedelta(milliseconds=900))
    assert page["value"].to_list() == [float(number) for number in range(5000, 5900)]
    pages = list(store.read(["a"], start, start + timedelta(seconds=3)))
    assert [page.height for page in pages] == [1000, 1000, 1000]


def test_readers_see_whole_writes_while_two_processes_write(tmp_path: Path) -> None:
    """No reader ever sees half a batch, and following the ledger's cursor finds every write of both writers."""
    writers = [SPAWN.Process(target=write_steadily, args=(tmp_path, tag, 15)) for tag in ("a", "b")]
    store = LakeStore(tmp_path)
    for writer in writers:
        writer.start()
    followed = 0
    cursor: datetime | None = None
    while followed < 30 * 100:
        assert contents(store, "a", "b").group_by("tag").len().filter(pl.col("len") % 100 != 0).is_empty()
        fresh = store.changes(cursor)
        if not fresh.is_empty():
            cursor = fresh["ingested_at"].to_list()[-1]
            followed += sum(fresh["rows"])
    for writer in writers:
        writer.join()
    assert contents(LakeStore(tmp_path), "a", "b").height == followed == 3_000
    assert store.changes(None)["ingested_at"].n_unique() == 30


@pytest.mark.parametrize("delay", [0.0, 0.013, 0.031])
def test_a_killed_writer_leaves_whole_batches_and_a_usable_store(tmp_path: Path, delay: float) -> None:
    """After kill -9 all batches are whole, the lock is free, and the next write works."""
    started = SPAWN.Event()
    writer = SPAWN.Process(target=write_until_killed, args=(tmp_path, started))
    writer.start()
    assert started.wait(30)
    time.sleep(delay)
    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join()
    store = LakeStore(tmp_path)
    found = contents(store, "a")
    assert_frame_equal(found, samples_of("a", 0, found.height))
    assert found.height % 100 == 0
    # The ledger may lack the very last batch, whose writer never learned that it was stored: the spool sends it again.
    assert store.changes(None)["rows"].sum() in (found.height, found.height - 100)
    store.write(samples_of("a", 0, 1, value=5), source="s", now=NOW)
    assert contents(store, "a")["value"].first() == 5


def test_compaction_changes_the_files_and_nothing_else(tmp_path: Path) -> None:
    """There are few files without superseded rows and with the same samples; later writes still replace them."""
    store = LakeStore(tmp_path, page_rows=150)
    for number in range(8):
        store.write(samples_of("a", number * 50, 100, value=number), source="s", now=NOW)
        store.write(samples_of("b", 86_400_000 + number * 100, 100), source="s", now=NOW)
    before, ledger = contents(store, "a", "b"), store.changes(None)
    counts = store.compact()
    assert counts == {"files_before": 32, "files_after": 3}
    assert_frame_equal(contents(LakeStore(tmp_path), "a", "b"), before)
    assert_frame_equal(store.changes(None), ledger)
    files = pl.read_parquet(list((tmp_path / "samples").rglob("*.parquet")))
    newest_only = pl.scan_delta(str(tmp_path / "samples")).collect()
    assert files.height == 16 * 100 + newest_only.height
    assert newest_only.height == before.height
    store.write(samples_of("a", 0, 10, value=99), source="s", now=NOW)
    assert contents(store, "a")["value"].head(10).to_list() == [99.0 + number for number in range(10)]


def test_vacuum_deletes_only_what_compaction_replaced(tmp_path: Path) -> None:
    """A dry run names the files; then they are gone and the samples are not; files younger than `keep` stay."""
    store = LakeStore(tmp_path)
    for number in range(4):
        store.write(samples_of("a", number * 100, 100), source="s", now=NOW)
    store.compact()
    assert store.vacuum(keep=timedelta(days=7), dry_run=False) == []
    named = store.vacuum(keep=timedelta(0), dry_run=True)
    assert len(named) == 8
    assert all((tmp_path / name).exists() for name in named)
    assert sorted(store.vacuum(keep=timedelta(0), dry_run=False)) == sorted(named)
    assert not any((tmp_path / name).exists() for name in named)
    assert_frame_equal(contents(store, "a"), samples_of("a", 0, 400))


def test_a_store_that_cannot_be_opened_says_which_and_why(tmp_path: Path) -> None:
    """A file where the directory should be is a StoreUnavailable, not a traceback from below."""
    (tmp_path / "lake").write_text("not a directory")
    with pytest.raises(StoreUnavailable, match=r"the lake at .*lake cannot be opened: .*exists"):
        LakeStore(tmp_path / "lake")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """A truncated Parquet file makes reading fail with the store's name, not silently shorter."""
    store = LakeStore(tmp_path)
    store.write(samples_of("a", 0, 100), source="s", now=NOW)
    (file,) = (tmp_path / "samples").rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        contents(store, "a")


def test_a_stream_continues_during_a_compaction_by_another_process(tmp_path: Path) -> None:
    """A store that was open before another process compacted can write afterwards."""
    streaming, other = LakeStore(tmp_path), LakeStore(tmp_path)
    for number in range(3):
        streaming.write(samples_of("a", number * 10, 10), source="s", now=NOW)
    other.compact()
    other.vacuum(keep=timedelta(0), dry_run=False)
    streaming.write(samples_of("a", 30, 10), source="s", now=NOW)
    assert_frame_equal(contents(streaming, "a"), samples_of("a", 0, 40))


def test_files_do_not_pile_up_under_a_stream(tmp_path: Path) -> None:
    """After many small writes there are few files, without a call to compact."""
    store = LakeStore(tmp_path, layout=FileLayout(merge_every=20))
    for number in range(45):
        store.write(samples_of("a", number, 1), source="s", now=NOW)
    assert store.compact()["files_before"] < 20
    assert_frame_equal(contents(store, "a"), samples_of("a", 0, 45))


def test_what_a_backfill_wrote_is_not_mixed(tmp_path: Path) -> None:
    """Small files are joined; large ones keep to their tag unless a day has too many."""
    layout = FileLayout(merge_every=12, small=10_000)
    store = LakeStore(tmp_path, layout=layout)
    for number in range(12):
        store.write(samples_of("abc"[number % 3], number * 5000, 1 if number < 4 else 5000), source="x", now=NOW)
    files = files_of(LakeTable(tmp_path / "samples", STORED, layout, by_day=True))
    assert sorted(files["num_records"]) == [4, *[5000] * 8]
    assert files["tag"].null_count() == 1
    store = LakeStore(tmp_path, layout=replace(layout, crowded=8))
    for number in range(12, 23):  # joining took a version
        store.write(samples_of("a", number * 5000, 1), source="x", now=NOW)
    assert store.size() == {**store.size(), "files": 1, "rows_on_disk": 40_015}


@pytest.mark.parametrize("name", ["my plant", "jörg", "50%", "a#b", "a?b"])
def test_a_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    """Delta uses percent-encoded urls for tables; we use file names."""
    store = LakeStore(tmp_path / name)
    for number in range(2):
        store.write(samples_of("a", number * 10, 10), source="s", now=NOW)
    store.compact()
    assert_frame_equal(contents(LakeStore(tmp_path / name), "a"), samples_of("a", 0, 20))


def test_an_empty_lake_can_be_compacted(tmp_path: Path) -> None:
    """Nothing to do is not an error."""
    assert LakeStore(tmp_path).compact() == {"files_before": 0, "files_after": 0}


def test_compacting_many_tags_costs_little_more_than_compacting_few(tmp_path: Path) -> None:
    """Files are read once per page of samples, not once per tag: 600 tags took 60 times as long as three."""

    def seconds(tags: int) -> float:
        store = LakeStore(tmp_path / str(tags))
        numbers = pl.int_range(600, dtype=pl.Int64, eager=True)
        names = ("tag" + (numbers % tags).cast(pl.String).str.zfill(3)).alias("tag")
        for number in range(20):
            rows = samples_of("any", number * 600, 600).with_columns(names)
            store.write(sample_batch(rows.sort("tag", "timestamp")), source="test", now=NOW)
        before = time.process_time()
        store.compact()
        spent = time.process_time() - before
        assert contents(store, "tag001").height == 20 * 600 // tags
        return spent

    assert seconds(600) < 12 * seconds(3)
