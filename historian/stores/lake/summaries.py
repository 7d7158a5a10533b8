"""Extremes and gaps of the lake's stretches: their statistics, and the values of few of those that a border cuts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import polars as pl

from historian.stores.lake.directory import LakeDirectory
from historian.stores.lake.stretches import Located, Span, located, stretch_pages
from historian.stores.overview import (
    crosses,
    exceeding,
    extremes_of,
    with_meeting,
    within_intervals,
    without_gaps,
)
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.timing import overlaps


def stretch_extremes(
    lake: LakeDirectory, tags: Sequence[str], span: Span, every: timedelta, *, page_samples: int
) -> Iterator[pl.DataFrame]:
    """Yield pages of extremes of stretches, each row within one interval, for `historian.stores.overview`.

    Args:
        lake: the lake.
        tags: the tags to read.
        span: first instant, and first instant after the range.
        every: length of the intervals.
        page_samples: approximate number of samples in memory at a time.
    """
    with lake.reporting("read"):
        whole, cut = _divided(located(lake, tags, span), span, lambda heads: crosses(heads, every))
    known = extremes_of([whole], every)
    yield known
    needed = replace(cut, heads=exceeding(cut.heads, known, span, every))
    for page in stretch_pages(lake, needed, span, page_samples=page_samples):
        yield within_intervals(WaveformBatch(page), every)


def stretch_intervals(
    lake: LakeDirectory, tags: Sequence[str], span: Span, longer_than: timedelta, *, page_samples: int
) -> pl.DataFrame:
    """Return the intervals of a range that stretches cover: columns `tag`, `timestamp` and `last`.

    Args:
        lake: the lake.
        tags: the tags to read.
        span: first instant, and first instant after the range.
        longer_than: distance of samples from which there is a gap.
        page_samples: approximate number of samples in memory at a time.
    """
    slow = pl.col("sample_rate") * (longer_than / timedelta(seconds=1)) <= 1.1
    with lake.reporting("read"):
        whole, cut = _divided(located(lake, tags, span), span, lambda heads: heads.select(slow).to_series())
    pages = stretch_pages(lake, cut, span, page_samples=page_samples)
    covered = whole.select("tag", "timestamp", "last")
    return pl.concat([covered, *(without_gaps(WaveformBatch(page), longer_than) for page in pages)])


def _divided(found: Located, span: Span, is_cut: Callable[[pl.DataFrame], pl.Series]) -> tuple[pl.DataFrame, Located]:
    """Divide stretches into those whose statistics are enough and those whose values are needed.

    Args:
        found: the stretches.
        span: a range, whose ends cut stretches too.
        is_cut: returns [rows] whether values are needed.
    """
    over = overlaps(found.heads)
    heads = with_meeting(found.heads, over)
    start, end = (pl.lit(each, heads.schema["timestamp"]) for each in span)
    outside = heads.select((pl.col("timestamp") < start) | (pl.col("last") >= end)).to_series()
    needed = over | over.shift(-1, fill_value=False) | outside | is_cut(heads)
    return heads.filter(~needed), replace(found, heads=heads.filter(needed))
