"""The unit of work: one view, one asset, one stretch of time; and how long stretches are cut into such units.

`compute_partition` is a pure function of the stored samples, so whoever runs it, wherever and however often, gets the
same rows. Partitions overlap in what they read by exactly the reach of a window, and not at all in what they make.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from features.compute.rows.asset_rows import asset_rows
from features.windows.dirty import reach
from features.windows.tiling import Span, microseconds
from historian.plant.connections import Tag
from historian.plant.plant import View
from historian.samples import SampleBatch
from historian.times import from_micros

_LEAST_REACHES: Final = 8
"""A partition is at least so many times as long as the reach it reads again."""


@dataclass(frozen=True)
class Partition:
    """The windows of one asset that end in the span."""

    view: View
    asset: str
    tags: tuple[Tag, ...]
    """Those of the asset that the view needs and that have samples."""
    span: Span
    ready: Mapping[str, int]
    """`Span.ready` of each tag."""
    samples: int
    """About how many there are to read."""

    @property
    def start(self) -> int:
        """The first instant of which samples are read, in microseconds."""
        return self.span.after - microseconds(max(reach(self.view, tag) for tag in self.tags))

    @property
    def windows(self) -> int:
        """How many ends on the hop's grid the span has that may be known by now; bursts may have fewer windows."""
        known, hop = min(self.span.until, max(self.ready.values())), microseconds(self.view.hop)
        return max(known // hop - self.span.after // hop, 0)


class Samples(Protocol):
    """The part of a `Reader` that computing needs."""

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[SampleBatch]:
        """See `Reader.read`."""
        ...


class Computed(NamedTuple):
    """What a partition came to."""

    asset: str
    rows: pl.DataFrame
    """asset, event_timestamp, then the columns of the points."""
    after: int
    """These are all rows of the asset with after < event_timestamp <= until; what is later may yet be pending."""
    until: int
    samples: int
    """Read."""
    windows: int
    """Looked at, of all points."""
    invalid: int
    """Those of them that were incomplete, or had samples that are not Good."""
    leftovers: int
    """Ends of bursts too short for a window."""


def compute_partition(store: Samples, partition: Partition) -> Computed:
    """Reads the samples that the partition's windows can touch, page by page, and computes their rows.

    Raises:
        StoreUnavailable: the store cannot be read.
    """
    read: list[int] = []

    def pages() -> Iterator[SampleBatch]:
        names = [tag.name for tag in partition.tags]
        for page in store.read(names, from_micros(partition.start), from_micros(partition.span.until)):
            read.append(page.height)
            yield page

    parts = list(asset_rows(pages(), partition.tags, partition.view, partition.span, partition.ready))
    rows = pl.concat([part.frame for part in parts], how="diagonal").with_columns(asset=pl.lit(partition.asset))
    # Column by column: a live partition is one row, and a query takes longer than its features.
    valid = [rows[f"{name}_valid"] for name in partition.view.points if f"{name}_valid" in rows.columns]
    return Computed(
        asset=partition.asset,
        rows=rows,
        after=partition.span.after,
        until=parts[-1].until,
        samples=sum(read),
        windows=sum(each.count() for each in valid),
        invalid=sum(each.count() - int(each.sum()) for each in valid),
        leftovers=sum(part.leftovers for part in parts),
    )


@dataclass(frozen=True)
class Load:
    """How many samples of an asset were ever written up to an instant, as the ledger has it."""

    instants: npt.NDArray[np.int64]
    written: npt.NDArray[np.float64]

    def between(self, after: int, until: int) -> int:
        """About how many samples."""
        first, last = np.interp([after, until], self.instants, self.written)
        return round(last - first)


def load_of(entries: pl.DataFrame) -> Load:
    """Ledger rows -> how their samples lie in time, each row's taken to be evenly spaced."""
    first, last = (entries[name].to_physical().to_numpy() for name in ("first", "last"))
    if not len(first):  # what waited for the clock was written long ago
        return Load(np.zeros(1, np.int64), np.zeros(1))
    rate = entries["rows"].to_numpy() / (last + 1 - first)
    edges, change = np.concatenate([first, last + 1]), np.concatenate([rate, -rate])
    order = np.argsort(edges, kind="stable")
    steps = np.cumsum(change[order])[:-1] * np.diff(edges[order])
    return Load(edges[order], np.concatenate([[0.0], np.cumsum(np.maximum(steps, 0))])[: len(edges)])


def cuts(span: Span, load: Load, *, samples: int, rows: int, view: View, longest_reach: int) -> list[int]:
    """Where to cut a span so that a piece has about `samples` samples and `rows` rows at most; without its ends.

    A piece is never shorter than eight reaches, whatever that costs: more would be read twice than once.
    """
    found = load.between(span.after, span.until)
    ends = min(span.until - span.after, found * longest_reach) / microseconds(view.hop)
    first, last = np.interp([span.after, span.until], load.instants, load.written)
    targets = np.linspace(first, last, ceil(max(found / samples, ends / rows, 1.0)) + 1)[1:-1]
    chosen, least = [span.after], _LEAST_REACHES * longest_reach
    for cut in np.interp(targets, load.written, load.instants).astype(np.int64).tolist():
        if chosen[-1] + least <= cut <= span.until - least:
            chosen.append(cut)
    return chosen[1:]
