"""The spool is bounded by bytes and by age; what it refuses or discards is counted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ByteSize

from bridge.edge.batches import Batches
from bridge.edge.database import Edge
from bridge.edge.spool import Spool
from bridge.edge.spool_room import Rate
from historian.errors import SpoolFull
from historian.intervals import intervals
from historian.plant.model import SpoolBounds
from tests.bridge.edge.batches import T0, numbered

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
COVERED = intervals(["a"], T0, T0 + DAY)
S = 1_000_000


def bounded(
    edge: Edge,
    when_full: Literal["refuse-new", "discard-oldest"],
    *,
    size: int = 8 << 30,
    age: timedelta | None = None,
) -> Spool:
    """A spool with these bounds."""
    return Spool(edge, bounds=SpoolBounds(max_size=ByteSize(size), max_age=age, when_full=when_full))


def append(spool: Spool, *firsts: int, now: datetime = T0) -> list[int]:
    """Ten samples for each number."""
    return [spool.append(Batches(numbered(first, 10)), source="s", now=now) for first in firsts]


def size_of_one(edge: Edge) -> int:
    """Bytes of such a batch in the spool."""
    append(Spool(edge), 0)
    [(size,)] = edge.rows("SELECT size FROM spool")
    item = Spool(edge).oldest("s", now=T0)
    assert item is not None
    Spool(edge).delivered(item)
    return int(size)


def delivered(spool: Spool, *, sink: str = "store") -> pl.DataFrame | None:
    """The samples that wait for the sink, delivered to it."""
    item = spool.oldest("s", now=T0, sink=sink)
    if item is not None:
        spool.delivered(item, sink=sink)
    return item.batches.samples if item is not None else None


def test_the_oldest_are_discarded_and_counted(edge: Edge) -> None:
    """What is left is the newest, complete and in order; nothing is refused."""
    spool = bounded(edge, "discard-oldest", size=7 * size_of_one(edge) // 2)
    append(spool, 0, 10, 20, 30, 40)
    assert (spool.waiting(), spool.discarded()) == ({"s": 30}, {"s": 20})
    found = delivered(spool)
    assert found is not None
    assert_frame_equal(found, numbered(20, 30))
    assert (spool.waiting(), spool.accepted(), spool.sizes()) == ({}, {"s": 60}, {"s": 0})


def test_a_sink_is_not_charged_with_what_it_has_had(edge: Edge) -> None:
    """Each sink has its own count; one that lags does not make another one's samples count as lost."""
    spool = bounded(edge, "discard-oldest", size=7 * size_of_one(edge) // 2)
    spool.register("store", "mqtt")
    append(spool, 0, 10)
    delivered(spool)
    append(spool, 20, 30)
    assert (spool.discarded(), spool.discarded(sink="mqtt")) == ({}, {"s": 10})
    assert (spool.waiting(), spool.waiting(sink="mqtt")) == ({"s": 20}, {"s": 30})
    found = delivered(spool, sink="mqtt")
    assert found is not None
    assert_frame_equal(found, numbered(10, 30))
    delivered(spool)
    assert (spool.waiting(), spool.waiting(sink="mqtt"), spool.sizes()) == ({}, {}, {"s": 0})


def test_what_was_on_its_way_when_it_was_discarded_counts_as_delivered(edge: Edge) -> None:
    """The sink had it after all."""
    spool = bounded(edge, "discard-oldest", size=5 * size_of_one(edge) // 2)
    append(spool, 0, 10)
    item = spool.oldest("s", now=T0)
    append(spool, 20)
    assert (spool.waiting(), spool.discarded()) == ({"s": 20}, {"s": 10})
    assert item is not None
    spool.delivered(item)
    assert (spool.waiting(), spool.discarded()) == ({"s": 10}, {})


def test_what_relied_on_a_discarded_batch_is_not_covered(edge: Edge) -> None:
    """A mark holds only if every batch since its first one was stored."""
    spool = bounded(edge, "discard-oldest", age=HOUR)
    first, second = append(spool, 0, 10)
    append(spool, 20, now=T0 + HOUR)
    later, now = intervals(["a"], T0 + 2 * DAY, T0 + 3 * DAY), T0 + HOUR + SECOND
    spool.append(Batches(), source="s", now=now, covered=COVERED, covers_since=first)
    spool.append(Batches(), source="s", now=now, covered=later, covers_since=second + 1)
    assert spool.discarded() == {"s": 20}
    item = spool.oldest("s", now=T0)
    assert item is not None
    assert_frame_equal(item.covered, later)


def test_a_batch_that_is_too_old_is_discarded(edge: Edge) -> None:
    """Bytes alone would let a slow source fill the disk with what nobody wants any more."""
    spool = bounded(edge, "discard-oldest", age=HOUR)
    append(spool, 0)
    append(spool, 10, now=T0 + HOUR)
    assert spool.discarded() == {}
    append(spool, 20, now=T0 + HOUR + SECOND)
    assert (spool.discarded(), spool.waiting()) == ({"s": 10}, {"s": 20})


def test_a_batch_that_is_too_old_stops_reading(edge: Edge) -> None:
    """With refuse-new nothing is lost that was accepted."""
    spool = bounded(edge, "refuse-new", age=HOUR)
    append(spool, 0)
    with pytest.raises(SpoolFull, match="holds batches of s since 2026-03-01 00:00:00 UTC, max_age ago"):
        append(spool, 10, now=T0 + HOUR + SECOND)
    assert (spool.waiting(), spool.discarded()) == ({"s": 10}, {})


def test_how_long_it_lasts_is_said_at_the_rate_of_the_last_day(edge: Edge) -> None:
    """A source that has never been read is expected to bring what the plant file says."""
    size = size_of_one(edge)
    spool = bounded(edge, "refuse-new", size=1_000 * size)
    for minute in range(11):
        append(spool, 10 * minute, now=T0 + minute * timedelta(minutes=1))
    found = spool.lasts({"s": 1.0, "new": size / 36}, now=T0 + HOUR)
    per_s = found["s"].bytes_per_s
    assert (found["s"].is_measured, found["new"].is_measured) == (True, False)
    assert size / 61 < per_s < size / 50
    assert found["s"].time == pytest.approx((1_000 * size - spool.sizes()["s"]) / per_s * SECOND, abs=SECOND)
    assert found["new"].time == pytest.approx(10 * HOUR, abs=SECOND)


def test_how_long_it_lasts_ends_with_the_age(edge: Edge) -> None:
    """The oldest batch has waited for an hour of three."""
    spool = bounded(edge, "discard-oldest", age=3 * HOUR)
    append(spool, 0)
    assert spool.lasts({"s": 1.0}, now=T0 + HOUR)["s"].time == 2 * HOUR


@given(st.integers(1, 5_000), st.integers(60, 2_000), st.integers(0, 40))
def test_a_steady_rate_is_found_whatever_the_pauses(size: int, steps: int, pause: int) -> None:
    """An hour without the bridge is no hour without samples."""
    rate, at = Rate(0, 0, 0), 0
    for step in range(steps):
        at += 10 * S + (3_600 * S if step % 50 == pause else 0)
        rate = rate.plus(size, at)
    assert rate.per_s == pytest.approx(size / 10, rel=0.3, abs=0.1)


def test_a_rate_follows_the_day() -> None:
    """What a source brought three days ago, a hundred times as much, says little."""
    rate, at = Rate(0, 0, 0), 0
    for size in (1_000, 10):
        for _ in range(3 * 8_640):
            at += 10 * S
            rate = rate.plus(size, at)
    assert rate.per_s is not None
    assert 1 < rate.per_s < 4
