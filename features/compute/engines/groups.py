"""Small partitions of about the same time are computed together: a live second of fifty assets is one query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from features.compute.partition import Partition

_SAMPLES: Final = 2_000_000
"""Most samples of a group."""
_SLACK: Final = timedelta(seconds=10)
"""How far partitions may lie apart and still be read together."""


class _Extent(NamedTuple):
    """What partitions of a group read."""

    starts: tuple[datetime, datetime]
    """The first and the last start."""
    ends: tuple[datetime, datetime]
    samples: int

    def with_(self, other: Partition) -> _Extent:
        (first, last), (least, most) = self.starts, self.ends
        starts, ends = (min(first, other.start), max(last, other.start)), (min(least, other.end), max(most, other.end))
        return _Extent(starts, ends, self.samples + other.samples)

    @property
    def is_small(self) -> bool:
        apart = self.starts[1] - self.starts[0] + self.ends[1] - self.ends[0]
        return self.samples <= _SAMPLES and apart <= _SLACK


def grouped(partitions: Iterable[Partition]) -> Iterator[list[Partition]]:
    """Group partitions, sorted by asset, that are to be computed together; no asset is twice in a group."""
    group: list[Partition] = []
    extent: _Extent | None = None
    for each in partitions:
        wider = extent.with_(each) if extent else None
        if wider is None or not wider.is_small or each.plan.asset <= group[-1].plan.asset:
            if group:
                yield group
            group, wider = [], _Extent((each.start, each.start), (each.end, each.end), each.samples)
        group.append(each)
        extent = wider
    if group:
        yield group
