"""The spool in front of a real InfluxDB that fails in every way: no sample is lost or stored twice."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bridge.delivery.sink_runner import SinkRunner
from bridge.edge.batches import Batches
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.edge.spool import Spool
from historian.errors import AccessDenied, StoreUnavailable
from historian.intervals import INTERVALS
from historian.samples import SCHEMA, SampleBatch, normalise, sample_batch
from historian.stores.influx.address import parse_address
from historian.stores.influx.store import InfluxStore
from historian.stores.influx.wire import open_wire
from tests.servers import Server, influx1, shim, small_disk

T0 = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 2, tzinfo=UTC)
EVER = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))


def samples_of(tag: str, first: int, count: int, *, start: datetime = T0) -> SampleBatch:
    """`count` samples a millisecond apart, whose value is their number."""
    numbers = pl.int_range(first, first + count, eager=True)
    columns = {
        "tag": pl.repeat(tag, count, eager=True),
        "timestamp": start + numbers.cast(pl.Duration("ms")).cast(pl.Duration("us")),
        "value": numbers.cast(pl.Float64),
        "text": pl.repeat(None, count, dtype=pl.String, eager=True),
        "quality": pl.repeat(0, count, dtype=pl.UInt32, eager=True),
    }
    return sample_batch(pl.DataFrame(columns, schema_overrides=dict(SCHEMA)))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """InfluxDB 1.6 with a database `north`."""
    influxd = influx1(tmp_path, max_body=2_000_000)
    influxd.start()
    command(influxd, "CREATE DATABASE north")
    yield influxd
    influxd.stop()


@pytest.fixture
def store(server: Server) -> Iterator[InfluxStore]:
    """The store in it."""
    opened = InfluxStore(open_wire(parse_address(f"influxdb://127.0.0.1:{server.port}/north"), ""))
    yield opened
    opened.close()


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    """An edge database."""
    opened = Edge(tmp_path / "edge.db")
    yield opened
    opened.close()


def command(server: Server, text: str) -> None:
    """Runs an administrative command."""
    httpx.post(f"{server.base}/query", params={"q": text}, timeout=30).raise_for_status()


def spooled(edge: Edge, *batches: SampleBatch) -> Spool:
    """A spool that has accepted these batches from `line1`."""
    spool = Spool(edge)
    for batch in batches:
        spool.append(Batches(batch), source="line1", now=NOW, covered=INTERVALS.to_frame())
    return spool


def stored(store: InfluxStore, *tags: str) -> pl.DataFrame:
    """All samples in the store."""
    return pl.concat([samples_of("none", 0, 0), *store.read(tags, *EVER)]).sort("tag", "timestamp")


def drain(runner: SinkRunner) -> None:
    """Forwards until the spool is empty."""
    while runner.forward(NOW):
        pass


@pytest.mark.slow
def test_a_server_killed_in_mid_batch_loses_and_doubles_nothing(edge: Edge, store: InfluxStore, server: Server) -> None:
    """kill -9 three times while the runner writes; the batch in flight is written again when the server is back."""
    batches = [samples_of("a", number * 50_000, 50_000) for number in range(12)]
    spool = spooled(edge, *batches)
    runner = SinkRunner(edge, store, ["line1"])

    async def forward() -> None:
        finish = asyncio.Event()
        running = asyncio.create_task(runner.run(finish, every=0.05))
        while await asyncio.to_thread(spool.waiting):
            await asyncio.sleep(0.1)
        finish.set()
        await running

    def kill() -> None:
        for wait in (0.4, 0.7, 0.3):
            time.sleep(wait)
            server.stop(signal.SIGKILL)
            server.start()

    killer = threading.Thread(target=kill)
    killer.start()
    asyncio.run(asyncio.wait_for(forward(), 90))
    killer.join()
    assert_frame_equal(stored(store, "a"), pl.concat(batches))
    assert spool.accepted() == {"line1": 600_000}


def test_an_outage_is_caught_up_with_in_order(edge: Edge, store: InfluxStore, server: Server) -> None:
    """Three hours of samples wait in the spool while the store is down; the oldest are written first."""
    server.stop()
    hours = [samples_of("a", 0, 1_000, start=T0 + timedelta(hours=number)) for number in range(3)]
    spool = spooled(edge, *hours)
    runner = SinkRunner(edge, store, ["line1"])
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            runner.forward(NOW)
    assert spool.waiting() == {"line1": 3_000}
    server.start()
    drain(runner)
    assert_frame_equal(stored(store, "a"), pl.concat(hours))
    assert spool.waiting() == {}


@pytest.mark.slow
def test_a_full_disk_of_the_server_is_an_outage(edge: Edge, tmp_path: Path) -> None:
    """The spool keeps what InfluxDB cannot: once there is room and it was restarted, every sample is there once.

    InfluxDB 1.6 refuses writes even when there is room again, until it is restarted. What it accepts after that may lie
    behind a torn entry of its log, which it no longer reads after another kill -9; so there is none here.
    """
    noise = pl.Series(np.random.default_rng(0).normal(size=800_000))  # which it cannot compress
    samples = sample_batch(samples_of("a", 0, 800_000).with_columns(value=noise))
    with small_disk(tmp_path, 32) as disk:
        (disk / "ballast").write_bytes(bytes(24 * 2**20))
        server = influx1(disk)
        server.start()
        command(server, "CREATE DATABASE north")
        store = InfluxStore(open_wire(parse_address(f"influxdb://127.0.0.1:{server.port}/north"), ""))
        spool = spooled(edge, *(SampleBatch(part) for part in samples.iter_slices(50_000)))
        runner = SinkRunner(edge, store, ["line1"])
        with pytest.raises(StoreUnavailable, match="no space left on device"):
            drain(runner)
        assert spool.waiting()["line1"] > 0
        (disk / "ballast").unlink()
        server.stop(signal.SIGKILL)
        server.start()
        drain(runner)
        assert_frame_equal(stored(store, "a"), samples)
        assert Quarantine(edge).counts().is_empty()
        store.close()
        server.stop()


def test_retry_after_of_a_busy_server_is_respected(edge: Edge, tmp_path: Path, server: Server) -> None:
    """A proxy in front of it answers 429 or 503 with Retry-After: the batch stays in the spool for that long."""
    for status in (429, 503):
        directory = tmp_path / str(status)
        directory.mkdir()
        limited = shim(directory, server, busy=status)
        limited.start()
        store = InfluxStore(open_wire(parse_address(f"influxdb://127.0.0.1:{limited.port}/north?bucket=north"), "any"))
        spool = spooled(edge, samples_of("a", 0, 10))
        with pytest.raises(StoreUnavailable, match=f"answers {status}") as refused:
            SinkRunner(edge, store, ["line1"]).forward(NOW)
        assert refused.value.retry_after == 17
        assert spool.waiting()["line1"] >= 10
        store.close()
        limited.stop()


def test_what_goes_over_a_network_is_compressed(server: Server) -> None:
    """An address other than this machine's loopback gets gzip, which the server reads."""
    store = InfluxStore(open_wire(parse_address(f"influxdb://127.1:{server.port}/north"), ""))
    batch = samples_of("a", 0, 30_000)
    store.write(batch, source="line1", now=NOW)
    assert_frame_equal(stored(store, "a"), batch)
    store.close()


def test_a_refused_sample_goes_to_quarantine_with_the_servers_reason(
    edge: Edge, store: InfluxStore, server: Server
) -> None:
    """Points older than the retention are refused one by one; the good ones in the same batch are stored."""
    command(server, "CREATE DATABASE brief WITH DURATION 1h")
    brief = InfluxStore(open_wire(parse_address(f"influxdb://127.0.0.1:{server.port}/brief"), ""))
    now = datetime.now(UTC)
    fresh, old = samples_of("a", 0, 100, start=now), samples_of("b", 0, 3, start=now - timedelta(days=30))
    spooled(edge, sample_batch(pl.concat([fresh, old])))
    drain(SinkRunner(edge, brief, ["line1"]))
    assert_frame_equal(stored(brief, "a", "b"), fresh)
    kept = Quarantine(edge).rows()
    assert kept.height == 3
    assert kept["detail"].str.contains("beyond retention policy").all()
    brief.close()


def test_a_field_of_another_type_is_quarantined_whole(edge: Edge, store: InfluxStore, server: Server) -> None:
    """Another client wrote text into `value` that week: our numbers of that week cannot be stored, the others can."""
    line = f'samples,tag=x value="text" {int(T0.timestamp()) * 10**9}'
    httpx.post(f"{server.base}/write", params={"db": "north"}, content=line).raise_for_status()
    week, later = samples_of("a", 0, 500), samples_of("a", 0, 500, start=T0 + timedelta(days=30))
    spooled(edge, week, later)
    drain(SinkRunner(edge, store, ["line1"]))
    assert_frame_equal(stored(store, "a"), later)
    kept = Quarantine(edge).rows()
    assert kept.height == 500
    assert kept["detail"].str.contains("field type conflict").all()


def test_a_body_too_large_is_halved_until_it_fits(edge: Edge, store: InfluxStore) -> None:
    """The server takes two megabytes a request; a larger batch is split and stored."""
    batch = samples_of("a-tag-with-a-long-name-" + "x" * 100, 0, 30_000)
    spooled(edge, batch)
    drain(SinkRunner(edge, store, ["line1"]))
    assert_frame_equal(stored(store, batch["tag"][0]), batch)
    assert Quarantine(edge).counts().is_empty()


def test_a_missing_database_stops_with_the_command_that_creates_it(edge: Edge, server: Server) -> None:
    """Retrying cannot help; what was read stays in the spool."""
    absent = InfluxStore(open_wire(parse_address(f"influxdb://127.0.0.1:{server.port}/absent"), ""))
    spool = spooled(edge, samples_of("a", 0, 10))
    with pytest.raises(AccessDenied, match="penstock store init"):
        SinkRunner(edge, absent, ["line1"]).forward(NOW)
    with pytest.raises(AccessDenied, match="penstock store init"):
        absent.latest(["a"])
    assert spool.waiting() == {"line1": 10}
    absent.close()


def test_a_wrong_password_stops_with_what_to_check(edge: Edge, tmp_path: Path) -> None:
    """A 401 is not treated as an outage."""
    (tmp_path / "auth").mkdir()
    guarded = influx1(tmp_path / "auth", auth=True)
    guarded.start()
    command(guarded, "CREATE USER admin WITH PASSWORD 'right' WITH ALL PRIVILEGES")
    store = InfluxStore(open_wire(parse_address(f"influxdb://admin@127.0.0.1:{guarded.port}/north"), "wrong"))
    spooled(edge, samples_of("a", 0, 10))
    with pytest.raises(AccessDenied, match=r"does not let us use database north .*check \[historian\] token"):
        SinkRunner(edge, store, ["line1"]).forward(NOW)
    store.close()
    guarded.stop()


def test_an_edge_whose_clock_is_ahead_hides_nothing(store: InfluxStore) -> None:
    """The edge's clock and its samples are ten minutes ahead: the ledger uses the server's clock."""
    ahead = datetime.now(UTC) + timedelta(minutes=10)
    store.write(samples_of("a", 0, 10, start=ahead), source="line1", now=ahead)
    cursor = store.changes(None)["ingested_at"].to_list()[-1]
    assert cursor < ahead
    store.write(samples_of("b", 0, 10), source="line2", now=NOW)
    assert store.changes(cursor)["tag"].to_list() == ["b"]
    assert store.latest(["a"])["value"].to_list() == [9]


@pytest.mark.slow
def test_a_hundred_thousand_series_are_written_and_read(store: InfluxStore) -> None:
    """Each tag is a series, and a query for thousands of them works."""
    tags = pl.Series([f"plant.line{number // 1000}.tag{number:06}" for number in range(100_000)])
    columns = {"tag": tags, "timestamp": T0, "value": 1.5, "text": None, "quality": 0}
    batch = normalise(pl.DataFrame(columns, schema_overrides=dict(SCHEMA))).batch
    store.write(batch, source="line1", now=NOW)
    some = sorted(tags[::50])
    assert stored(store, *some)["tag"].to_list() == some
    assert store.changes(None).height == 100_000
