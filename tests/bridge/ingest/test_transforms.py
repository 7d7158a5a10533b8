"""Scale and offset."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bridge.drivers.raw_rows import RawRows
from bridge.ingest.transforms import pipeline, scaled, scaled_waveforms
from historian.plant.connections import Tag
from historian.quality import BAD_NO_DATA
from historian.samples import SCHEMA, SampleBatch, normalise, sample_batch
from historian.waveforms.encoding import HEADS, decode, encode, with_statistics
from tests.historian.waveforms.rows import signals

T0 = datetime(2026, 3, 1, tzinfo=UTC)
finite = st.floats(allow_nan=False, allow_infinity=False)


def batch(tag: str, values: list[float | None]) -> SampleBatch:
    """A sample a second of one tag."""
    rows = [(tag, T0 + timedelta(seconds=number), value, None, 0) for number, value in enumerate(values)]
    return sample_batch(pl.DataFrame(rows, schema=SCHEMA, orient="row"))


@given(st.lists(st.none() | st.floats(-1e6, 1e6), max_size=20), st.floats(-100, 100), st.floats(-100, 100))
def test_values_become_raw_times_scale_plus_offset(values: list[float | None], scale: float, offset: float) -> None:
    """Nothing else changes; a sample without a value stays without one."""
    expected = batch("a", [None if value is None else value * scale + offset for value in values])
    assert_frame_equal(scaled(batch("a", values), {"a": (scale, offset)}), expected, check_exact=True)


def test_tags_without_a_scale_stay_as_they_are() -> None:
    """This holds in a batch with tags that have one."""
    both = sample_batch(pl.concat([batch("a", [1.0, None]), batch("b", [1.0])]))
    expected = pl.concat([batch("a", [1.0, None]), batch("b", [-39.0])])
    assert_frame_equal(scaled(both, {"b": (0.0625, -39.0625)}), expected)


@given(finite, finite, finite)
def test_a_result_that_float64_cannot_hold_becomes_bad(value: float, scale: float, offset: float) -> None:
    """The result is a valid batch for any input."""
    result = normalise(scaled(batch("a", [value]), {"a": (scale, offset)})).batch
    assert result["value"].is_null().to_list() == (result["quality"] == BAD_NO_DATA).to_list()


def test_there_is_no_transform_where_there_is_nothing_to_do(make_tag: Callable[..., Tag]) -> None:
    """The pipeline is a tuple of steps, which is usually empty."""
    assert pipeline([make_tag("a"), make_tag("b")]) == ()
    [step] = pipeline([make_tag("a"), make_tag("b", scale=2.0, offset=1.0)])
    assert step(RawRows(batch("b", [3.0]))).samples["value"].to_list() == [7.0]


def heads(*runs: tuple[str, int]) -> pl.DataFrame:
    """Stretches (tag, samples) without their values, a second apart."""
    rows = [(tag, T0 + timedelta(seconds=number), 1000.0, count, 0) for number, (tag, count) in enumerate(runs)]
    return pl.DataFrame(rows, schema=HEADS, orient="row")


@given(signals(longest=20), signals(longest=20), st.floats(-100, 100), st.floats(-100, 100))
def test_stretches_become_raw_times_scale_plus_offset(
    ours: npt.NDArray[np.float64], others: npt.NDArray[np.float64], scale: float, offset: float
) -> None:
    """Every value is the rounded result in float64; statistics are those of the results; other tags do not change."""
    stretches = [encode(heads((tag, len(values))), values) for tag, values in (("a", ours), ("b", others))]
    found = scaled_waveforms(pl.concat(stretches), {"a": (scale, offset)})
    mine = found.filter(tag="a")
    with np.errstate(over="ignore", invalid="ignore"):
        expected = ours.astype(np.float64) * scale + offset
    np.testing.assert_array_equal(decode(mine).values, expected)
    assert_frame_equal(mine, with_statistics(mine))
    assert_frame_equal(found.filter(tag="b"), stretches[1])


def test_counts_of_a_converter_stay_counts_when_they_are_scaled() -> None:
    """Two bytes a sample before and after."""
    counts = np.arange(-500, 500, dtype=np.int16)
    [found] = scaled_waveforms(encode(heads(("a", 1000)), counts), {"a": (0.0030517578125, 0.0)}).to_dicts()
    assert (found["encoding"], len(found["values"]), found["high"]) == ("int16", 2000, 499 * 0.0030517578125)


def test_a_stretch_without_a_time_is_left_to_quarantine() -> None:
    """It cannot be encoded again."""
    timeless = encode(heads(("a", 3)), np.arange(3)).with_columns(timestamp=pl.lit(None, HEADS["timestamp"]))
    assert_frame_equal(scaled_waveforms(timeless, {"a": (2.0, 0.0)}), timeless)
