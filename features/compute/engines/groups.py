"""Small partitions of about the same time are computed together: a live second of fifty assets is one query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from features.compute.partition import Partition
from features.define.view_plan import PointTag

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
    """Group partitions, sorted by asset, that are to be computed together.

    No asset is twice in a group, and a point has the same plan on all assets of it: one whose range, states or zones
    are its own, or in whose windows a fact changes, is in another group.
    """
    group: list[Partition] = []
    extent: _Extent | None = None
    points: dict[str, PointTag] = {}
    for each in partitions:
        wider = extent.with_(each) if extent else None
        is_next = bool(group) and each.plan.asset > group[-1].plan.asset and _are_alike(points, each)
        if wider is None or not wider.is_small or not is_next:
            if group:
                yield group
            group, points, wider = [], {}, _Extent((each.start, each.start), (each.end, each.end), each.samples)
        group.append(each)
        points |= {tag.plan.name: tag for tag in each.plan.tags}
        extent = wider
    if group:
        yield group


def _are_alike(points: Mapping[str, PointTag], partition: Partition) -> bool:
    """Return whether for the points of a partition the same is computed as for those of a group, by name."""
    return all(_is_same(points.get(tag.plan.name, tag), tag) for tag in partition.plan.tags)


def _is_same(tag: PointTag, other: PointTag) -> bool:
    if tag.changed != other.changed:
        return False
    return tag.plan is other.plan or tag.plan.point == other.plan.point
