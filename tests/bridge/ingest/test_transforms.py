"""Scale and offset."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bridge.ingest.transforms import pipeline, scaled
from historian.plant.connections import Tag
from historian.quality import BAD_NO_DATA
from historian.samples import SCHEMA, SampleBatch, normalise, sample_batch

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
    assert step(batch("b", [3.0]))["value"].to_list() == [7.0]
