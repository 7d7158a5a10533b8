"""`pack` and `unpack` against a brute-force oracle: values bit for bit, times within half a period, nothing lost."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from historian.errors import InvalidInput
from historian.quality import BAD_NO_DATA, BAD_TIMEOUT, UNCERTAIN, UNCERTAIN_CONFIGURATION_ERROR
from historian.samples import SCHEMA, normalise
from historian.waveforms.packing import pack, unpack
from tests.historian.waveforms.rows import ODD, RATES, at, bits, micro, raw, samples

Times = npt.NDArray[np.int64]


def grid(rate: float, count: int, *, first: int = 0) -> Times:
    """The timestamps of a perfect device, rounded to the microsecond."""
    times: Times = np.rint(np.arange(count) * 1e6 / rate).astype(np.int64)
    return first + times


@st.composite
def devices(draw: st.DrawFn) -> tuple[float, Times]:
    """A rate, and timestamps of a device: gaps, a clock that drifts or has another rate, jitter below half a period."""
    rate = draw(st.sampled_from(RATES))
    period = 1e6 / rate
    steps = draw(st.lists(st.sampled_from([1] * 12 + [2, 3, 1000]), max_size=120))
    drift = draw(st.sampled_from([0.0, 0.0, 1e-4, -1e-4, 0.03, -0.03, 0.28, -0.6, -0.95]))
    jitter = draw(st.sampled_from([0.0, 0.0, 0.2, 0.49, 1.5]))
    noise = draw(st.lists(st.floats(-jitter, jitter), min_size=len(steps) + 1, max_size=len(steps) + 1))
    places = np.concatenate(([0], np.cumsum(steps)))
    times = np.rint((places * (1 + drift) + np.array(noise)) * period).astype(np.int64)
    return rate, np.unique(times)


@given(devices(), st.data())
def test_no_sample_is_lost_whatever_the_device_does(device: tuple[float, Times], data: st.DataObject) -> None:
    """Every row is in the stretches, its value bit for bit and its time within half a period, or is a conflict."""
    rate, times = device
    drawn = st.one_of(st.floats(), st.sampled_from(ODD))
    values = data.draw(st.lists(drawn, min_size=len(times), max_size=len(times)))
    order = data.draw(st.permutations(range(len(times))))
    rows = raw(times, values)
    packed = pack(rows[order], {"a": rate})
    dropped = set(packed.conflicts["timestamp"])
    expected = [
        (micro(time), bits(value)) for time, value in rows.select("timestamp", "value").rows() if time not in dropped
    ]
    found = samples(packed.batch)
    assert [value for _, _, value, _ in found] == [value for _, value in expected]
    timed = [(a, b) for (_, a, _, quality), (b, _) in zip(found, expected, strict=True) if quality == 0]
    assert max((abs(a - b) for a, b in timed), default=0) <= 0.5e6 / rate + 1
    too_close = sum(after - before < 0.5e6 / rate for before, after in pairwise(times))
    assert packed.conflicts.height <= too_close


@pytest.mark.parametrize("rate", RATES)
def test_a_regular_signal_comes_back_with_its_timestamps(rate: float) -> None:
    """Also where a period is no whole number of microseconds: one run, and no error adds up."""
    rows = raw(grid(rate, 20_000), np.random.default_rng(3).normal(size=20_000).astype(np.float32))
    batch = pack(rows, {"a": rate}).batch
    assert batch["count"].to_list() == [8192, 8192, 3616]
    found = unpack(batch)
    assert_frame_equal(found.drop("timestamp"), rows.drop("timestamp"))
    shifted = (found["timestamp"].to_physical() - rows["timestamp"].to_physical()).to_numpy()
    assert np.abs(shifted).max() <= 1


def test_a_gap_ends_a_run() -> None:
    """One missing sample is a gap; what follows has its own timestamp."""
    times = np.delete(grid(25_600.0, 12, first=7), [5, 9])
    batch = pack(raw(times, np.arange(10)), {"a": 25_600.0}).batch
    assert batch.select("timestamp", "count").rows() == [(at(7), 5), (at(times[5]), 3), (at(times[8]), 2)]


@pytest.mark.parametrize("drift", [1e-4, -1e-4])
def test_a_clock_that_drifts_by_half_a_period_starts_a_run_that_joins(drift: float) -> None:
    """Neither a gap nor an overlap of more than half a period comes between the two."""
    period = 1e6 / 25_600
    times = np.rint(np.arange(16_000) * period * (1 + drift)).astype(np.int64)
    batch = pack(raw(times, np.zeros(16_000)), {"a": 25_600.0}).batch
    assert batch["count"].sum() == 16_000
    assert batch.height == 4
    ends = [micro(start) + count * period for start, count in batch.select("timestamp", "count").rows()]
    starts = [micro(start) for start in batch["timestamp"]]
    assert all(abs(start - end) <= period / 2 + 1 for start, end in zip(starts[1:], ends[:-1], strict=True))


def jittery(deviation: float, *, count: int = 5000, clock: float = 1.0) -> Times:
    """Timestamps at 25.6 kHz with jitter, in periods RMS, clipped at three deviations; the first sample is at 100."""
    noise = np.clip(np.random.default_rng(5).standard_normal(count), -3, 3)
    return np.rint(100 + (np.arange(count) * clock + deviation * noise) * 1e6 / 25_600).astype(np.int64)


@pytest.mark.parametrize(("deviation", "clock"), [(0.04, 1.0), (0.08, 1.0), (0.1, 1.0), (0.13, 1.0), (0.1, 1.00004)])
def test_jitter_ends_no_run(deviation: float, clock: float) -> None:
    """The samples get the times of the fitted line: closer to the truth than any timestamp, however a clock drifts."""
    times = jittery(deviation, clock=clock)
    batch = pack(raw(times, np.arange(5000)), {"a": 25_600.0}).batch
    assert batch.height <= 1 + (clock > 1)  # which drifts by a fifth of a period
    assert set(batch["quality"]) == {0}
    found = np.array([time for _, time, _, _ in samples(batch)])
    truth = 100 + np.arange(5000) * clock * 1e6 / 25_600
    assert (
        np.abs(found - truth).max() <= 1 + max(0.02, 5000 * (clock - 1), 3 * deviation * (deviation < 0.05)) * 39.0625
    )


def test_a_sample_lost_among_jitter_is_a_gap_in_its_place() -> None:
    """The level of the timestamps steps by a period, and the runs on both sides are whole."""
    times = np.delete(jittery(0.1), [1000, 3000, 3001])
    batch = pack(raw(times, np.zeros(4997)), {"a": 25_600.0}).batch
    assert (batch["count"].to_list(), batch["quality"].to_list()) == ([1000, 1999, 1998], [0, 0, 0])


@pytest.mark.parametrize("deviation", [0.2, 0.3, 0.45])
def test_timestamps_that_fit_no_rate_are_marked_and_lose_nothing(deviation: float) -> None:
    """Out-of-order timestamps become equal, and rows are lost: one run without a gap, from the first to the last."""
    times = np.unique(np.maximum.accumulate(jittery(deviation)))
    batch = pack(raw(times, np.arange(len(times))), {"a": 25_600.0}).batch
    assert set(batch["quality"]) == {UNCERTAIN_CONFIGURATION_ERROR}
    found = samples(batch)
    assert [value for _, _, value, _ in found] == [bits(value) for value in range(len(times))]
    assert found[0][1] == times[0]
    assert found[-1][1] == pytest.approx(times[-1], abs=3 * 39.1)
    assert len(batch) == 2  # runs of up to 4,096 rows, that join
    assert micro(batch["timestamp"][1]) == pytest.approx(found[int(batch["count"][0]) - 1][1] + 39, abs=6)


@pytest.mark.parametrize("rate", [12_000.0, 96_000.0])
def test_a_device_of_another_rate_is_one_run_at_its_own(rate: float) -> None:
    """It is not a gap after each sample, and none is dropped as too close to the one before."""
    times = grid(rate, 3000)
    packed = pack(raw(times, np.zeros(3000)), {"a": 44_100.0})
    assert packed.conflicts.is_empty()
    assert packed.batch.select("count", "quality").rows() == [(3000, UNCERTAIN_CONFIGURATION_ERROR)]
    assert packed.batch.item(0, "sample_rate") == pytest.approx(rate, rel=2e-3)


def test_only_good_stretches_are_marked() -> None:
    """What is Bad stays Bad, and a quality ends a stretch in a run that fits no rate, too."""
    times = np.unique(np.maximum.accumulate(jittery(0.3, count=100)))
    rows = raw(times, np.zeros(len(times))).with_columns(
        quality=pl.Series([BAD_TIMEOUT if 40 <= k < 50 else 0 for k in range(len(times))], dtype=pl.UInt32)
    )
    batch = pack(rows, {"a": 25_600.0}).batch
    assert batch.select("count", "quality").rows() == [
        (40, UNCERTAIN_CONFIGURATION_ERROR),
        (10, BAD_TIMEOUT),
        (len(times) - 50, UNCERTAIN_CONFIGURATION_ERROR),
    ]


def test_rows_of_another_quality_are_stretches_of_their_own() -> None:
    """A Bad row without a value keeps its place in time as NaN; a Good one without a value becomes BadNoData."""
    rows = raw(np.arange(5) * 1000, [1.0, 2.0, 3.0, 4.0, 5.0]).with_columns(
        value=pl.Series([1.0, None, 3.0, None, 5.0]),
        quality=pl.Series([0, BAD_TIMEOUT, UNCERTAIN, 0, 0], dtype=pl.UInt32),
    )
    batch = pack(rows, {"a": 1000.0}).batch
    nan = bits(float("nan"))
    assert samples(batch) == [
        ("a", 0, bits(1.0), 0),
        ("a", 1000, nan, BAD_TIMEOUT),
        ("a", 2000, bits(3.0), UNCERTAIN),
        ("a", 3000, nan, BAD_NO_DATA),
        ("a", 4000, bits(5.0), 0),
    ]
    assert batch["not_finite"].to_list() == [0, 1, 0, 1, 0]


def test_repeats_are_dropped_and_contradictions_set_aside() -> None:
    """As `normalise` does with samples; rows without a key are set aside too."""
    first = raw([0, 1000, 2000], [1, 2, 3])
    lost = raw([3000], [4]).with_columns(tag=pl.lit(None, pl.String))
    packed = pack(pl.concat([first, raw([1000], [2]), raw([1000], [9]), lost]), {"a": 1000.0})
    assert_frame_equal(normalise(unpack(packed.batch)).batch, first)
    assert_frame_equal(packed.conflicts, raw([1000], [9]))
    assert_frame_equal(packed.incomplete, lost)


def test_a_row_for_which_the_rate_leaves_no_place_is_a_conflict() -> None:
    """One row too many moves the run by half a period; another one would move it by more."""
    packed = pack(raw([0, 1000, 1001, 1002, 2000, 3000], [1, 2, 3, 9, 4, 5]), {"a": 1000.0})
    assert_frame_equal(unpack(packed.batch), raw([0, 1000, 1500, 2500, 3500], [1, 2, 3, 4, 5]))
    assert_frame_equal(packed.conflicts, raw([1002], [9]))
    later = pack(raw([0, 1000, 1001, 1002, 9e12], [1, 2, 3, 9, 4]), {"a": 1000.0})
    assert_frame_equal(unpack(later.batch), raw([0, 1000, 1500, 9e12], [1, 2, 3, 4]))
    last = pack(raw([0, 1000, 1001, 1002, 1003], [1, 2, 3, 9, 9]), {"a": 1000.0})
    assert_frame_equal(unpack(last.batch), raw([0, 1000, 1500], [1, 2, 3]))


def test_tags_are_packed_apart_each_at_its_rate() -> None:
    """Rows of several tags may be mixed, and float32 is not widened."""
    slow, fast = raw([0, 1000], [0.1, 0.7], tag="a"), raw([0, 100, 200], [0.1, 0.7, 0.9], tag="b")
    rows = pl.concat([slow, fast])[[4, 0, 2, 1, 3]].with_columns(pl.col("value").cast(pl.Float32))
    batch = pack(rows, {"a": 1000.0, "b": 10_000.0}).batch
    assert batch.select("tag", "sample_rate", "count", "encoding").rows() == [
        ("a", 1000.0, 2, "float32"),
        ("b", 10_000.0, 3, "float32"),
    ]


def test_a_tag_without_a_rate_is_refused_by_name() -> None:
    """It is not guessed from the timestamps."""
    with pytest.raises(InvalidInput, match="'a' has no sample rate"):
        pack(raw([0], [1]), {})
    for rate in (0.0, float("nan"), 1e6):
        with pytest.raises(InvalidInput, match=r"'a' has a sample rate of .* at most 250000"):
            pack(raw([0], [1]), {"a": rate})


def test_no_rows_are_no_stretches() -> None:
    """Nothing in, nothing out."""
    packed = pack(SCHEMA.to_frame(), {})
    assert packed.batch.is_empty()
    assert unpack(packed.batch).is_empty()
