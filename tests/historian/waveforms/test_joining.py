"""`normalise_waveforms` and `newest_wins_waveforms` against oracles with a row a sample."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from historian.waveforms.batch import empty_waveforms, waveform_batch
from historian.waveforms.joining import newest_wins_waveforms, normalise_waveforms
from tests.historian.waveforms.rows import RATES, at, bits, samples, stretch

SIGNAL = np.append(np.random.default_rng(1).normal(size=60), [np.nan, -0.0, 0.0, np.inf])
Place = tuple[int, int]
PLACES = st.tuples(st.integers(0, 40), st.integers(1, 20))
"""First index and number of samples of a stretch of `SIGNAL`."""


def parts_of_signal(places: list[Place], rate: float) -> list[pl.DataFrame]:
    """Stretches of one signal, each with its own first timestamp rounded to the microsecond."""
    return [stretch(first * 1e6 / rate, SIGNAL[first : first + count], rate=rate) for first, count in places]


@given(st.lists(PLACES, min_size=1, max_size=8), st.sampled_from(RATES))
def test_parts_of_one_signal_become_the_signal_again(places: list[Place], rate: float) -> None:
    """Repeats with any borders and in any order leave every sample once, and are no conflicts."""
    normalised = normalise_waveforms(pl.concat(parts_of_signal(places, rate)))
    assert normalised.conflicts.is_empty()
    covered = sorted({index for first, count in places for index in range(first, first + count)})
    found = samples(normalised.batch)
    assert [value for _, _, value, _ in found] == [bits(SIGNAL[index]) for index in covered]
    assert all(abs(time - index * 1e6 / rate) <= 2 for index, (_, time, _, _) in zip(covered, found, strict=True))


@pytest.mark.parametrize(
    ("later", "why"),
    [
        (stretch(2000, [3.0, 9.0, 5.0]), "a value"),
        (stretch(2000, [3.0, 4.0, 5.0], quality=0x40000000), "the quality"),
        (stretch(2000, [3.0, 4.0, 5.0], rate=999.0), "the rate"),
        (stretch(0, [9.0]), "the first value"),
        (stretch(0, [1.0, 2.0, 3.0, 4.0, 9.0]), "nothing but the end"),
    ],
)
def test_an_overlap_that_differs_is_a_conflict(later: pl.DataFrame, why: str) -> None:
    """The stretch that begins first is kept, the other one set aside whole, and what follows is looked at as usual."""
    first, after = stretch(0, [1.0, 2.0, 3.0, 4.0]), stretch(3000, [4.0, 6.0])
    normalised = normalise_waveforms(pl.concat([after, first, later]))
    if why == "nothing but the end":
        assert samples(normalised.batch)[-1][2] == bits(9.0)
        assert_frame_equal(normalised.conflicts, after)
        return
    assert_frame_equal(normalised.conflicts, later)
    assert [value for _, _, value, _ in samples(normalised.batch)] == [bits(value) for value in (1, 2, 3, 4, 6)]


def test_zero_and_minus_zero_are_different_values() -> None:
    """Values are compared bit for bit, so NaN equals itself."""
    nan = stretch(0, [0.0, np.nan])
    assert normalise_waveforms(pl.concat([nan, nan])).conflicts.is_empty()
    assert normalise_waveforms(pl.concat([nan, stretch(0, [-0.0, np.nan])])).conflicts.height == 1


def test_stretches_that_lack_something_are_set_aside() -> None:
    """What has no key or no values cannot be stored."""
    whole = stretch(0, [1.0])
    lacking = [whole.with_columns(pl.lit(None, whole.schema[name]).alias(name)) for name in ("tag", "values")]
    normalised = normalise_waveforms(pl.concat([*lacking, whole]))
    assert_frame_equal(normalised.batch, whole)
    assert_frame_equal(normalised.incomplete, pl.concat(lacking))
    assert normalise_waveforms(empty_waveforms()).batch.is_empty()


@given(st.lists(st.tuples(st.sampled_from("ab"), PLACES), min_size=1, max_size=8), st.sampled_from(RATES), st.data())
def test_the_newest_write_of_each_sample_counts(
    writes: list[tuple[str, Place]], rate: float, data: st.DataObject
) -> None:
    """As if every sample were a row of a dictionary; write number n has n in all its values."""
    expected, frames = {}, []
    for number, (tag, (first, count)) in enumerate(writes):
        frame = stretch(first * 1e6 / rate, np.full(count, float(number)), rate=rate, tag=tag)
        frames.append(frame.with_columns(written=pl.lit(number)))
        expected.update({(tag, index): number for index in range(first, first + count)})
    order = data.draw(st.permutations(range(len(frames))))
    resolved = newest_wins_waveforms(pl.concat(frames)[order], written="written")
    batch = waveform_batch(resolved.drop("written"))
    found = samples(batch)
    assert [(tag, value) for tag, _, value, _ in found] == [
        (tag, bits(expected[tag, i])) for tag, i in sorted(expected)
    ]
    assert all(abs(time - i * 1e6 / rate) <= 2 for (_, i), (_, time, _, _) in zip(sorted(expected), found, strict=True))


def test_without_a_time_of_writing_the_order_of_rows_counts() -> None:
    """A new stretch in the middle of an old one leaves both its ends; in order, nothing is copied."""
    old, new = stretch(0, [1, 2, 3, 4, 5]), stretch(1000, [8, 9])
    expected = pl.concat([stretch(0, [1]), new, stretch(3000, [4, 5])])
    assert_frame_equal(newest_wins_waveforms(pl.concat([old, new])), expected)
    assert_frame_equal(newest_wins_waveforms(pl.concat([new, old])), old)
    assert newest_wins_waveforms(expected) is expected


@pytest.mark.parametrize(("old", "new"), [(1000.0, 5000.0), (5000.0, 1000.0)])
def test_a_write_at_another_rate_replaces_its_interval(old: float, new: float) -> None:
    """What is left of the old stretch does not overlap the new one by more than half a period of either."""
    before, after = stretch(0, np.zeros(int(old / 20)), rate=old), stretch(20_300, np.ones(int(new / 100)), rate=new)
    resolved = newest_wins_waveforms(pl.concat([before, after]))
    waveform_batch(resolved)
    assert resolved.height == 3
    left, right = (int(resolved.item(row, "count")) for row in (0, 2))
    assert left + right == pytest.approx(int(old * 0.04), abs=2)


def test_stretches_that_join_within_half_a_period_are_kept_whole() -> None:
    """A clock that drifts makes stretches overlap by up to half a period; they are not older and newer."""
    drifting = pl.concat([stretch(0, [1, 2, 3]), stretch(2499, [4, 5, 6])])
    assert normalise_waveforms(drifting).batch.equals(drifting)
    old = stretch(1000, [9, 9, 9])
    assert_frame_equal(newest_wins_waveforms(pl.concat([old, drifting])), drifting)
    assert at(0) == drifting.item(0, "timestamp")
