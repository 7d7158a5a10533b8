"""Finds the beginning and the end of the bursts around a change, by the stretches in the store.

Windows of `align = "burst"` are counted from the start of their run, so a run is always computed as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import polars as pl

from features.windows.stretches import Integers
from features.windows.tiling import counters
from historian.errors import ConfigError
from historian.quality import is_untimed
from historian.stores.protocols import Reader
from historian.times import from_micros
from historian.waveforms.batch import empty_waveforms
from historian.waveforms.timing import SECOND, last_us, offsets_us, starts_us

_MOST_LOOKS: Final = 10_000
_MOST_GAPS: Final = 40_000_000
"""Largest search, in gaps: about 64 million samples."""


def whole_bursts(store: Reader, tags: Sequence[str], first: int, last: int, *, gap: int, look: int) -> tuple[int, int]:
    """Widen the interval [first, last] to the ends of the bursts that it cuts.

    In a burst, no sample of any of the tags follows the sample before by more than the gap.

    Args:
        store: the store to read.
        tags: names of the tags.
        first: first instant of the interval, in microseconds since the epoch.
        last: last instant of the interval, in microseconds since the epoch.
        gap: the longest pause within a burst, in microseconds.
        look: time span that is read first, in microseconds; then twice that, and so on.

    Returns:
        First and last instant of the widened interval, in microseconds since the epoch.

    Raises:
        ConfigError: no end was found within 10,000 times `look`, or 40 million times `gap`. Every new sample of a
            signal without gaps would cause all of it to be recomputed.
    """
    limit = min(_MOST_LOOKS * look, _MOST_GAPS * gap)

    def edge(origin: int, direction: Literal[-1, 1]) -> int:
        start, width = origin, look
        while abs(start - origin) < limit:
            near = (start - width, start) if direction < 0 else (start + 1, start + 1 + width)
            begins, ends = _intervals(store, tags, *near, gap=gap)
            begins, ends = (begins, ends) if direction > 0 else (-ends, -begins)
            order = np.argsort(begins)
            reached = np.maximum.accumulate(np.append(direction * start, ends[order]))
            gaps = np.flatnonzero(begins[order] - reached[:-1] > gap)
            if not len(begins) or len(gaps):
                return direction * int(reached[gaps[0] if len(gaps) else 0])
            start, width = direction * int(reached[-1]), 2 * width
        raise ConfigError(
            f"{', '.join(tags)}: samples follow each other without a gap for {abs(start - origin) // 1_000_000} s and "
            f'more, so this signal is continuous; write align = "epoch" in its feature view'
        )

    return edge(first, -1), edge(last, 1)


def _intervals(store: Reader, tags: Sequence[str], start: int, end: int, *, gap: int) -> tuple[Integers, Integers]:
    """Return first and last sample of each stretch in start <= time < end; of slow ones each sample by itself.

    A stretch whose timestamps do not fit the configured rate is no gap from sample to sample, whatever its rate, so it
    is extended on both sides by what its period is longer than the gap.
    """
    pages = [page.drop("values") for page in store.read_waveforms(tags, from_micros(start), from_micros(end))]
    rows = pl.concat(pages) if pages else empty_waveforms()
    rate, count = rows["sample_rate"].to_numpy(), rows["count"].to_numpy().astype(np.int64)
    untimed = rows.select(is_untimed(pl.col("quality"))).to_series().to_numpy()
    slow = (SECOND / rate > gap) & ~untimed
    pieces = np.where(slow, count, 1)
    row, index = np.repeat(np.arange(len(rate)), pieces), counters(pieces)
    begins = starts_us(rows)[row] + offsets_us(index, rate[row])
    more = np.where(untimed, np.ceil(np.maximum(SECOND / rate - gap, 0)), 0).astype(np.int64)
    return begins - more[row], np.where(slow[row], begins, (last_us(rows) + more)[row])
