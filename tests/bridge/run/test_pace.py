"""When a backfill rests: outside its hours, above its rate, while live data waits, while the other side is slow."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.edge.batches import Batches
from bridge.edge.database import Edge
from bridge.edge.spool import Spool
from bridge.run.courtesy import Courtesy, Limits
from bridge.run.pace import LOOK_S, Flow, Hours, LiveBacklog, Steadiness, parse_hours, rest_for_rate
from historian.errors import InvalidInput
from historian.samples import SCHEMA, sample_batch
from tests.bridge.run.scripted import T0, raw

SECOND = timedelta(seconds=1)
times = st.integers(0, 24 * 60 - 1).map(lambda minute: time(*divmod(minute, 60)))


@given(times, times, st.integers(0, 366 * 24 * 60).map(lambda minute: T0 + minute * timedelta(minutes=1)))
def test_hours_begin_where_a_walk_over_the_minutes_finds_them(start: time, end: time, now: datetime) -> None:
    """Also over midnight; the rest ends in the first minute that is within the hours."""
    hours = Hours(start, end, ZoneInfo("UTC"))

    def is_open(instant: datetime) -> bool:
        clock = instant.time()
        return start <= clock < end if start < end else (clock >= start or clock < end) and start != end

    if start == end:
        return
    opens = next(minute for minute in range(24 * 60 + 1) if is_open(now + minute * timedelta(minutes=1)))
    assert hours.until_open(now) == opens * 60


def test_hours_are_those_of_their_zone_also_when_the_clock_changes() -> None:
    """In the night of 29 March 2026 the hour from 2:00 to 3:00 is left out in Berlin."""
    hours = parse_hours("03:30-05:00 Europe/Berlin")
    assert hours.until_open(datetime(2026, 3, 29, 0, 30, tzinfo=UTC)) == 3600
    assert hours.until_open(datetime(2026, 3, 29, 2, 59, tzinfo=UTC)) == 0


@pytest.mark.parametrize("text", ["", "22-05", "25:00-05:00", "22:00-05:00 Mars/North", "22:00-22:00"])
def test_hours_that_are_none_are_refused(text: str) -> None:
    """The message shows how they are written."""
    with pytest.raises(InvalidInput, match="--window"):
        parse_hours(text)


def test_a_rate_is_kept_on_average() -> None:
    """A thousand samples in the first second of a rate of 100 need nine seconds of rest; without a rate none."""
    assert rest_for_rate(1000, 1.0, 100) == 9.0
    assert rest_for_rate(50, 1.0, 100) == 0.0
    assert rest_for_rate(10**9, 1.0, None) == 0.0


def test_a_step_that_takes_thrice_the_usual_time_is_followed_by_a_rest() -> None:
    """It is as long as the step; the usual time is the median, so that one slow step does not become usual."""
    steady = Steadiness()
    assert [steady.rest(100, 1.0) for _ in range(5)] == [0.0] * 5
    assert steady.rest(100, 3.5) == 3.5
    assert steady.rest(100, 1.5) == 0.0
    assert steady.rest(0, 9.0) == 0.0


@pytest.mark.parametrize(
    ("then", "rests"),
    [
        (Flow(1100, 100), 0.0),  # a second of samples waits
        (Flow(1100, 900), LOOK_S),  # nine seconds do
        (Flow(1000, 5000), 0.0),  # the bridge is not running: nothing arrives, nothing is delivered
        (Flow(1000, 4900), LOOK_S),  # it is, but its spool is full
    ],
)
def test_live_data_is_behind_when_seconds_of_it_wait(then: Flow, rests: float) -> None:
    """The first look only remembers."""
    backlog = LiveBacklog()
    before = Flow(1000, 5000 if then.accepted == 1000 else 0)
    assert backlog.rest({"line1": before}, T0) == 0.0
    assert backlog.rest({"line1": then}, T0 + SECOND) == rests


def test_a_step_waits_for_its_hours_and_says_why(edge: Edge) -> None:
    """It looks again each minute, because a clock may be set."""
    now, reasons = [T0.replace(hour=21, minute=58)], list[str]()
    limits = Limits(hours=parse_hours("22:00-05:00 UTC"))

    async def sleep(seconds: float) -> None:
        reasons.append(courtesy.reason)
        now[0] += timedelta(seconds=seconds)

    courtesy = Courtesy(limits, edge, clock=lambda: now[0], sleep=sleep)
    asyncio.run(courtesy.turn())
    assert (now[0].hour, reasons, courtesy.reason) == (22, ["its hours begin at 22:00"] * 2, "")


def test_a_step_waits_while_live_samples_do(edge: Edge) -> None:
    """Once the spool has been emptied, the backfill goes on."""
    now, spool, slept = [T0], Spool(edge), list[float]()

    def arrive(count: int) -> None:
        rows = raw(*(("a", number, 1.0) for number in range(count))).cast(SCHEMA)
        spool.append(Batches(sample_batch(rows)), source="line1", now=T0)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += timedelta(seconds=seconds)
        item = spool.oldest("line1", now=T0)
        assert item is not None
        spool.delivered(item)

    courtesy = Courtesy(Limits(live=("line1",)), edge, clock=lambda: now[0], sleep=sleep)
    asyncio.run(courtesy.turn())
    for _ in range(8):
        arrive(10)
    now[0] += 8 * SECOND
    asyncio.run(courtesy.turn())
    assert slept == [LOOK_S]


def test_the_rate_is_kept_step_by_step(edge: Edge) -> None:
    """Ten steps of 100 samples at 1,000 a second take a second."""
    now = [T0]

    async def sleep(seconds: float) -> None:
        now[0] += timedelta(seconds=seconds)

    async def steps() -> None:
        for _ in range(10):
            await courtesy.turn()
            await courtesy.moved("store", 100, 0.0)

    courtesy = Courtesy(Limits(samples_per_s=1000), edge, clock=lambda: now[0], sleep=sleep)
    asyncio.run(steps())
    assert now[0] - T0 == SECOND
