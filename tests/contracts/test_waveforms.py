"""The store contract for waveforms: the promises of `historian.stores.protocols` held against every store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from historian.quality import BAD_NO_DATA
from historian.samples import SCHEMA, sample_batch
from historian.stores.protocols import LEDGER, Store
from historian.waveforms.batch import WaveformBatch, empty_waveforms, waveform_batch
from historian.waveforms.encoding import HEADS, encode
from historian.waveforms.timing import last_us
from tests.contracts.stores import EVER, STORES, Open, opener
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
from tests.historian.waveforms.rows import ODD, bits

MILLISECOND = timedelta(milliseconds=1)
RATE = 1000.0


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Opens an empty store that pages after so many samples."""
    return opener(request, tmp_path_factory)


@pytest.fixture
def store(open_store: Open) -> Store:
    """An empty store."""
    return open_store(4_000_000)


def wave(tag: str, *values: float, at: int = 0, rate: float = RATE, quality: int = 0) -> WaveformBatch:
    """A stretch that begins `at` milliseconds after T0."""
    head = pl.DataFrame([(tag, T0 + at * MILLISECOND, rate, len(values), quality)], schema=HEADS, orient="row")
    return waveform_batch(encode(head, np.array(values, np.float64)))


def test_what_is_written_is_read_bit_for_bit(store: Store) -> None:
    """Every encoding, NaN and infinities, rates, qualities, statistics and awkward names come back as they went in."""
    names = ['käse, "x" = y/%20\\', "double", "int16", "minus.zero", "odd", "single"]
    single = np.array([0.1, 1e30], np.float32).tolist()
    values: list[Sequence[float]] = [[1.0], [0.1, 1 / 3], [0.5, 0.25, -1.0], [-0.0, 0.001, 0.0], ODD, single]
    waves = {name: wave(name, *each, rate=25_600 / 3) for name, each in zip(names, values, strict=True)}
    waves["double"] = waveform_batch(waves["double"].with_columns(quality=pl.lit(0xFFFFFFFF, pl.UInt32)))
    assert {*pl.concat(waves.values())["encoding"]} == {"int16", "int16z", "float32", "float64"}
    batch = waveform_batch(pl.concat(waves.values()).sort("tag"))
    store.write_waveforms(batch, source="line1", now=NOW)
    assert_frame_equal(stretches(store, *names).sort("tag"), batch, check_exact=True)
    assert stretches(store, "never").is_empty()


def test_ranges_cut_stretches_to_the_microsecond(store: Store) -> None:
    """start <= time of a sample < end, and only the tags that are named."""
    for tag in ("a", "b"):
        store.write_waveforms(wave(tag, *range(10)), source="s", now=NOW)
    start, end = T0 + 2 * MILLISECOND, T0 + 5 * MILLISECOND
    found = stretches(store, "a", start=start, end=end)
    assert_frame_equal(found, wave("a", 2, 3, 4, at=2))
    assert stretches(store, "a", start=start + MICROSECOND, end=end + MICROSECOND)["high"].to_list() == [5]
    assert stretches(store, "a", start=start + MICROSECOND, end=start + MILLISECOND).is_empty()


def test_the_newest_write_counts_on_its_interval(store: Store) -> None:
    """A later stretch replaces what it covers, and nothing else, whatever the clocks of the writers say."""
    store.write_waveforms(wave("a", *range(10)), source="s", now=NOW)
    store.write_waveforms(wave("a", 99, 98, at=4), source="s", now=NOW - timedelta(days=1))
    assert samples_of(store, "a") == [
        (T0 + at * MILLISECOND, bits(value)) for at, value in enumerate([0, 1, 2, 3, 99, 98, 6, 7, 8, 9])
    ]


def test_pages_are_bounded_and_cut_each_stretch_exactly_once(open_store: Open) -> None:
    """Each page is entirely after the one before, and all together are complete."""
    store, oracle = open_store(16), Oracle(RATE)
    rng = np.random.default_rng(1)
    for first in range(0, 90, 30):
        batch = oracle.batch([Stretch(tag, first, 0, rng.normal(size=30)) for tag in ("a", "b")])
        store.write_waveforms(batch, source="s", now=NOW)
    pages = list(store.read_waveforms(["a", "b"], *EVER))
    spans = [(page["timestamp"].to_physical().min(), last_us(page).max()) for page in pages]
    assert len(pages) >= 10
    assert max(page["count"].sum() for page in pages) <= 18
    assert all(earlier[1] < later[0] for earlier, later in pairwise(spans))
    for tag in ("a", "b"):
        assert samples_of(store, tag) == oracle.samples(tag, *EVER)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    writes=WRITES,
    rate=st.sampled_from([1000.0, 25_000.0]),
    page_rows=st.integers(1, 60),
    span=st.tuples(st.integers(-5, 60), st.integers(-5, 60)).map(sorted),
    step=st.sampled_from([0.4, 3, 17, 1000]),
)
def test_any_history_of_writes_reads_like_a_dictionary_of_samples(
    open_store: Open, writes: list[list[Stretch]], rate: float, page_rows: int, span: list[int], step: float
) -> None:
    """Overlapping, late and contradicting stretches, over midnight, whatever the pages and the ranges."""
    store, oracle, period = open_store(page_rows), Oracle(rate), timedelta(seconds=1 / rate)
    for write in writes:
        store.write_waveforms(oracle.batch(write), source="s", now=NOW)
    start, end = (T0 + index * period for index in span)
    assert_held(store, oracle, start, end + MICROSECOND, step * period)


def test_latest_is_the_last_sample_of_the_last_stretch(store: Store) -> None:
    """A late write does not become the latest value; samples are found beside waveforms; NaN is no value."""
    store.write_waveforms(wave("a", 1, 2, 3), source="s", now=NOW)
    store.write_waveforms(wave("a", 9, 9, at=-1000), source="s", now=NOW)
    store.write_waveforms(wave("b", 1, float("nan"), quality=0x40000000), source="s", now=NOW)
    store.write(sample_batch(pl.DataFrame([("c", T0, 5.0, None, 0)], SCHEMA, orient="row")), source="s", now=NOW)
    rows = [
        ("a", T0 + 2 * MILLISECOND, 3.0, None, 0),
        ("b", T0 + MILLISECOND, None, None, BAD_NO_DATA),
        ("c", T0, 5.0, None, 0),
    ]
    assert_frame_equal(store.latest(["a", "b", "c", "never"]), pl.DataFrame(rows, SCHEMA, orient="row"))


def test_latest_is_not_a_sample_that_was_replaced(store: Store) -> None:
    """A newer stretch that ends half a period earlier takes the last sample's place."""
    store.write_waveforms(wave("a", 1, 2, 3, rate=100), source="s", now=NOW)
    store.write_waveforms(wave("a", 8, 9, at=7, rate=100), source="s", now=NOW)
    assert store.latest(["a"])["value"].to_list() == [9.0]


def test_changes_count_samples_and_know_when_the_last_one_was(store: Store) -> None:
    """The ledger says which source wrote which interval of which tag; cursors work over both kinds of writes."""
    both = waveform_batch(pl.concat([wave("a", 1, 2), wave("a", 3, 4, 5, at=10), wave("b", 1)]))
    store.write_waveforms(both, source="line1", now=NOW)
    cursor = store.changes(None)["ingested_at"].max()
    store.write(sample_batch(pl.DataFrame([("c", T0, 5.0, None, 0)], SCHEMA, orient="row")), source="s", now=NOW)
    assert isinstance(cursor, datetime)
    assert store.changes(cursor)["tag"].to_list() == ["c"]
    rows = [
        (NOW, "line1", "a", T0, T0 + 12 * MILLISECOND, 5),
        (NOW, "line1", "b", T0, T0, 1),
        (NOW, "s", "c", T0, T0, 1),
    ]
    changes = store.changes(None).sort("tag")
    assert_frame_equal(
        changes.drop("ingested_at"), pl.DataFrame(rows, LEDGER, orient="row").drop("ingested_at"), check_exact=True
    )


def test_an_empty_batch_leaves_no_trace(store: Store) -> None:
    """It adds no stretches and no ledger row."""
    store.write_waveforms(empty_waveforms(), source="s", now=NOW)
    assert store.changes(None).is_empty()
    assert list(store.read_waveforms(["a"], *EVER)) == []


def test_a_plot_and_a_search_for_gaps_have_both_kinds_of_tags(store: Store) -> None:
    """Samples and waveforms are summarised in one call; a slow waveform has gaps between its samples."""
    store.write_waveforms(wave("a", 1, float("inf"), 3, 4, rate=100), source="s", now=NOW)
    store.write(sample_batch(pl.DataFrame([("c", T0, 5.0, None, 0)], SCHEMA, orient="row")), source="s", now=NOW)
    end = T0 + 40 * MILLISECOND
    assert store.extremes(["a", "c"], T0, end, every=20 * MILLISECOND).select("tag", "low", "high").rows() == [
        ("a", 1, 1),
        ("a", 3, 3),
        ("a", 4, 4),
        ("c", 5, 5),
    ]
    assert store.gaps(["a", "c"], T0, end, longer_than=10 * MILLISECOND).rows() == [("c", T0, end)]
    assert store.gaps(["a"], T0, end, longer_than=9 * MILLISECOND).height == 4
