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
from historian.quality import BAD_NO_DATA, BAD_TIMEOUT, UNCERTAIN
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
    jitter = draw(st.sampled_from([0.0, 0.0, 0.2, 0.49]))
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
    found = [(time, value) for _, time, value, _ in samples(packed.batch)]
    assert [value for _, value in found] == [value for _, value in expected]
    error = max(abs(a - b) for (a, _), (b, _) in zip(found, expected, strict=True))
    assert error <= 0.5e6 / rate + 1
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


def test_jitter_below_a_quarter_of_a_period_ends_no_run() -> None:
    """The first timestamp counts as it is."""
    jitter = np.random.default_rng(5).integers(-9, 10, 5000)
    times = grid(25_600.0, 5000, first=100) + jitter
    batch = pack(raw(times, np.zeros(5000)), {"a": 25_600.0}).batch
    assert batch.select("timestamp", "count").rows() == [(at(times[0]), 5000)]


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
