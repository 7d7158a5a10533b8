"""What a dry run says of a plan, from one page: in proportion to the time of its tags."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import polars as pl

from bridge.run.estimate import Probe, estimated, extrapolated
from bridge.run.slices import Slice
from tests.bridge.run.scripted import SECOND, T0, raw

HOUR = timedelta(hours=1)


def test_an_estimate_is_in_proportion_to_the_time_of_the_tags() -> None:
    """A page of two tag-hours stands for a plan of ten."""
    plan = [Slice(T0, T0 + HOUR, ("a", "b")), Slice(T0 + HOUR, T0 + 5 * HOUR, ("a", "b"))]
    found = extrapolated(Probe(200, 0, 2 * HOUR, 0.5), plan)
    assert found is not None
    assert (found.samples, found.store_bytes, found.seconds) == (1000, 1500, 2.5)
    assert extrapolated(Probe(0, 0, HOUR, 0.5), plan) is None


def test_one_page_of_the_slice_in_the_middle_is_read(make_archive: Callable[..., Any]) -> None:
    """A page that is all of a slice stands for all of it, also if its samples are at its beginning."""
    rows: pl.DataFrame = raw(*(("a", second, 1.0) for second in range(10)))
    plan = [Slice(T0 + hour * HOUR, T0 + (hour + 1) * HOUR, ("a",)) for hour in (-1, 0, 1)]
    archive, clock = make_archive([rows]), iter((0.0, 2.0)).__next__
    found = asyncio.run(estimated(archive, plan, clock=clock))
    assert found is not None
    assert (found.samples, found.seconds) == (30, 6.0)
    assert [start for _, start, _ in archive.requests] == [T0]
    half = make_archive([rows, raw(("a", 20, 1.0))])
    spread = asyncio.run(estimated(half, plan))
    assert spread is not None
    assert spread.samples == round(10 * 3 * HOUR / (9 * SECOND))
    assert asyncio.run(estimated(archive, [])) is None
