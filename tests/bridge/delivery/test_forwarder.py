"""The forwarder: from the spool to the store, through outages and refusals, without loss."""

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

from bridge.delivery.forwarder import Forwarder
from bridge.delivery.retry import FIRST_S, LONGEST_S, backoff
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.edge.spool import Spool
from bridge.ingest.coverage import STRETCHES, Coverage, stretches
from historian.errors import StoreUnavailable
from historian.samples import SCHEMA, SampleBatch, sample_batch
from historian.stores.memory import MemoryStore
from historian.stores.protocols import Reader

T0 = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
NOTHING = STRETCHES.to_frame()
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
        spool.append(batch, source="s", now=NOW, proven=NOTHING)
    return spool


def test_what_is_stored_leaves_the_spool_and_widens_coverage(edge: Edge) -> None:
    """In one round; another would find nothing to do."""
    store, spool = MemoryStore(), Spool(edge)
    spool.append(numbered(0, 3), source="s", now=NOW, proven=stretches(["a"], T0, T0 + DAY))
    forwarder = Forwarder(edge, store, ["s"])
    assert not forwarder.forward(NOW)
    assert not forwarder.forward(NOW)
    assert_frame_equal(stored(store), numbered(0, 3))
    assert_frame_equal(Coverage(edge).of(["a"], T0, T0), stretches(["a"], T0, T0 + DAY))
    assert spool.waiting() == {}
    assert forwarder.stored == {"s": 3}


def test_small_batches_become_one_write(edge: Edge, make_store: Stores) -> None:
    """A store with a file a write would drown otherwise."""
    store = make_store()
    spooled(edge, *(numbered(number, 1) for number in range(50)))
    Forwarder(edge, store, ["s"]).forward(NOW)
    assert store.writes == [50]


def test_a_backlog_takes_several_writes_without_waiting_in_between(edge: Edge, make_store: Stores) -> None:
    """Each as large as a write may be; the live trickle, in contrast, is gathered for a while."""
    store = make_store()
    seconds = pl.DataFrame({"timestamp": pl.int_range(0, 600_000, eager=True) * timedelta(seconds=1) + T0})
    rest = numbered(0, 1).drop("timestamp")
    large = sample_batch(rest.join(seconds, how="cross").select(SCHEMA.names()))
    spool = spooled(edge, large, large, large)
    forwarder = Forwarder(edge, store, ["s"])
    assert [forwarder.forward(NOW) for _ in range(3)] == [True, True, False]
    assert spool.waiting() == {}


def test_live_samples_are_gathered_between_writes(edge: Edge, make_store: Stores) -> None:
    """However often they come, the store is written about once in the time given."""
    store, spool = make_store(), Spool(edge)

    async def trickle() -> None:
        finish = asyncio.Event()
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(Forwarder(edge, store, ["s"]).run(finish, every=0.5))
            for number in range(30):
                await asyncio.to_thread(spool.append, numbered(number, 1), source="s", now=NOW, proven=NOTHING)
                await asyncio.sleep(0.03)
            finish.set()

    asyncio.run(trickle())
    assert_frame_equal(stored(store), numbered(0, 30))
    assert len(store.writes) <= 5


def test_only_its_own_sources_are_forwarded(edge: Edge) -> None:
    """A stream and a backfill each empty their own part of the spool."""
    spool = spooled(edge, numbered(0, 3))
    assert not Forwarder(edge, MemoryStore(), ["other"]).forward(NOW)
    assert spool.waiting() == {"s": 3}


def test_while_the_store_is_down_nothing_leaves_the_spool(edge: Edge, make_store: Stores) -> None:
    """And nothing counts as covered."""
    store, spool = make_store(), Spool(edge)
    spool.append(numbered(0, 3), source="s", now=NOW, proven=stretches(["a"], T0, T0 + DAY))
    store.down = True
    with pytest.raises(StoreUnavailable):
        Forwarder(edge, store, ["s"]).forward(NOW)
    assert spool.waiting() == {"s": 3}
    assert Coverage(edge).of(["a"], T0, T0 + DAY).is_empty()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.sets(st.integers(0, 19)), st.lists(st.integers(1, 8), min_size=1, max_size=5))
def test_exactly_the_refused_samples_go_to_quarantine(
    tmp_path_factory: pytest.TempPathFactory, make_store: Stores, guilty: set[int], sizes: list[int]
) -> None:
    """Whichever they are, and however the batches were cut."""
    edge, store, first = Edge(tmp_path_factory.mktemp("edge") / "edge.db"), make_store(*map(float, guilty)), 0
    for size in sizes:
        spooled(edge, numbered(first, size))
        first += size
    forwarder = Forwarder(edge, store, ["s"])
    while forwarder.forward(NOW):
        pass
    expected = numbered(0, first)
    refused = pl.col("value").is_in(list(map(float, guilty)))
    assert_frame_equal(stored(store), expected.filter(~refused))
    kept = Quarantine(edge).rows()
    assert_frame_equal(kept.select(SCHEMA.names()).sort("timestamp"), expected.filter(refused))
    assert set(kept["reason"]) <= {"1 of 1 values are refused"}
    assert Spool(edge).waiting() == {}
    edge.close()


def test_it_waits_out_an_outage_and_then_catches_up(edge: Edge, make_store: Stores) -> None:
    """Without anyone telling it."""
    store = make_store()
    store.down = True
    spool = spooled(edge, numbered(0, 3))

    async def outage() -> None:
        finish = asyncio.Event()
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(Forwarder(edge, store, ["s"]).run(finish, every=0.01))
            await asyncio.sleep(0.1)
            store.down = False
            while spool.waiting():
                await asyncio.sleep(0.01)
            finish.set()

    asyncio.run(outage())
    assert_frame_equal(stored(store), numbered(0, 3))


@pytest.mark.parametrize("down", [True, False])
def test_at_the_end_it_empties_the_spool_if_the_store_lets_it(edge: Edge, make_store: Stores, *, down: bool) -> None:
    """If not, it ends all the same; the spool keeps what waits."""
    store = make_store()
    store.down = down
    spool = spooled(edge, numbered(0, 3))

    async def end() -> None:
        finish = asyncio.Event()
        finish.set()
        async with asyncio.timeout(20):
            await Forwarder(edge, store, ["s"]).run(finish, every=60)

    asyncio.run(end())
    assert spool.waiting() == ({"s": 3} if down else {})


def test_waits_grow_and_stay_bounded() -> None:
    """And no two waits are alike, so that many bridges do not call at once."""
    assert all(FIRST_S / 2 <= backoff(1) <= FIRST_S for _ in range(20))
    assert all(LONGEST_S / 2 <= backoff(10_000) <= LONGEST_S for _ in range(20))
    assert len({backoff(3) for _ in range(20)}) > 1
