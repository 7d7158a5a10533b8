"""Waveforms in a real InfluxDB: what is particular to it, and any history of writes against the pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from historian.errors import InvalidBatch, StoreUnavailable
from historian.stores.influx.address import parse_address
from historian.stores.influx.store import InfluxStore
from historian.stores.influx.wire import open_wire
from historian.stores.overview import extremes_of, gaps_of
from historian.waveforms.batch import WAVEFORM_SCHEMA, WaveformBatch, empty_waveforms, waveform_batch
from historian.waveforms.cutting import cut
from historian.waveforms.joining import newest_wins_waveforms
from historian.waveforms.packing import unpack
from tests.contracts.stores import EVER, new_database
from tests.historian.waveforms.rows import at, samples, stretch
from tests.servers import Server, answering

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NAMES = count()
KINDS = ["influx1", pytest.param("influx2", marks=pytest.mark.influxdb2)]

Open = Callable[[int], InfluxStore]


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The url and the token of an empty database."""
    return new_database(request, request.param)


@pytest.fixture
def open_store(database: tuple[str, str]) -> Iterator[Open]:
    """Opens the database as a store that pages after so many samples."""
    (url, token), stores = database, []

    def open_one(page_rows: int) -> InfluxStore:
        stores.append(InfluxStore(open_wire(parse_address(url), token), page_rows=page_rows))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: Open) -> InfluxStore:
    """An empty store."""
    return open_store(4_000_000)


def write(store: InfluxStore, *frames: pl.DataFrame) -> None:
    """Write stretches as one batch."""
    store.write_waveforms(waveform_batch(pl.concat(frames).sort("tag", "timestamp")), source="s", now=NOW)


def read(store: InfluxStore, tags: list[str], start: datetime, end: datetime) -> pl.DataFrame:
    """Return the stretches of a range in one frame, after a look at their pages."""
    pages = list(store.read_waveforms(tags, start, end))
    times = [unpack(page)["timestamp"] for page in pages]
    for earlier, later in pairwise(times):
        assert max(earlier.to_list()) < min(later.to_list())
    return pl.concat([empty_waveforms(), *pages]).sort("tag", "timestamp")


def test_stretches_come_back_bit_for_bit(store: InfluxStore) -> None:
    """Every encoding, NaN and infinities, the largest and smallest numbers, and tags with awkward names."""
    odd = [float("nan"), float("-inf"), -0.0, 5e-324, -1.7976931348623157e308, 0.1]
    given_values = pl.concat(
        [
            stretch(0, np.arange(20_000) / 1000, rate=25_600.0, tag="a", quality=0x40000000),
            stretch(0, [-0.0, 0.001, 0.002], tag='käse, "x" = y/%20\\'),
            stretch(3, np.array([*odd[:3], 1e-45, 3.4e38], np.float32), tag="b", rate=25_600 / 3),
            stretch(0, odd, tag="c,octave=3"),
            stretch(0, [np.nan, np.inf], tag="d", quality=0x80000000),
        ]
    ).sort("tag", "timestamp")
    write(store, given_values)
    found = read(store, given_values["tag"].unique().to_list(), *EVER)
    assert_frame_equal(found, given_values, check_exact=True)
    assert samples(found) == samples(given_values)


@pytest.mark.parametrize("lengths", [(2000, 1000), (16_000, 24), (50, 49)])
def test_a_shorter_stretch_replaces_only_its_own_interval(store: InfluxStore, lengths: tuple[int, int]) -> None:
    """The rest of the longer one with the same start still counts."""
    longer, shorter = lengths
    write(store, stretch(0, np.zeros(longer, np.int16)))
    write(store, stretch(0, np.ones(shorter, np.int16)))
    values = unpack(read(store, ["a"], *EVER))["value"]
    assert values.to_list() == [1.0] * shorter + [0.0] * (longer - shorter)
    assert store.latest(["a"])["value"].to_list() == [0.0]


def test_statistics_of_an_overwritten_stretch_do_not_remain(store: InfluxStore) -> None:
    """InfluxDB merges the fields of a point, and a stretch without a finite value has no statistics."""
    write(store, stretch(0, [5.0, 7.0]))
    write(store, stretch(0, [np.nan, np.nan]))
    assert read(store, ["a"], *EVER)["high"].to_list() == [None]
    assert store.extremes(["a"], *EVER, every=timedelta(seconds=1)).is_empty()
    assert store.latest(["a"])["value"].to_list() == [None]


def test_the_last_write_is_the_newest_even_if_the_clock_goes_back(store: InfluxStore) -> None:
    """Writes of one process are ordered by it."""
    write(store, stretch(0, [1.0, 1.0, 1.0]))
    later = waveform_batch(stretch(1000, [2.0]))
    store.write_waveforms(later, source="s", now=NOW - timedelta(days=1))
    assert unpack(read(store, ["a"], *EVER))["value"].to_list() == [1.0, 2.0, 1.0]


@pytest.mark.parametrize("rate", [25_600.0, 1.0, 0.01])
def test_a_stretch_that_began_before_the_range_is_found(store: InfluxStore, rate: float) -> None:
    """However long it lasts; a fast tag next to it is not read from as far back."""
    long = stretch(0, np.arange(16_000, dtype=np.int16), rate=rate)
    write(store, long, stretch(0, [1.0], tag="b"))
    start = at(15_990.5 * 1e6 / rate)
    found = read(store, ["a", "b"], start, start + timedelta(seconds=3 / rate))
    assert_frame_equal(found, cut(WaveformBatch(long), start, start + timedelta(seconds=3 / rate)))
    assert len(found) == 1


def test_changes_count_samples(store: InfluxStore) -> None:
    """A ledger row covers the last sample of the last stretch."""
    write(store, stretch(0, np.ones(20_000, np.int16)), stretch(0, [1.0], tag="b"))
    rows = store.changes(None).sort("tag").select("source", "tag", "first", "last", "rows").rows()
    assert rows == [("s", "a", at(0), at(19_999_000), 20_000), ("s", "b", at(0), at(0), 1)]


def test_the_documented_plots_of_grafana_work(store: InfluxStore, database: tuple[str, str]) -> None:
    """The queries on the page, with Grafana's variables filled in, give envelope and rms of finite values."""
    write(store, stretch(0, [3.0, -4.0], tag="c101.de_h"), stretch(10_000, [np.nan, -12.0], tag="c101.de_h"))
    write(store, stretch(2_000_000, [np.nan], tag="c101.de_h"))
    page = Path(__file__).parents[3] / "docs" / "influxdb.md"
    lines, wire = [], open_wire(parse_address(database[0]), database[1])
    for query in re.findall(r"```sql\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        filled = query.replace("$timeFilter", "time >= 1767225600000000000").replace("$__interval", "1s")
        answer = b"".join(wire.query(filled)).decode().splitlines()
        lines += [line.split(",")[3:] for line in answer if line]
    assert lines == [["low", "high"], ["-12", "3"], ["rms"], ["7.505553499465135"]]
    wire.close()


def test_a_refused_stretch_makes_an_invalid_batch(influx1_server: Server) -> None:
    """InfluxDB stores the rest of the body; the sink's runner halves the batch to find the stretch."""
    query = "CREATE DATABASE brief WITH DURATION 1h"
    httpx.post(f"{influx1_server.base}/query", params={"q": query}).raise_for_status()
    store = InfluxStore(open_wire(parse_address(f"influxdb://127.0.0.1:{influx1_server.port}/brief"), ""))
    now = datetime.now(UTC).replace(microsecond=0)
    recent = stretch(0, [1.0, 2.0]).with_columns(timestamp=pl.lit(now, WAVEFORM_SCHEMA["timestamp"]))
    with pytest.raises(InvalidBatch) as refused:
        write(store, stretch(0, [1.0, 2.0]), recent)
    assert refused.value.dropped == 1
    assert_frame_equal(read(store, ["a"], *EVER), recent)
    assert store.changes(None).is_empty()
    store.close()


def test_a_server_that_is_busy_says_when_to_come_back() -> None:
    """Nothing is known about the stretches; they are written again later."""
    with answering({"": (503, {"Retry-After": "17"}, '{"error": "busy"}')}) as port:
        store = InfluxStore(open_wire(parse_address(f"influxdb://127.0.0.1:{port}/raw"), ""))
        with pytest.raises(StoreUnavailable) as refused:
            write(store, stretch(0, [1.0]))
        store.close()
    assert refused.value.retry_after == 17


# Periods of whole microseconds: a stretch that is cut starts at a rounded time, so others may move by a microsecond.
STRETCHES = st.lists(
    st.builds(
        lambda tag, start, values, rate: stretch(start, values, rate=rate, tag=tag),
        st.sampled_from("ab"),
        st.integers(0, 60).map(lambda step: step * 2_500),
        st.lists(st.one_of(st.integers(-3, 3).map(float), st.just(float("nan"))), min_size=1, max_size=30),
        st.sampled_from([1000.0, 312.5, 62.5]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    writes=STRETCHES,
    page_rows=st.integers(1, 60),
    borders=st.lists(st.integers(0, 300_000), min_size=2, max_size=2, unique=True).map(sorted),
    every=st.sampled_from([1_000, 7_000, 50_000]),
)
def test_any_history_of_writes_is_read_as_the_newest_of_each_interval(
    open_store: Open, writes: list[pl.DataFrame], page_rows: int, borders: list[int], every: int
) -> None:
    """Samples, extremes, gaps and the latest are those of all writes after the newest has won."""
    store, number = open_store(page_rows), next(NAMES)
    tags = [f"{number}a", f"{number}b"]  # of its own, which takes less time than a database
    written = [each.with_columns(tag=str(number) + pl.col("tag")) for each in writes]
    for each in written:
        write(store, each)
    kept = WaveformBatch(newest_wins_waveforms(pl.concat(written)))
    start, end = map(at, borders)
    within = cut(kept, start, end)
    assert sorted(samples(read(store, tags, start, end))) == sorted(samples(within))
    step = timedelta(microseconds=every)
    numbers = unpack(within).with_columns(value=pl.when(pl.col("value").is_finite()).then("value"))
    found = store.extremes(tags, start, end, every=step)
    assert_frame_equal(found, extremes_of([numbers], step))
    rows = numbers.sort("timestamp")
    expected = gaps_of([rows], tags, start, end, step)
    assert_frame_equal(store.gaps(tags, start, end, longer_than=step), expected.sort("tag", "after"))
    newest = unpack(kept).sort("tag", "timestamp").group_by("tag", maintain_order=True).last()
    assert store.latest(tags)["timestamp"].to_list() == newest["timestamp"].to_list()


def test_a_stretch_over_several_pages_is_complete(open_store: Open) -> None:
    """Stretches that cross a page's border are kept for the next, and a newer one after it still replaces a sample."""
    store = open_store(7)
    older, newer = stretch(0, np.arange(40.0), rate=100.0), stretch(100_300, -np.arange(1, 11.0), rate=100.0)
    for each in (older, newer, stretch(200_000, np.arange(50.0), rate=500.0)):
        write(store, each)
    whole = newest_wins_waveforms(pl.concat([older, newer, stretch(200_000, np.arange(50.0), rate=500.0)]))
    for start, end in [(at(0), at(500_000)), (at(95_000), at(100_200)), (at(199_000), at(215_000))]:
        expected = samples(cut(WaveformBatch(whole), start, end))
        assert samples(read(store, ["a"], start, end)) == expected
        high = store.extremes(["a"], start, end, every=timedelta(milliseconds=20))
        numbers = unpack(cut(WaveformBatch(whole), start, end))
        assert_frame_equal(high, extremes_of([numbers], timedelta(milliseconds=20)))
