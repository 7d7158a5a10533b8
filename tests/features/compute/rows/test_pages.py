"""What is read of an asset: pages of samples and of waveforms, each cut anywhere, give what one page gives."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Literal

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from features.compute.rows.pages import Page, appended, in_step, since, tag_rows
from features.windows.stretches import Stretches
from historian.plant.plant import View
from historian.quality import UNCERTAIN
from historian.times import from_micros
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.cutting import cut
from historian.waveforms.encoding import decode
from historian.waveforms.packing import unpack
from tests.features.compute.rows.signals import SECOND, START, rows_of, samples, tag
from tests.features.stretches import packed

RATES = (25_600.0, 12_000.0, 51_200.0)


def pages_of(batch: WaveformBatch, cuts: list[int]) -> Iterator[WaveformBatch]:
    """The batch in pages that begin and end at instants after START, in stretches or between them."""
    edges = [0, *sorted(START + each for each in cuts), 2 * START]
    parts = (cut(batch, from_micros(a), from_micros(b)) for a, b in pairwise(edges))
    return (part for part in parts if len(part))


def of_tag(page: Page, tag: str) -> pl.DataFrame:
    """Its stretches, not yet cut."""
    return tag_rows(page.waveforms.with_columns(first=pl.lit(0, pl.Int64))).of(tag)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("align", ["epoch", "burst"])
@pytest.mark.parametrize("error", [-1, 0])
def test_a_page_cuts_a_stretch_without_moving_its_samples(
    rate: float, align: Literal["epoch", "burst"], error: int
) -> None:
    """Samples lie at the windows' borders, where the rounded timestamp of a cut would move them to another window."""
    de_h, ten = tag("de_h", sample_rate=rate), timedelta(milliseconds=10)
    of_view = View("v", "pump", ("de_h",), "vibration", ten, ten, align, None, ("time",))
    for begun in (1, 4, 8):
        start, count = START - round(begun * 1e6 / rate) + error, round(0.06 * rate)
        values = np.random.default_rng(0).normal(size=count)
        batch = packed(de_h.name, np.rint(start + np.arange(count) * 1e6 / rate), values, rate)
        whole = rows_of(of_view, in_step(iter([]), iter([batch])), (de_h,))
        assert whole["de_h_valid"].sum() >= 4
        for cuts in ([4_321], list(range(3_000, 60_000, 4_567))):
            assert rows_of(of_view, in_step(iter([]), pages_of(batch, cuts)), (de_h,)).equals(whole)


@given(st.sampled_from(RATES), st.lists(st.integers(0, 60_000), max_size=4), st.integers(-10, 70_000))
@settings(max_examples=60)
def test_what_is_held_keeps_the_times_of_its_samples(rate: float, cuts: list[int], instant: int) -> None:
    """Pages are appended, what is no longer needed is dropped, and every sample has the time it had uncut."""
    de_h = tag("de_h", sample_rate=rate)
    count = round(0.06 * rate)
    batch = packed(de_h.name, np.rint(START + 3 + np.arange(count) * 1e6 / rate), np.arange(count) * np.pi, rate)
    pages = [of_tag(page, de_h.name) for page in in_step(iter([]), pages_of(batch, cuts))]
    held = pages[0]
    for page in pages[1:]:
        held = appended(held, page)
    held = since(held, START + instant)
    expected = unpack(batch).filter(pl.col("timestamp").to_physical() >= START + instant)
    values = decode(held).values
    assert values.tolist() == expected["value"].to_list()
    times = Stretches.of(held, values).times(np.arange(len(values)))
    assert times.tolist() == expected["timestamp"].to_physical().to_list()


@pytest.mark.parametrize(("count", "rate", "quality"), [(4096, 12_000, 0), (10, 12_001, 0), (10, 12_000, UNCERTAIN)])
def test_a_stretch_that_only_seems_to_go_on_is_left_alone(count: int, rate: float, quality: int) -> None:
    """It has another rate or quality, or the two have more samples together than a stretch can have."""
    de_h = tag("de_h", sample_rate=12_000)
    noise = np.random.default_rng(0).normal(size=4096)
    first = packed(de_h.name, np.rint(START + np.arange(4000) * SECOND / 12_000), noise[:4000], 12_000)
    after = START + np.rint(4000 * SECOND / 12_000)
    second = packed(de_h.name, np.rint(after + np.arange(count) * SECOND / rate), noise[:count], rate, quality=quality)
    one, other = (of_tag(page, de_h.name) for page in in_step(iter([]), iter([first, second])))
    assert appended(one, other)["first"].to_list() == [0, 0]


@pytest.mark.parametrize(
    ("slow", "fast", "until"),
    [
        ([], [], [None]),
        ([[0.5]], [], [None]),
        ([[0.25], [0.5], [3.0]], [1.0, 2.0], [250_000, 500_000, 999_000, None]),
        ([[0.25, 2.5], [3.0]], [1.0, 2.0, 3.0], [999_000, 1_999_000, 2_500_000, None]),
    ],
)
def test_pages_are_taken_of_what_is_known_less_far(
    slow: list[list[float]], fast: list[float], until: list[int | None]
) -> None:
    """Each says up to when everything has been read, and everything is handed on once."""
    speed = tag("speed", "speed", unit="rpm")
    few = (samples(speed, np.array(page) * SECOND, [0.0] * len(page)) for page in slow)
    seconds = (START + round(end * SECOND) + (np.arange(1000) - 1000) * 1000 for end in fast)
    found = list(in_step(few, (packed("x", times, np.ones(1000), 1000) for times in seconds)))
    assert [page.until and page.until - START for page in found] == until
    assert sum(page.samples.height for page in found) == sum(map(len, slow))
    assert sum(int(page.waveforms["count"].sum()) for page in found) == 1000 * len(fast)
