"""Places the epoch windows of a point on all its tags in one go: a live second has one window a tag.

Whether a window is complete follows from times alone, so the signals of the tags are moved apart, each wholly later
than the one before and by a multiple of the hop, and tiled as one signal with gaps. A window never has samples of two
tags, because no run reaches across a gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil
from typing import Final, NamedTuple

import numpy as np

from features.compute.rows.page_arrays import TagStretches
from features.windows.stretches import Integers, Stretches
from features.windows.tiling import EndRange, Tiling, Windows, epoch_windows

_REACH: Final = 10**14
"""Microseconds by which signals are moved at most: an instant then stays a number that a float distinguishes well."""


class Placed(NamedTuple):
    """The windows of several tags, tag by tag."""

    signal: Stretches
    """The samples of the tags, one after the other."""
    windows: Windows
    """`first` counts the samples of `signal`; `resume` is the earliest of any tag."""
    counts: Integers
    """[tags] number of windows."""
    resume: tuple[int, ...]
    """[tags] `Windows.resume`."""
    shift: Integers
    """[windows] what is to be added to `first` to count the samples of the page."""


def placed_windows(tags: Sequence[TagStretches], tiling: Tiling, wanted: Sequence[EndRange]) -> Iterator[Placed]:
    """Place windows over some tags after the others; all in one go if their samples lie within a few days.

    Args:
        tags: their stretches; one at least.
        tiling: of all of them.
        wanted: [tags] range of window ends.
    """
    origin, apart = _extent(tags, tiling, wanted)
    size = max(1, _REACH // apart)
    for first in range(0, len(tags), size):
        yield _placed(tags[first : first + size], tiling, wanted[first : first + size], origin, apart)


def _extent(tags: Sequence[TagStretches], tiling: Tiling, wanted: Sequence[EndRange]) -> tuple[int, int]:
    """Return an instant on the grid before everything, and how far signals are to be moved apart."""
    signals = [each.stretches for each in tags if len(each.stretches)]
    begin = min([*(int(each.start[0]) for each in signals), *(each.after for each in wanted)])
    last = np.array([len(each) - 1 for each in signals], np.int64)
    ends = [int(each.times(last[number : number + 1])[0]) for number, each in enumerate(signals)]
    origin = begin // tiling.hop * tiling.hop
    reach = max([*ends, *(each.until for each in wanted)]) - origin + tiling.length + 2 * tiling.hop
    return origin, ceil(reach / tiling.hop) * tiling.hop


def _placed(
    tags: Sequence[TagStretches], tiling: Tiling, wanted: Sequence[EndRange], origin: int, apart: int
) -> Placed:
    known = [each.without_pending for each in wanted]
    signal, begins = _moved(tags, apart)
    highest = max(each.until for each in known) + apart * (len(tags) - 1)
    windows = epoch_windows(signal, tiling, EndRange(min(each.after for each in known), highest, highest))
    tag = (windows.end - origin - 1) // apart
    end = windows.end - tag * apart
    after, until = (np.array(each, np.int64)[tag] for each in zip(*(each[:2] for each in known), strict=True))
    chosen = (end > after) & (end <= until)
    resume = tuple(each.until - tiling.length - ceil(tiling.period) for each in known)
    return Placed(
        signal,
        replace(windows, end=end, resume=min(resume)).only(chosen),
        np.bincount(tag[chosen], minlength=len(tags)),
        resume,
        (np.array([each.offset for each in tags]) - begins)[tag[chosen]],
    )


def _moved(tags: Sequence[TagStretches], apart: int) -> tuple[Stretches, Integers]:
    """Return the signals of the tags as one, each later than it was, and the number of each one's first sample."""
    parts = [each.stretches for each in tags]
    begins = np.cumsum([0, *map(len, parts)])
    numbered = list(zip(parts, begins.tolist(), strict=False))
    joined = Stretches(
        start=np.concatenate([each.start + number * apart for number, each in enumerate(parts)]),
        first=np.concatenate([each.first for each in parts]),
        rate=np.concatenate([each.rate for each in parts]),
        offsets=np.concatenate([*(each.offsets[:-1] + begin for each, begin in numbered), begins[-1:]]),
        bad=np.concatenate([each.bad for each in parts]),
        untimed=np.concatenate([each.untimed for each in parts]),
        not_finite=np.concatenate([each.not_finite + begin for each, begin in numbered]),
    )
    return joined, begins[:-1]
