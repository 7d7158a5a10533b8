"""Where the bursts around a change begin and end in the store.

Windows of `align = "burst"` are counted from the start of their run, so a run is always computed as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl

from features.windows import Integers
from historian.stores import Reader
from historian.times import from_micros


def whole_bursts(store: Reader, tags: Sequence[str], first: int, last: int, *, gap: int, look: int) -> tuple[int, int]:
    """Widens [first, last], in microseconds since the epoch, to the ends of the bursts it cuts.

    A burst of these tags together is a stretch of samples of which no two are more than `gap` apart. The store is read
    `look` microseconds at a time, then twice that, and so on.
    """

    def edge(start: int, direction: Literal[-1, 1]) -> int:
        reach = look
        while True:
            near = (start - reach, start) if direction < 0 else (start + 1, start + 1 + reach)
            times = np.append(start, _times(store, tags, *near)[::direction])
            gaps = np.flatnonzero(np.abs(np.diff(times)) > gap)
            if len(times) == 1 or len(gaps):
                return int(times[gaps[0] if len(gaps) else 0])
            start, reach = int(times[-1]), 2 * reach

    return edge(first, -1), edge(last, 1)


def _times(store: Reader, tags: Sequence[str], start: int, end: int) -> Integers:
    """The times of the samples with start <= time < end, ascending."""
    pages = [page["timestamp"] for page in store.read(tags, from_micros(start), from_micros(end))]
    return np.sort(pl.concat(pages).to_physical().to_numpy()) if pages else np.zeros(0, np.int64)
