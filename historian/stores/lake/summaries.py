"""Extremes and gaps of the lake's stretches: their statistics, and the values of few of those that a border cuts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import polars as pl

from historian.samples import instants_us
from historian.stores.lake.directory import LakeDirectory
from historian.stores.lake.stretches import Span, located, stretch_pages
from historian.stores.overview import crosses, divided, exceeding, extremes_of, within_intervals, without_gaps
from historian.times import micros
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.timing import Booleans, starts_us


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
        found = located(lake, tags, span)
        whole, cut = divided(found.heads, _crossing(found.heads, every) | _outside(found.heads, span))
    known = extremes_of([whole], every)
    yield known
    needed = replace(found, heads=exceeding(cut, known, span, every))
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
    with lake.reporting("read"):
        found = located(lake, tags, span)
        slow = found.heads["sample_rate"].to_numpy() * (longer_than / timedelta(seconds=1)) <= 1.1
        whole, cut = divided(found.heads, slow | _outside(found.heads, span))
    pages = stretch_pages(lake, replace(found, heads=cut), span, page_samples=page_samples)
    covered = whole.select("tag", "timestamp", "last")
    return pl.concat([covered, *(without_gaps(WaveformBatch(page), longer_than) for page in pages)])


def _crossing(heads: pl.DataFrame, every: timedelta) -> Booleans:
    """Return [stretches] whether a border of an interval cuts each of them."""
    return crosses(starts_us(heads), instants_us(heads["last"]), every)


def _outside(heads: pl.DataFrame, span: Span) -> Booleans:
    """Return [stretches] whether an end of a range cuts each of them, or it lies outside."""
    cuts: Booleans = (starts_us(heads) < micros(span[0])) | (instants_us(heads["last"]) >= micros(span[1]))
    return cuts
