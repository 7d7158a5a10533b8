"""The unit of work: one view, one asset, one interval of window ends.

Partitions of the same time are computed together. `compute_partitions` is a pure function of the stored samples, so
whoever runs it, wherever and however often, gets the same rows. What partitions read overlaps by exactly the lookback
of a window; what they compute does not overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

import polars as pl

from features.compute.rows.asset_rows import Wanted, asset_rows
from features.compute.rows.pages import in_step
from features.define.view_plan import AssetPlan
from features.windows.tiling import EndRange, microseconds
from historian.samples import SampleBatch
from historian.times import from_micros
from historian.waveforms.batch import WaveformBatch


@dataclass(frozen=True)
class Partition:
    """The windows of one asset that end in a range."""

    plan: AssetPlan
    """What to compute; every tag of it has samples."""
    wanted: EndRange
    ready: Mapping[str, int]
    """`EndRange.ready` of each tag."""
    samples: int
    """About how many samples there are to read."""
    begin: int | None = None
    """When the burst begins in which the range begins, in microseconds: its windows are counted from there."""

    @property
    def start(self) -> datetime:
        """The instant from which samples are read."""
        return from_micros(self._first_end) - self.plan.read_lookback

    @property
    def _first_end(self) -> int:
        """An instant before which no window of the range ends, in microseconds since the epoch."""
        if self.plan.is_epoch:
            hop = microseconds(self.plan.hop)
            return (self.wanted.after // hop + 1) * hop
        return self.wanted.after if self.begin is None else min(self.wanted.after, self.begin)

    @property
    def end(self) -> datetime:
        """The instant up to which samples are read."""
        return from_micros(self.wanted.until)

    @property
    def known(self) -> int:
        """The last end of a window, in microseconds since the epoch, up to which every window is known by now."""
        return min(self.wanted.until, max(self.ready.values()))

    @property
    def windows(self) -> int:
        """How many ends on the hop's grid may be known by now; bursts may have fewer windows."""
        hop = microseconds(self.plan.hop)
        return max(self.known // hop - self.wanted.after // hop, 0)


class Samples(Protocol):
    """The part of a `Reader` that computing needs."""

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """See `Reader.read`."""
        ...

    def read_waveforms(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[WaveformBatch]:
        """See `Reader.read_waveforms`."""
        ...


class Computed(NamedTuple):
    """The rows of partitions that were computed together, and what was counted on the way."""

    rows: pl.DataFrame
    """asset, event_timestamp, then the columns of the points."""
    covered: Sequence[tuple[str, int, int]]
    """(asset, after, until) of each partition, in microseconds since the epoch: `rows` has all there are of the asset
    with after < event_timestamp <= until; what is later may yet be pending."""
    samples: int
    """How many samples were read."""
    windows: int
    """How many windows were found, of all points together."""
    invalid: int
    """How many of them were incomplete, or had samples that are not Good."""
    partial_windows: int
    """How many bursts end in samples too few for a window of their own."""


def compute_partitions(store: Samples, partitions: Sequence[Partition]) -> Computed:
    """Read the samples that the partitions' windows can use, page by page, and compute their rows.

    Args:
        store: has the samples.
        partitions: of different assets of one view, sorted by asset; what they read is read at once, so they should
            be of about the same time.

    Raises:
        StoreUnavailable: the store cannot be read.
    """
    counted = _Counted(store, partitions)
    wanted = [Wanted(each.plan, each.wanted, each.ready) for each in partitions]
    parts = list(asset_rows(in_step(counted.samples(), counted.waveforms()), wanted))
    return Computed(
        rows=parts[0].frame if len(parts) == 1 else pl.concat([part.frame for part in parts], how="diagonal"),
        covered=[(each.plan.asset, each.wanted.after, each.known) for each in partitions],
        samples=counted.read,
        windows=sum(part.windows for part in parts),
        invalid=sum(part.invalid for part in parts),
        partial_windows=sum(part.partial_windows for part in parts),
    )


class _Counted:
    """The pages of partitions, and how many samples they had."""

    def __init__(self, store: Samples, partitions: Sequence[Partition]) -> None:
        self.read = 0
        self._store = store
        self._range = min(each.start for each in partitions), max(each.end for each in partitions)
        self._tags = [tag for each in partitions for tag in each.plan.sample_tags]

    def samples(self) -> Iterator[SampleBatch]:
        """Yield the samples of tags without a rate."""
        if names := sorted(tag.name for tag in self._tags if tag.sample_rate is None):
            for page in self._store.read(names, *self._range):
                self.read += page.height
                yield page

    def waveforms(self) -> Iterator[WaveformBatch]:
        """Yield the waveforms of tags with a rate."""
        if names := sorted(tag.name for tag in self._tags if tag.sample_rate is not None):
            for page in self._store.read_waveforms(names, *self._range):
                self.read += int(page["count"].sum())
                yield page
