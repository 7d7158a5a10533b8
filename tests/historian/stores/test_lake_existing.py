"""A lake written by delta-rs, as by earlier versions and other tools, is read, written and compacted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import CommitProperties, Transaction, write_deltalake
from polars.testing import assert_frame_equal

from historian.samples import SCHEMA, SampleBatch, sample_batch
from historian.stores.lake.layout import STORED, stored
from historian.stores.lake.store import LakeStore
from historian.stores.protocols import ledger_rows
from historian.times import micros

T0 = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EVER = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))


def sample(number: int) -> SampleBatch:
    """The sample of a minute."""
    row = ("a", T0 + timedelta(minutes=number), float(number), None, 0)
    return sample_batch(pl.DataFrame([row], schema=SCHEMA, orient="row"))


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Three writes within a millisecond, each microseconds after a whole one: Delta's statistics leave those out."""
    for number in range(3):
        at = T0 + (700 + number) * MICROSECOND
        rows = stored(sample(number).with_columns(ingested_at=pl.lit(at, STORED["ingested_at"])))
        write_deltalake(tmp_path / "samples", rows, mode="append", partition_by=["day"])
        done = CommitProperties(app_transactions=[Transaction("ingested_at", micros(at))])
        entries = ledger_rows(sample(number), source="s", ingested_at=at)
        write_deltalake(tmp_path / "ledger", entries, mode="append", commit_properties=done)
    return tmp_path


def test_its_cursors_remain_valid(lake: Path) -> None:
    """A write a microsecond after a cursor is found, and new writes come after all of it."""
    store = LakeStore(lake)
    assert store.changes(T0 + 700 * MICROSECOND)["first"].dt.minute().to_list() == [0, 1]
    store.write(sample(9), source="s", now=T0)
    assert store.changes(T0 + 702 * MICROSECOND)["ingested_at"].to_list() == [T0 + 703 * MICROSECOND]


def test_it_is_read_and_compacted(lake: Path) -> None:
    """Samples and newest values are the same before and after, including later writes."""
    store = LakeStore(lake)
    assert_frame_equal(store.latest(["a"]), sample(2))
    store.write(sample(1), source="s", now=T0)
    store.write(sample(3), source="s", now=T0)
    expected = pl.concat([sample(number) for number in range(4)])
    assert_frame_equal(pl.concat(store.read(["a"], *EVER)), expected)
    assert store.compact() == {"files_before": 10, "files_after": 3}
    assert_frame_equal(pl.concat(LakeStore(lake).read(["a"], *EVER)), expected)
    assert_frame_equal(LakeStore(lake).latest(["a"]), sample(3))
    assert len(store.vacuum(keep=timedelta(0), dry_run=False)) == 9
    assert_frame_equal(pl.concat(LakeStore(lake).read(["a"], *EVER)), expected)
