"""`cut`: at any instants, each sample is on exactly one side."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from historian.waveforms.batch import empty_waveforms, waveform_batch
from historian.waveforms.cutting import cut
from historian.waveforms.encoding import with_statistics
from tests.historian.waveforms.rows import RATES, at, samples, signals, stretch

INSTANTS = st.lists(st.integers(-5, 8000), min_size=1, max_size=4)


@settings(max_examples=50)  # each cuts at up to five places
@given(st.lists(signals(longest=30), min_size=1, max_size=3), st.sampled_from(RATES), INSTANTS)
def test_cutting_loses_and_doubles_no_sample(runs: list[npt.NDArray[Any]], rate: float, instants: list[int]) -> None:
    """The samples of all parts are those of the whole, each in the part of its time."""
    period = 1e6 / rate
    batch = waveform_batch(pl.concat([stretch(40 * period * place, run, rate=rate) for place, run in enumerate(runs)]))
    borders = [-(10**6), *sorted(instants), 10**9]
    found = []
    for start, end in pairwise(borders):
        part = waveform_batch(cut(batch, at(start), at(end)))
        assert_frame_equal(with_statistics(part), part)
        inside = samples(part)
        whole = [sample for sample in samples(batch) if start <= sample[1] < end]
        assert [value for _, _, value, _ in inside] == [value for _, _, value, _ in whole]
        assert all(abs(a[1] - b[1]) <= 1 for a, b in zip(inside, whole, strict=True))
        found += inside
    assert [value for _, _, value, _ in found] == [value for _, _, value, _ in samples(batch)]


def test_whole_stretches_stay_as_they_are_and_others_get_new_statistics() -> None:
    """The end of the range is exclusive."""
    batch = waveform_batch(pl.concat([stretch(0, [1, -2, 3]), stretch(5000, [4, 5, np.inf]), stretch(0, [7], tag="b")]))
    part = cut(batch, at(1000), at(7000))
    assert_frame_equal(part[:1], stretch(1000, [-2, 3]))
    assert samples(part) == samples(pl.concat([stretch(1000, [-2, 3]), stretch(5000, [4, 5])]))
    assert part.select("low", "high", "sum_squares", "not_finite").row(1) == (4.0, 5.0, 41.0, 0)
    assert_frame_equal(cut(batch, at(0), at(8000)), batch)
    assert cut(batch, at(3000), at(5000)).is_empty()
    assert cut(batch, at(7000), at(2000)).is_empty()
    assert cut(empty_waveforms(), at(0), at(1)).is_empty()
