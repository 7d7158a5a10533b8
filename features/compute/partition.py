"""The unit of work: one view, one asset, one interval of window ends.

`compute_partition` is a pure function of the stored samples, so whoever runs it, wherever and however often, gets the
same rows. What partitions read overlaps by exactly the lookback of a window; what they compute does not overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

import polars as pl

from features.compute.rows.asset_rows import asset_rows
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
        begin = self.wanted.after if self.begin is None else min(self.wanted.after, self.begin)
        return from_micros(begin) - self.plan.read_lookback

    @property
    def end(self) -> datetime:
        """The instant up to which samples are read."""
        return from_micros(self.wanted.until)

    @property
    def windows(self) -> int:
        """How many ends on the hop's grid may be known by now; bursts may have fewer windows."""
        known, hop = min(self.wanted.until, max(self.ready.values())), microseconds(self.plan.hop)
        return max(known // hop - self.wanted.after // hop, 0)


class Samples(Protocol):
    """The part of a `Reader` that computing needs."""

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """See `Reader.read`."""
        ...

    def read_waveforms(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[WaveformBatch]:
        """See `Reader.read_waveforms`."""
        ...


class Computed(NamedTuple):
    """The rows of a partition, and what was counted on the way."""

    asset: str
    rows: pl.DataFrame
    """asset, event_timestamp, then the columns of the points."""
    after: int
    """These are all rows of the asset with after < event_timestamp <= until; what is later may yet be pending."""
    until: int
    samples: int
    """How many samples were read."""
    windows: int
    """How many windows were found, of all points together."""
    invalid: int
    """How many of them were incomplete, or had samples that are not Good."""
    partial_windows: int
    """How many bursts end in samples too few for a window of their own."""


def compute_partition(store: Samples, partition: Partition) -> Computed:
    """Read the samples that the partition's windows can use, page by page, and compute their rows.

    Raises:
        StoreUnavailable: the store cannot be read.
    """
    plan, counted = partition.plan, _Counted(store, partition)
    parts = list(asset_rows(in_step(counted.samples(), counted.waveforms()), plan, partition.wanted, partition.ready))
    rows = pl.concat([part.frame for part in parts], how="diagonal").with_columns(asset=pl.lit(plan.asset))
    # Column by column: a live partition is one row, and a query takes longer than its features.
    valid = [rows[f"{name}_valid"] for name in plan.points if f"{name}_valid" in rows.columns]
    return Computed(
        asset=plan.asset,
        rows=rows,
        after=partition.wanted.after,
        until=parts[-1].until,
        samples=counted.read,
        windows=sum(each.count() for each in valid),
        invalid=sum(each.count() - int(each.sum()) for each in valid),
        partial_windows=sum(part.partial_windows for part in parts),
    )


class _Counted:
    """The pages of a partition, and how many samples they had."""

    def __init__(self, store: Samples, partition: Partition) -> None:
        self.read = 0
        self._store, self._range = store, (partition.start, partition.end)
        self._tags = partition.plan.sample_tags

    def samples(self) -> Iterator[SampleBatch]:
        """Yield the samples of tags without a rate."""
        if names := [tag.name for tag in self._tags if tag.sample_rate is None]:
            for page in self._store.read(names, *self._range):
                self.read += page.height
                yield page

    def waveforms(self) -> Iterator[WaveformBatch]:
        """Yield the waveforms of tags with a rate."""
        if names := [tag.name for tag in self._tags if tag.sample_rate is not None]:
            for page in self._store.read_waveforms(names, *self._range):
                self.read += int(page["count"].sum())
                yield page
