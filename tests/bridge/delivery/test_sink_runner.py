"""The runner of a sink moves samples from the spool to the store, through outages and refusals, without loss."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bridge.delivery.retry import FIRST_S, LONGEST_S
from bridge.delivery.sink_runner import SinkRunner
from bridge.edge.batches import Batches
from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.edge.quarantine_rows import STRETCH
from bridge.edge.spool import Spool
from historian.errors import AccessDenied, StoreUnavailable
from historian.intervals import INTERVALS, intervals
from historian.samples import SCHEMA, SampleBatch, sample_batch
from historian.stores.memory import MemoryStore
from historian.stores.protocols import Reader
from historian.waveforms.batch import WaveformBatch, waveform_batch
from tests.historian.waveforms.rows import stretch

T0 = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
NOTHING = INTERVALS.to_frame()
Stores = Callable[..., Any]


def numbered(first: int, count: int) -> SampleBatch:
    """A sample a second whose value is its number."""
    rows = [("a", T0 + timedelta(seconds=number), float(number), None, 0) for number in range(first, first + count)]
    return sample_batch(pl.DataFrame(rows, schema=SCHEMA, orient="row"))


def stored(store: Reader) -> pl.DataFrame:
    """All samples in the store."""
    return pl.concat([SCHEMA.to_frame(), *store.read(["a"], T0, T0 + DAY)])


def spooled(edge: Edge, *batches: SampleBatch) -> Spool:
    """A spool with the batches given."""
    spool = Spool(edge)
    for batch in batches:
        spool.append(Batches(batch), source="s", now=NOW, covered=NOTHING)
    return spool


def test_what_is_stored_leaves_the_spool_and_widens_coverage(edge: Edge) -> None:
    """One round is enough; another would find nothing to do."""
    store, spool = MemoryStore(), Spool(edge)
    spool.append(Batches(numbered(0, 3)), source="s", now=NOW, covered=intervals(["a"], T0, T0 + DAY))
    runner = SinkRunner(edge, store, ["s"])
    assert not runner.forward(NOW)
    assert not runner.forward(NOW)
    assert_frame_equal(stored(store), numbered(0, 3))
    assert_frame_equal(Coverage(edge).of(["a"], T0, T0), intervals(["a"], T0, T0 + DAY))
    assert spool.waiting() == {}
    assert runner.written == {"s": 3}


def test_small_batches_become_one_write(edge: Edge, make_store: Stores) -> None:
    """A store that makes a file per write would otherwise be flooded with files."""
    store = make_store()
    spooled(edge, *(numbered(number, 1) for number in range(50)))
    SinkRunner(edge, store, ["s"]).forward(NOW)
    assert store.writes == [50]


def test_a_backlog_takes_several_writes_without_waiting_in_between(edge: Edge, make_store: Stores) -> None:
    """Each write is as large as allowed; only live samples are collected for a while before a write."""
    store = make_store()
    seconds = pl.DataFrame({"timestamp": pl.int_range(0, 600_000, eager=True) * timedelta(seconds=1) + T0})
    rest = numbered(0, 1).drop("timestamp")
    large = sample_batch(rest.join(seconds, how="cross").select(SCHEMA.names()))
    spool = spooled(edge, large, large, large)
    runner = SinkRunner(edge, store, ["s"])
    assert [runner.forward(NOW) for _ in range(3)] == [True, True, False]
    assert spool.waiting() == {}


def test_live_samples_are_collected_between_writes(edge: Edge, make_store: Stores) -> None:
    """However often samples arrive, there is about one write per interval."""
    store, spool = make_store(), Spool(edge)

    async def trickle() -> None:
        finish = asyncio.Event()
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(SinkRunner(edge, store, ["s"]).run(finish, every=0.5))
            for number in range(30):
                await asyncio.to_thread(
                    spool.append, Batches(numbered(number, 1)), source="s", now=NOW, covered=NOTHING
                )
                await asyncio.sleep(0.03)
            finish.set()

    asyncio.run(trickle())
    assert_frame_equal(stored(store), numbered(0, 30))
    assert len(store.writes) <= 5


def test_only_its_own_sources_are_forwarded(edge: Edge) -> None:
    """A stream and a backfill each empty their own part of the spool."""
    spool = spooled(edge, numbered(0, 3))
    assert not SinkRunner(edge, MemoryStore(), ["other"]).forward(NOW)
    assert spool.waiting() == {"s": 3}


def test_while_the_store_is_down_nothing_leaves_the_spool(edge: Edge, make_store: Stores) -> None:
    """Nothing counts as covered either."""
    store, spool = make_store(), Spool(edge)
    spool.append(Batches(numbered(0, 3)), source="s", now=NOW, covered=intervals(["a"], T0, T0 + DAY))
    store.down = True
    with pytest.raises(StoreUnavailable):
        SinkRunner(edge, store, ["s"]).forward(NOW)
    assert spool.waiting() == {"s": 3}
    assert Coverage(edge).of(["a"], T0, T0 + DAY).is_empty()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(st.sets(st.integers(0, 19)), st.lists(st.integers(1, 8), min_size=1, max_size=5))
def test_exactly_the_refused_samples_go_to_quarantine(
    tmp_path_factory: pytest.TempPathFactory, make_store: Stores, bad_values: set[int], sizes: list[int]
) -> None:
    """This holds for any set of refused samples and any division into batches."""
    edge, store, first = Edge(tmp_path_factory.mktemp("edge") / "edge.db"), make_store(*map(float, bad_values)), 0
    for size in sizes:
        spooled(edge, numbered(first, size))
        first += size
    runner = SinkRunner(edge, store, ["s"])
    while runner.forward(NOW):
        pass
    expected = numbered(0, first)
    refused = pl.col("value").is_in(list(map(float, bad_values)))
    assert_frame_equal(stored(store), expected.filter(~refused))
    kept = Quarantine(edge).rows()
    assert_frame_equal(kept.select(SCHEMA.names()).sort("timestamp"), expected.filter(refused))
    assert set(kept["reason"]) <= {"the store refused it"}
    assert set(kept["detail"]) <= {"1 of 1 values are refused"}
    assert Spool(edge).waiting() == {}
    edge.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(st.sets(st.integers(0, 9)), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_exactly_the_refused_stretches_go_to_quarantine(
    tmp_path_factory: pytest.TempPathFactory, make_store: Stores, refused: set[int], sizes: list[int]
) -> None:
    """Each is one row there, with its values; samples of the same batches are written."""
    edge, store, first = Edge(tmp_path_factory.mktemp("edge") / "edge.db"), make_store(*map(float, refused)), 0
    stretches = [stretch(1_000_000 * number, [-1.0, float(number)], tag="w") for number in range(sum(sizes))]
    for size in sizes:
        waveforms = waveform_batch(pl.concat(stretches[first : first + size]))
        Spool(edge).append(Batches(numbered(1_000 + first, 1), waveforms), source="s", now=NOW)
        first += size
    runner = SinkRunner(edge, store, ["s"])
    while runner.forward(NOW):
        pass
    every = pl.concat(stretches)
    is_refused = pl.col("high").is_in(list(map(float, refused)))
    found = pl.concat([every.clear(), *store.read_waveforms(["w"], T0 - 99 * DAY, T0)])
    assert_frame_equal(found, every.filter(~is_refused))
    kept = Quarantine(edge).rows()
    assert_frame_equal(kept.select(STRETCH.names()), every.filter(is_refused).select(STRETCH.names()))
    assert set(kept["reason"]) <= {"the store refused it"}
    assert runner.written == {"s": len(sizes) + 2 * found.height}
    assert Spool(edge).waiting() == {}
    edge.close()


def test_it_waits_out_an_outage_and_then_catches_up(edge: Edge, make_store: Stores) -> None:
    """The runner resumes by itself when the store is back."""
    store = make_store()
    store.down = True
    spool = spooled(edge, numbered(0, 3))

    async def outage() -> None:
        finish = asyncio.Event()
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(SinkRunner(edge, store, ["s"]).run(finish, every=0.01))
            await asyncio.sleep(0.1)
            store.down = False
            while spool.waiting():
                await asyncio.sleep(0.01)
            finish.set()

    asyncio.run(outage())
    assert_frame_equal(stored(store), numbered(0, 3))


@pytest.mark.parametrize("down", [True, False])
def test_when_stopped_it_empties_the_spool_if_the_store_is_up(edge: Edge, make_store: Stores, *, down: bool) -> None:
    """If the store is down, the runner ends all the same and the spool keeps its content."""
    store = make_store()
    store.down = down
    spool = spooled(edge, numbered(0, 3))

    async def end() -> None:
        finish = asyncio.Event()
        finish.set()
        async with asyncio.timeout(20):
            await SinkRunner(edge, store, ["s"]).run(finish, every=60)

    asyncio.run(end())
    assert spool.waiting() == ({"s": 3} if down else {})


class FailingStore:
    """A store that raises the given error for some sources, until it is repaired."""

    def __init__(self, error: Exception, *sources: str) -> None:
        self.memory = MemoryStore()
        self.error: Exception | None = error
        self.sources = sources

    def write(self, batch: SampleBatch, *, source: str, now: datetime) -> None:
        """See `Sink.write`."""
        self._check(source)
        self.memory.write(batch, source=source, now=now)

    def write_waveforms(self, batch: WaveformBatch, *, source: str, now: datetime) -> None:
        """See `Sink.write_waveforms`."""
        self._check(source)
        self.memory.write_waveforms(batch, source=source, now=now)

    def _check(self, source: str) -> None:
        if self.error is not None and source in self.sources:
            raise self.error


def rounds(runner: SinkRunner, count: int) -> list[float]:
    """The delays after this many rounds."""

    async def main() -> list[float]:
        return [await runner._round(lambda: NOW, 1.0) for _ in range(count)]

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AccessDenied("the token has expired"), "permanent"),
        (StoreUnavailable("down"), "retryable"),
        (StoreUnavailable("busy", retry_after=90.0), "throttled"),
        (ValueError("a fault in the store's client"), "unexpected"),
    ],
)
def test_every_failure_is_logged_and_retried(edge: Edge, error: Exception, kind: str) -> None:
    """No error ends the runner; it logs what is wrong and since when, and when it is well again."""
    store = FailingStore(error, "s")
    spool = spooled(edge, numbered(0, 3))
    runner = SinkRunner(edge, store, ["s"])
    rounds(runner, 3)
    assert (runner.status.state, runner.status.last_error, runner.status.failures) == (kind, str(error), 3)
    assert (runner.status.error_since, runner.denied.is_set()) == (NOW, kind == "permanent")
    assert spool.waiting() == {"s": 3}
    store.error = None
    rounds(runner, 1)
    assert (runner.status.state, runner.status.last_error, runner.status.error_since) == (None, "", None)
    assert_frame_equal(stored(store.memory), numbered(0, 3))


def test_back_off_grows_with_each_failure_and_is_reset_by_a_success(edge: Edge) -> None:
    """A store that is down is not flooded with requests."""
    store = FailingStore(StoreUnavailable("down"), "s")
    spooled(edge, numbered(0, 3))
    runner = SinkRunner(edge, store, ["s"])
    waits = rounds(runner, 7)
    assert waits[-1] >= LONGEST_S / 2 > FIRST_S >= waits[0]
    assert waits[5] > waits[2] > waits[0]
    store.error = None
    assert rounds(runner, 1) == [1.0]
    store.error = StoreUnavailable("down")
    spooled(edge, numbered(3, 1))
    assert rounds(runner, 1)[0] <= FIRST_S


def test_retry_after_is_respected(edge: Edge) -> None:
    """The delay the store requests is used if it is longer than the back-off."""
    spooled(edge, numbered(0, 3))
    assert rounds(SinkRunner(edge, FailingStore(StoreUnavailable("busy", retry_after=90.0), "s"), ["s"]), 1) == [90.0]
    short = SinkRunner(edge, FailingStore(StoreUnavailable("busy", retry_after=0.01), "s"), ["s"])
    assert rounds(short, 1)[0] >= FIRST_S / 2


def test_a_fault_with_one_source_does_not_hold_up_the_others(edge: Edge) -> None:
    """This holds whatever is wrong with that source's samples."""
    store = FailingStore(ValueError("odd samples"), "s")
    spool = spooled(edge, numbered(0, 3))
    spool.append(Batches(numbered(5, 2)), source="z", now=NOW)
    runner = SinkRunner(edge, store, ["s", "z"])
    rounds(runner, 1)
    assert spool.waiting() == {"s": 3}
    assert_frame_equal(stored(store.memory), numbered(5, 2))
    assert runner.status.state == "unexpected"


def test_coverage_is_added_before_the_spool_deletes(edge: Edge) -> None:
    """If coverage cannot be written, the samples stay in the spool, so that no coverage is lost."""
    spool = Spool(edge)
    spool.append(Batches(numbered(0, 3)), source="s", now=NOW, covered=intervals(["a"], T0, T0 + DAY))
    with edge.transaction() as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON coverage BEGIN SELECT RAISE(ABORT, 'no room'); END")
    runner = SinkRunner(edge, MemoryStore(), ["s"])
    rounds(runner, 1)
    assert (runner.status.state, spool.waiting()) == ("unexpected", {"s": 3})
    with edge.transaction() as database:
        database.execute("DROP TRIGGER full")
    rounds(runner, 1)
    assert spool.waiting() == {}
    assert Coverage(edge).of(["a"], T0, T0 + DAY).height == 1


def test_another_sink_has_its_own_pace_and_covers_nothing(edge: Edge) -> None:
    """The store continues while the other sink fails, and only writes to the store add coverage."""
    spool, store = Spool(edge), MemoryStore()
    spool.register("store", "mqtt")
    spool.append(Batches(numbered(0, 3)), source="s", now=NOW, covered=intervals(["a"], T0, T0 + DAY))
    broker = FailingStore(StoreUnavailable("no broker"), "s")
    publisher = SinkRunner(edge, broker, ["s"], name="mqtt")
    rounds(publisher, 1)
    rounds(SinkRunner(edge, store, ["s"]), 1)
    assert (spool.waiting(), spool.waiting(sink="mqtt")) == ({}, {"s": 3})
    assert_frame_equal(stored(store), numbered(0, 3))
    with edge.transaction() as database:
        database.execute("DELETE FROM coverage")
    broker.error = None
    rounds(publisher, 1)
    assert_frame_equal(stored(broker.memory), numbered(0, 3))
    assert Coverage(edge).of(["a"], T0, T0 + DAY).is_empty()
