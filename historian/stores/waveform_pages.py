"""Pages of waveforms: ranges of time with a bounded number of samples, for every store."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import numpy as np
import polars as pl

from historian.times import from_micros, micros
from historian.waveforms.timing import SECOND, starts_us


def page_ranges(heads: pl.DataFrame, start: datetime, end: datetime, samples: int) -> list[tuple[datetime, datetime]]:
    """Divide a range of time so that about `samples` samples lie in each part; a border may cut stretches.

    Args:
        heads: stretches that touch the range, in any order: columns `timestamp`, `sample_rate` and `count`.
        start: first instant of the range.
        end: first instant after the range.
        samples: the size of a page; it may have one sample more for each tag.

    Returns:
        Half-open ranges that follow one another.
    """
    rate, count = heads["sample_rate"].to_numpy(), heads["count"].to_numpy().astype(np.float64)
    first = np.maximum(starts_us(heads), micros(start)).astype(np.float64)
    after = np.clip(starts_us(heads) + count * SECOND / rate, first, float(micros(end)))
    # The number of samples before an instant is linear between the borders of stretches.
    instants, density = np.concatenate((first, after)), np.concatenate((rate, -rate))
    order = np.argsort(instants, kind="stable")
    instants, density = instants[order], np.cumsum(density[order])
    before = np.cumsum(np.diff(instants, prepend=instants[:1]) * np.append(0.0, density[:-1])) / SECOND
    full = np.arange(samples, before[-1], samples) if len(before) else np.empty(0)
    borders = np.unique(np.ceil(np.interp(full, before, instants)).astype(np.int64)).tolist() if len(full) else []
    inside = [from_micros(border) for border in borders if micros(start) < border < micros(end)]
    return list(pairwise([start, *inside, end]))
