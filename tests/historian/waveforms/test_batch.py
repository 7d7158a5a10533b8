"""`waveform_batch`: what a batch is; each defect has its own message."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from historian.errors import InvalidInput
from historian.waveforms.batch import WAVEFORM_SCHEMA, empty_waveforms, waveform_batch
from tests.historian.waveforms.rows import stretch

GOOD = stretch(0, [1.0, -2.0])


def changed(**columns: object) -> pl.DataFrame:
    """A good stretch with other contents in some columns."""
    return GOOD.with_columns(**{name: pl.lit(value, WAVEFORM_SCHEMA[name]) for name, value in columns.items()})


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (GOOD.drop("low"), "needs the columns"),
        (GOOD.with_columns(count=pl.lit(2, pl.Int64)), "needs the columns"),
        (changed(tag=None), "a null among tag"),
        (changed(sample_rate=0.0), "a sample_rate that is not above 0"),
        (changed(sample_rate=float("nan")), "a sample_rate that is not above 0"),
        (changed(sample_rate=300_000.0), "at most 250000 Hz"),
        (changed(encoding="int8"), "an encoding other than int16"),
        (changed(count=0), "a stretch of no samples"),
        (stretch(0, np.zeros(16_384, np.int16)).with_columns(count=pl.lit(16_385, pl.UInt32)), "more than 32768 bytes"),
        (changed(count=3), "values of another size"),
        (changed(scale=0.0), "a scale or divisor that is not positive"),
        (changed(divisor=float("inf")), "a scale or divisor that is not positive"),
        (changed(encoding="float32", values=bytes(8), scale=2.0), "other than 1 without int16"),
        (changed(not_finite=1), "int16 values that are not finite"),
        (changed(low=5.0), "statistics that contradict"),
        (changed(low=None), "statistics that contradict"),
        (changed(encoding="float32", values=bytes(8), not_finite=2), "statistics that contradict"),
        (pl.concat([stretch(9000, [1]), GOOD]), "not sorted by .* or repeat one"),
        (pl.concat([GOOD.with_columns(tag=pl.lit("b")), stretch(9000, [1])]), "not sorted"),
        (pl.concat([GOOD, GOOD]), "not sorted"),
        (pl.concat([GOOD, stretch(1400, [1])]), "overlap by more than half a period"),
        (pl.concat([stretch(0, np.zeros(9)), stretch(10_000, [1]), stretch(10_400, [1])]), "overlap"),
        (pl.concat([stretch(0, np.zeros(9)), stretch(8600, [1]), stretch(9090, [1])]), "overlap"),
    ],
)
def test_what_is_not_a_batch_is_refused_with_the_reason(frame: pl.DataFrame, complaint: str) -> None:
    """So a store may trust what it is given."""
    with pytest.raises(InvalidInput, match=complaint):
        waveform_batch(frame)


def test_stretches_may_join_within_half_a_period_and_tags_do_not_meet() -> None:
    """Half a period of overlap is what the drift of a device's clock makes."""
    frame = pl.concat([GOOD, stretch(1500, [3]), stretch(0, [4], tag="b")])
    assert waveform_batch(frame) is frame
    assert waveform_batch(empty_waveforms()).is_empty()
