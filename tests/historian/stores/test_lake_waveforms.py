"""Waveforms in the lake beyond the contract: compaction, partitions, pruning, size on disk."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from historian.errors import StoreUnavailable
from historian.stores.lake.layout import FileLayout
from historian.stores.lake.store import LakeStore
from historian.waveforms.batch import MAX_BYTES, WaveformBatch, waveform_batch
from historian.waveforms.encoding import HEADS, encode
from tests.contracts.waveform_oracle import (
    MICROSECOND,
    NOW,
    T0,
    WRITES,
    Oracle,
    Stretch,
    assert_held,
    samples_of,
    stretches,
)

SECOND = timedelta(seconds=1)
NOISE = np.random.default_rng(3).normal(size=65_536).astype(np.float32)


def wave(values: np.ndarray, *, at: timedelta = timedelta(0), rate: float = 25_600.0, tag: str = "a") -> WaveformBatch:
    """A run of samples as stretches; it begins `at` after T0."""
    head = pl.DataFrame([(tag, T0 + at, rate, len(values), 0)], schema=HEADS, orient="row")
    return waveform_batch(encode(head, values))


def rows_on_disk(store: LakeStore) -> int:
    """The number of stretches in the newest version."""
    return store.size()["stretches_on_disk"]


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    writes=WRITES,
    small=st.integers(0, 30_000),
    compact_after=st.integers(0, 5),
    step=st.sampled_from([3, 17]),
    at_once=st.sampled_from([0, 2**30]),
)
def test_compaction_changes_the_files_and_no_sample(
    tmp_path_factory: pytest.TempPathFactory,
    writes: list[list[Stretch]],
    small: int,
    compact_after: int,
    step: int,
    at_once: int,
) -> None:
    """Whatever was merged, rewritten and joined between which writes, the newest write of each sample counts."""
    layout = FileLayout(merge_every=2, small=small, group_stretches=2, at_once=at_once)
    store, oracle = (
        LakeStore(tmp_path_factory.mktemp("lake"), page_rows=25, page_samples=25, layout=layout),
        Oracle(1000.0),
    )
    for number, write in enumerate(writes):
        store.write_waveforms(oracle.batch(write), source="s", now=NOW)
        if number == compact_after:
            store.compact()
    start, end = T0 + 5 * timedelta(milliseconds=1), T0 + 40 * timedelta(milliseconds=1)
    store.compact()
    store.vacuum(keep=timedelta(0), dry_run=False)
    assert_held(LakeStore(store.path, layout=layout), oracle, start, end, step * timedelta(milliseconds=1))


def test_short_stretches_of_a_live_stream_become_long_ones(tmp_path: Path) -> None:
    """Arrays of 0.1 s are joined when files are merged, up to the largest size, over writes and bit for bit."""
    store, size = LakeStore(tmp_path, layout=FileLayout(merge_every=12)), 2560
    for number in range(13):
        part = NOISE[number * size : (number + 1) * size]
        store.write_waveforms(wave(part, at=SECOND + number * SECOND / 10), source="s", now=NOW)
    assert rows_on_disk(store) == 5  # four of three arrays each, and one written since
    store.compact()
    found = stretches(store, "a")
    assert found["count"].to_list() == [3 * size] * 4 + [size]
    assert_frame_equal(waveform_batch(found).select("low", "not_finite"), _anew(found).select("low", "not_finite"))
    np.testing.assert_allclose(found["sum_squares"], _anew(found)["sum_squares"], rtol=1e-12)
    values = np.concatenate([np.frombuffer(each, "<f4") for each in found["values"]])
    assert np.array_equal(values, NOISE[: 13 * size])


def _anew(found: pl.DataFrame) -> pl.DataFrame:
    """The same stretches with statistics computed of their values."""
    values = np.concatenate([np.frombuffer(each, "<f4") for each in found["values"]])
    return encode(found.select(HEADS.names()), values)


def test_only_stretches_of_one_signal_are_joined(tmp_path: Path) -> None:
    """Not over a gap, a shifted clock, another rate, quality, encoding or tag; never beyond the largest size."""
    store, size, shift = LakeStore(tmp_path), 100, 300 * MICROSECOND
    pieces = [
        wave(NOISE[:size], rate=1000, at=SECOND),
        wave(NOISE[:size], rate=1000, at=1.1 * SECOND),  # the only one that continues the one before
        wave(NOISE[:size], rate=1000, at=1.2 * SECOND + shift),
        wave(NOISE[:size], rate=1000, at=1.301 * SECOND + shift),
        wave(NOISE[:size].astype(np.float64) / 3, rate=1000, at=1.401 * SECOND + shift),
        wave(NOISE[:size], rate=1001, at=2 * SECOND),
        waveform_batch(wave(NOISE[:size], rate=1001, at=3 * SECOND).with_columns(quality=pl.lit(1, pl.UInt32))),
        wave(NOISE[:size], rate=1000, at=SECOND, tag="b"),
    ]
    for piece in pieces:
        store.write_waveforms(piece, source="s", now=NOW)
    store.compact()
    assert stretches(store, "a", "b")["count"].to_list() == [200, 100, 100, 100, 100, 100, 100]
    store.write_waveforms(wave(NOISE[: MAX_BYTES // 4], at=SECOND, tag="c"), source="s", now=NOW)
    store.write_waveforms(wave(NOISE[:1], at=SECOND + MAX_BYTES // 4 * SECOND / 25_600, tag="c"), source="s", now=NOW)
    store.compact()
    assert stretches(store, "c")["count"].to_list() == [MAX_BYTES // 4, 1]


def test_a_late_stretch_in_another_file_keeps_its_age(tmp_path: Path) -> None:
    """Joining an older and a newer stretch must not let them win over one that was written between them."""
    layout = FileLayout(merge_every=3, small=20_000)
    store, size = LakeStore(tmp_path, layout=layout), 8192
    store.write_waveforms(wave(NOISE[:100], rate=1000), source="s", now=NOW)
    store.write_waveforms(wave(NOISE[:size] + 1, rate=1000, at=50 * SECOND / 1000), source="s", now=NOW)  # a large file
    store.write_waveforms(wave(NOISE[:10], rate=1000, at=-10 * SECOND / 1000), source="s", now=NOW)  # joins the first
    assert store.size()["files"] == 2
    before = samples_of(LakeStore(tmp_path), "a")
    assert len(before) == 10 + 50 + size
    assert before[60][1] == np.float64(NOISE[0] + np.float32(1)).tobytes()


def test_a_stretch_belongs_to_the_day_of_its_start(tmp_path: Path) -> None:
    """Reads of the next day find it, also after a compaction; what remains of one may begin on the next day."""
    store = LakeStore(tmp_path)
    store.write_waveforms(wave(NOISE[:100], rate=1000), source="s", now=NOW)  # midnight is 10 ms after T0
    store.write_waveforms(wave(NOISE[:100], rate=1000, at=SECOND), source="s", now=NOW)
    folders = {path.parent.name for path in (tmp_path / "waveforms").rglob("*.parquet")}
    assert folders == {"day=2026-03-01", "day=2026-03-02"}
    midnight = T0 + 10 * timedelta(milliseconds=1)
    assert [time for time, _ in samples_of(store, "a", start=midnight, end=midnight + MICROSECOND)] == [midnight]
    late = 300 * MICROSECOND  # so that what remains of the first stretch does not continue this one
    store.write_waveforms(wave(NOISE[:20], rate=1000, at=late), source="s", now=NOW)
    before = samples_of(store, "a")
    store.compact()
    store.compact()
    assert samples_of(store, "a") == before
    days = pl.read_delta(str(tmp_path / "waveforms")).select("day", starts=pl.col("timestamp").dt.date())
    assert days["day"].equals(days["starts"].alias("day"))
    assert days["day"].unique().sort().to_list() == [date(2026, 3, 1), date(2026, 3, 2)]


def test_counts_of_a_converter_take_little_more_than_their_bytes_on_disk(tmp_path: Path) -> None:
    """int16 in at most 2.3 bytes a sample, statistics, times and Delta's log included."""
    store = LakeStore(tmp_path)
    counts = (np.clip(NOISE, -3, 3) * 10_000).astype(np.int16)
    for number in range(4):
        store.write_waveforms(wave(counts, at=number * 10 * SECOND), source="s", now=NOW)
    assert store.size()["disk_bytes"] < 2.3 * 4 * len(counts)
    assert store.size()["stretches_on_disk"] == 16
    log = sum(path.stat().st_size for path in (tmp_path / "waveforms" / "_delta_log").iterdir())
    assert log < 0.05 * 4 * len(counts)


def test_only_values_that_become_smaller_are_compressed(tmp_path: Path) -> None:
    """Reading noise that was compressed in vain takes longer; a machine that stands still takes hardly any disk."""
    store, counts = LakeStore(tmp_path), (np.clip(NOISE, -3, 3) * 10_000).astype(np.int16)
    store.write_waveforms(wave(counts, at=SECOND), source="s", now=NOW)
    (noise,) = (tmp_path / "waveforms").rglob("*.parquet")
    store.write_waveforms(wave(counts // 10_000 * 0 + 7, at=10 * SECOND), source="s", now=NOW)
    (still,) = {*(tmp_path / "waveforms").rglob("*.parquet")} - {noise}
    assert (_column(noise, "values").compression, _column(still, "values").compression) == ("UNCOMPRESSED", "LZ4")
    assert still.stat().st_size < 0.2 * len(counts)
    assert _column(noise, "timestamp").compression == "LZ4"


def test_a_read_opens_only_files_that_touch_its_range(tmp_path: Path) -> None:
    """Files of other times and tags are not opened: they may be damaged."""
    store = LakeStore(tmp_path)
    store.write_waveforms(wave(NOISE[:100], rate=1000), source="s", now=NOW)
    (kept,) = (tmp_path / "waveforms").rglob("*.parquet")
    for tag, at in (("a", timedelta(days=-1)), ("a", SECOND), ("z", timedelta(0))):
        store.write_waveforms(wave(NOISE[:100], rate=1000, tag=tag, at=at), source="s", now=NOW)
    for path in (tmp_path / "waveforms").rglob("*.parquet"):
        if path != kept:
            path.write_bytes(b"")
    end = T0 + SECOND / 2
    assert len(samples_of(store, "a", start=T0, end=end)) == 100
    assert store.extremes(["a"], T0, end, every=SECOND).height == 2
    assert store.gaps(["a"], T0, end, longer_than=SECOND).is_empty()


def test_a_plot_reads_no_values_that_cannot_change_it(tmp_path: Path) -> None:
    """A stretch that a pixel's border cuts is not read if its lowest and highest are within the pixels' extremes."""
    store, second = LakeStore(tmp_path), SECOND
    for at, largest in ((0.1, 2), (0.96, 1), (1.1, 2)):  # T0 is 10 ms before a whole second; the middle one is cut
        store.write_waveforms(wave(NOISE[:100].clip(-largest, largest), rate=1000, at=at * second), source="s", now=NOW)
    for path in (tmp_path / "waveforms").rglob("*.parquet"):
        _damage(path, "values")
    end = T0 + 2 * second
    assert store.extremes(["a"], T0, end, every=second).select("low", "high").rows() == [(-2, 2), (-2, 2)]
    with pytest.raises(StoreUnavailable):
        samples_of(store, "a")


def _damage(path: Path, column: str) -> None:
    """Overwrite a column of a Parquet file that has one row group."""
    place = _column(path, column)
    with path.open("r+b") as file:
        file.seek(place.data_page_offset)
        file.write(bytes(place.total_compressed_size))


def _column(path: Path, name: str) -> pq.ColumnChunkMetaData:
    """Where and how a column of the first row group is stored."""
    group = pq.read_metadata(path).row_group(0)
    return next(each for each in map(group.column, range(group.num_columns)) if each.path_in_schema == name)
