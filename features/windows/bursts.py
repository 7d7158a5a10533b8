"""Finds the beginning and the end of the bursts around a change, in the store.

Windows of `align = "burst"` are counted from the start of their run, so a run is always computed as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import polars as pl

from features.windows.tiling import Integers
from historian.errors import ConfigError
from historian.stores.protocols import Reader
from historian.times import from_micros

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
            times = np.append(start, _times(store, tags, *near)[::direction])
            gaps = np.flatnonzero(np.abs(np.diff(times)) > gap)
            if len(times) == 1 or len(gaps):
                return int(times[gaps[0] if len(gaps) else 0])
            start, width = int(times[-1]), 2 * width
        raise ConfigError(
            f"{', '.join(tags)}: samples follow each other without a gap for {abs(start - origin) // 1_000_000} s and "
            f'more, so this signal is continuous; write align = "epoch" in its feature view'
        )

    return edge(first, -1), edge(last, 1)


def _times(store: Reader, tags: Sequence[str], start: int, end: int) -> Integers:
    """Return the times of the samples with start <= time < end, ascending."""
    pages = [page["timestamp"] for page in store.read(tags, from_micros(start), from_micros(end))]
    return np.sort(pl.concat(pages).to_physical().to_numpy()) if pages else np.zeros(0, np.int64)
