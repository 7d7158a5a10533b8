"""Extremes from the statistics of stretches, against those of all their samples."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from historian.stores.overview import crosses, divided, exceeding, extremes_of, within_intervals
from historian.times import micros
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.cutting import cut
from historian.waveforms.encoding import HEADS, encode
from historian.waveforms.joining import newest_wins_waveforms
from historian.waveforms.timing import last_us, starts_us
from tests.historian.waveforms.rows import at, stretch

MILLISECOND = timedelta(milliseconds=1)
VALUES = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0, np.nan]), min_size=1, max_size=7)
WRITES = st.lists(st.tuples(st.integers(0, 40), VALUES, st.sampled_from("ab")), min_size=1, max_size=30)


@settings(max_examples=12)
@given(writes=WRITES, step=st.integers(2, 12), span=st.tuples(st.integers(0, 45), st.integers(1, 30)))
def test_stretches_within_the_known_extremes_need_not_be_decoded(
    writes: list[tuple[int, list[float], str]], step: int, span: tuple[int, int]
) -> None:
    """Whatever borders and newer stretches cut, what is left out changes no interval's extremes."""
    plan = [(tag, at(1000 * start), 1000.0, len(values), 0) for start, values, tag in writes]
    values = np.array([value for _, some, _ in writes for value in some])
    rows = encode(pl.DataFrame(plan, schema=HEADS, orient="row"), values)
    begin, end, every = at(1000 * span[0]), at(1000 * sum(span)), step * MILLISECOND
    heads = rows.unique(["tag", "timestamp", "count"], keep="last", maintain_order=True).sort("tag", "timestamp")
    first, last = starts_us(heads), last_us(heads)
    heads = heads.with_columns(last=pl.Series(last).cast(pl.Datetime("us", "UTC")))
    outside = (first < micros(begin)) | (last >= micros(end))
    whole, others = divided(heads, crosses(first, last, every) | outside)
    known = extremes_of([whole], every)
    some = exceeding(others, known, (begin, end), every)
    decoded = rows.join(some, on=["tag", "timestamp", "count"], how="semi", maintain_order="left")

    def decode(frame: pl.DataFrame) -> pl.DataFrame:
        return within_intervals(cut(WaveformBatch(newest_wins_waveforms(frame)), begin, end), every)

    assert extremes_of([known, decode(decoded)], every).equals(extremes_of([decode(rows)], every))


def test_only_a_stretch_that_may_exceed_an_interval_is_decoded() -> None:
    """One that a border cuts is left out if both intervals have lower and higher values, and no other is."""
    every, low, high = 10 * MILLISECOND, [0.0] * 4, [0.0, 0.0, 0.0, 1.5]
    known = pl.DataFrame({"tag": "a", "timestamp": [at(0), at(10_000), at(30_000)], "low": -1.0, "high": [1.0, 2, 1]})
    cases: list[tuple[int, list[float], int]] = [
        (8000, low, 0),  # changes nothing
        (28_000, low, 1),  # the first interval is not known
        (18_000, low, 2),  # the last one
        (18_000, [0.0] * 14, 3),  # one between them
        (7000, high, 4),  # higher than the first
        (17_000, [0.0, 0.0, -1.5, 0.0] * 4, 5),  # lower than both
        (5000, low, 4),  # overlaps one that matters
        (41_000, high, 6),  # after the range
    ]
    heads = pl.concat([stretch(start, values) for start, values, _ in cases])
    last, meeting = pl.Series(last_us(heads)).cast(pl.Datetime("us", "UTC")), [number for _, _, number in cases]
    heads = heads.with_columns(pl.Series("#meeting", meeting), last=last)
    found = exceeding(heads, known, (at(0), at(40_000)), every)
    assert found["#meeting"].to_list() == [1, 2, 3, 4, 5, 4]
