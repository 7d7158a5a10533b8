"""A run of the job: the rows it appends, those it leaves alone, and its report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.compute.run import MEMORY, ViewJob, ViewReport, compute
from features.compute.splitting import budget
from features.define.catalogue import TIME
from features.kernels.vibration import Waveforms
from historian.errors import UnknownFeature
from historian.quality import BAD
from historian.samples import SampleBatch
from historian.stores.lake.store import LakeStore
from historian.stores.memory import MemoryStore
from historian.times import from_micros, micros
from historian.waveforms.batch import WaveformBatch
from tests.features.compute.pumps import (
    BURST,
    EPOCH,
    NOW,
    PROCESS,
    RATE,
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


def test_a_row_has_the_features_of_the_samples_before_its_end(tmp_path: Path) -> None:
    """One second ending at its event timestamp, for each asset and point; created when the job ran."""
    store, site = MemoryStore(), plant(tmp_path, EPOCH)
    for tag in ("p1.de_h", "p1.nde_h", "p2.de_h"):
        write(store, signal(tag, 0, 2), source="live", now=NOW)
    report = compute(site, store, at(NOW))
    assert report == {"pump_epoch": ViewReport(feature_rows=8, windows=12, invalid=3)}
    row = stored(site, EPOCH).row(
        by_predicate=(pl.col("asset") == "p1") & (pl.col("event_timestamp") == START + SECOND), named=True
    )
    windows = Waveforms(signal("x", 0, 1)["value"].to_numpy()[None], RATE, "g")
    assert {spec.name: row[f"nde_h_{spec.name}"] for spec in TIME} == {
        spec.name: spec.kernel(windows)[0] for spec in TIME
    }
    assert (row["nde_h_n"], row["nde_h_valid"], row["created_timestamp"]) == (RATE, True, NOW)
    assert stored(site, EPOCH).filter(asset="p2")["nde_h_rms_ac"].null_count() == 4


def test_a_second_run_appends_nothing(tmp_path: Path) -> None:
    """Without a change there is no row and no commit, and nothing is due."""
    store, site = MemoryStore(), plant(tmp_path, EPOCH, PROCESS)
    write(store, signal("p1.de_h", 0, 3), source="live", now=NOW)
    assert ViewJob(site, EPOCH, store, at(NOW)).plan(budget(MEMORY, 1)).samples == 3000
    compute(site, store, at(NOW))
    before = stored(site, EPOCH)
    assert compute(site, store, at(NOW + SECOND)) == {"pump_epoch": ViewReport(), "pump_process": ViewReport()}
    assert not ViewJob(site, EPOCH, store, at(NOW)).plan(budget(MEMORY, 1)).partitions
    assert_frame_equal(stored(site, EPOCH), before)


@pytest.mark.parametrize(("rows_per_commit", "commits"), [(1, 2), (10_000, 1)])
def test_no_more_rows_wait_in_memory_than_a_commit_may_have(tmp_path: Path, rows_per_commit: int, commits: int) -> None:
    """Two assets of other times are computed one by one; each commit has its created timestamp."""
    store, site, ticks = MemoryStore(), plant(tmp_path, EPOCH), count()
    for tag, begun in (("p1.de_h", 0), ("p2.de_h", 60)):
        write(store, signal(tag, begun, 3), source="live", now=NOW)
    compute(site, store, lambda: NOW + next(ticks) * SECOND, rows_per_commit=rows_per_commit)
    assert stored(site, EPOCH)["created_timestamp"].n_unique() == commits


def test_late_samples_correct_the_rows_they_touch(tmp_path: Path) -> None:
    """Filling a gap later gives its windows newer rows; the old rows stay, and no other window has a new row."""
    store, site = MemoryStore(), plant(tmp_path, EPOCH)
    write(store, signal("p1.de_h", 0, 2.25), source="live", now=NOW)
    write(store, signal("p1.de_h", 2.75, 2.25), source="live", now=NOW)
    compute(site, store, at(NOW))
    before = stored(site, EPOCH)
    write(store, signal("p1.de_h", 2.25, 0.5), source="late", now=NOW)
    report = compute(site, store, at(NOW + SECOND))["pump_epoch"]
    corrected = stored(site, EPOCH).filter(pl.col("created_timestamp") == NOW + SECOND)
    assert ((corrected["event_timestamp"] - START).dt.total_milliseconds() / 1000).to_list() == [2.5, 3.0, 3.5]
    assert (report.feature_rows, corrected["de_h_valid"].to_list()) == (3, [True] * 3)
    assert_frame_equal(stored(site, EPOCH).filter(pl.col("created_timestamp") == NOW), before)


def test_a_stretch_that_replaces_the_last_sample_of_a_window_corrects_it(tmp_path: Path) -> None:
    """It begins after the window's end, and the sample it replaces is 0.4 periods before it, inside the window."""
    store, site = MemoryStore(), plant(tmp_path, EPOCH)
    batches = [signal("p1.de_h", 0.0008, 2), signal("p1.de_h", 1.0002, 0.5)]
    for each in batches:
        write(store, each, source="live", now=NOW)
        compute(site, store, at(NOW))
    assert_frame_equal(newest(site, EPOCH), at_once(batches, EPOCH))


def test_a_backfill_of_earlier_time_adds_its_rows(tmp_path: Path) -> None:
    """The rows are the same as if the samples had arrived in order."""
    for view in (EPOCH, BURST):
        store, site = MemoryStore(), plant(tmp_path, view)
        write(store, signal("p1.de_h", 1000, 3), source="live", now=NOW)
        compute(site, store, at(NOW))
        write(store, signal("p1.de_h", 0, 5), source="archive", now=NOW)
        compute(site, store, at(NOW + SECOND))
        whole = [signal("p1.de_h", 0, 5), signal("p1.de_h", 1000, 3)]
        assert_frame_equal(newest(site, view), at_once(whole, view))


def test_a_bad_sample_makes_its_windows_invalid(tmp_path: Path) -> None:
    """The row has the number of samples and no features."""
    store, site = MemoryStore(), plant(tmp_path, EPOCH)
    good, bad = signal("p1.de_h", 0, 1.5), batch("p1.de_h", [micros(START) + 700_000], [None], quality=BAD)
    write(store, good, source="live", now=NOW)
    write(store, bad, source="live", now=NOW)
    compute(site, store, at(NOW))
    rows = stored(site, EPOCH).select("de_h_n", "de_h_valid", "de_h_rms_ac").rows()
    assert rows == [(500, False, None), (1000, False, None), (1000, False, None)]


def test_values_at_the_end_of_float64_give_missing_features(tmp_path: Path) -> None:
    """A decoding error of 1e300 overflows what is squared: no feature of a waveform is there, and no warning."""
    store, site = MemoryStore(), plant(tmp_path, EPOCH, PROCESS)
    for tag, period in (("p1.de_h", 0.001), ("p1.oil_temp", 1.0)):
        steady = signal(tag, 0, 1000 * period, period=period)
        write(
            store,
            batch(tag, steady["timestamp"].to_physical().to_list(), [1e300, -1e300] * 500),
            source="live",
            now=NOW,
        )
    compute(site, store, at(NOW))
    fast = stored(site, EPOCH).select("de_h_valid", "de_h_p2p", "de_h_kurtosis", "de_h_reason").row(-1)
    assert fast == (True, None, None, "magnitude")
    held = stored(site, PROCESS).select("oil_temp_valid", "oil_temp_max", "oil_temp_std", "oil_temp_reason").row(-1)
    assert held == (True, 1e300, None, "magnitude")


def test_a_silent_process_tag_does_not_hold_up_its_neighbours(tmp_path: Path) -> None:
    """While it is fresh, a value that has not changed is valid up to the asset's newest sample."""
    store, site = MemoryStore(), plant(tmp_path, PROCESS)
    write(store, signal("p1.oil_temp", 0, 10, period=1), source="live", now=NOW)
    write(store, signal("p1.pressure", 0, 12.5, period=0.5), source="live", now=NOW)
    compute(site, store, at(NOW))
    row = stored(site, PROCESS).row(-1, named=True)
    assert (row["event_timestamp"], row["oil_temp_valid"], row["oil_temp_count"]) == (START + 12 * SECOND, True, 8)


class Busy:
    """A store to which something is written just before it is read."""

    def __init__(self, store: MemoryStore, late: SampleBatch, clock: Callable[[], datetime]) -> None:
        self.store, self.late, self.clock = store, late, clock
        self.latest, self.changes = store.latest, store.changes
        self.write, self.write_waveforms = store.write, store.write_waveforms
        self.extremes, self.gaps = store.extremes, store.gaps

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """Nothing: no process point is computed."""
        return self.store.read(tags, start, end)

    def read_waveforms(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[WaveformBatch]:
        """The late ones included."""
        write(self.store, self.late, source="late", now=self.clock())
        return self.store.read_waveforms(tags, start, end)


def test_a_sample_is_in_no_row_created_before_it_was_ingested(tmp_path: Path) -> None:
    """Samples may arrive during the run: rows are stamped when they are appended, not when the run started."""
    ticks = count()
    store, site = MemoryStore(), plant(tmp_path, EPOCH)

    def clock() -> datetime:
        return NOW + next(ticks) * SECOND

    write(store, signal("p1.de_h", 0, 0.5), source="live", now=clock())
    write(store, signal("p1.de_h", 1, 0.5), source="live", now=clock())
    compute(site, Busy(store, signal("p1.de_h", 0.5, 0.5), clock), clock)
    ingested = store.changes(None)["ingested_at"].max()
    row = stored(site, EPOCH).row(by_predicate=pl.col("event_timestamp") == START + SECOND, named=True)
    assert row["de_h_valid"]
    assert row["created_timestamp"] > ingested


def test_an_unknown_view_is_named(tmp_path: Path) -> None:
    """The error suggests a similar name, before anything is computed."""
    with pytest.raises(UnknownFeature, match=r"pump_proces.*did you mean pump_process"):
        compute(plant(tmp_path, PROCESS), MemoryStore(), at(NOW), views=["pump_proces"])


def test_reads_report_their_progress(tmp_path: Path) -> None:
    """Every sample read is counted once."""
    store, site, read = MemoryStore(page_rows=1000), plant(tmp_path, EPOCH), list[int]()
    write(store, signal("p1.de_h", 0, 5), source="live", now=NOW)
    compute(site, store, at(NOW), advance=read.append)
    assert sum(read) == 5000


def test_works_on_the_lake(tmp_path: Path) -> None:
    """The embedded store and the store in memory give the same rows."""
    batches = [signal("p1.de_h", 0, 3), signal("p1.oil_temp", 0, 30, period=0.5), signal("p2.de_h", 1.3, 3)]
    site, store = (
        plant(tmp_path, EPOCH, BURST, PROCESS),
        LakeStore(tmp_path / "lake", page_rows=1500, page_samples=1500),
    )
    for each in batches:
        write(store, each, source="live", now=NOW)
    compute(site, store, at(NOW))
    for view in (EPOCH, BURST, PROCESS):
        assert_frame_equal(newest(site, view), at_once(batches, view))


def test_no_row_uses_what_came_after_its_event_timestamp() -> None:
    """Wild samples at and after the end of the last window change none of the rows before."""
    for view, period in ((EPOCH, 0.001), (PROCESS, 1.0)):
        tag = f"p1.{view.points[0]}"
        past = signal(tag, 0, 4000 * period, period=period)
        known = at_once([past], view)
        end = micros(START) + round(4000 * period * 1e6)
        future = batch(tag, [end, end + 1], [1e6, -1e6])
        assert known["event_timestamp"].max() <= from_micros(end)  # type: ignore[operator]
        assert_frame_equal(at_once([past, future], view)[: known.height], known)


def test_an_asset_added_to_the_plant_is_computed_from_its_first_sample(tmp_path: Path) -> None:
    """Its samples arrived while the plant file did not list it, so the ledger's cursor has passed them."""
    store, site = MemoryStore(), plant(tmp_path, EPOCH)
    tags = {name: tag for name, tag in site.tags.items() if tag.asset == "p1"}
    before = replace(site, assets={"p1": site.assets["p1"]}, tags=tags)
    for tag in ("p2.de_h", "p1.de_h"):
        write(store, signal(tag, 0, 2), source="live", now=NOW)
    compute(before, store, at(NOW))
    write(store, signal("p2.de_h", 2, 2), source="live", now=NOW)
    assert compute(site, store, at(NOW))["pump_epoch"].feature_rows == 8
    assert newest(site, EPOCH)["asset"].value_counts(sort=True).rows() == [("p2", 8), ("p1", 4)]
    assert compute(site, store, at(NOW))["pump_epoch"].windows == 0
