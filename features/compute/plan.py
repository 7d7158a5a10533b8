"""What is to be computed: from the ledger's changes, or from rows of older versions, to partitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil
from typing import Final

import numpy as np
import polars as pl

from features.compute.partition import Load, Partition, cuts, load_of
from features.tables.feature_table import FeatureTable, Progress
from features.windows.bursts import whole_bursts
from features.windows.dirty import SPANS, TAG_REACH, dirty_spans, joined_spans, reach
from features.windows.tiling import Span, microseconds
from historian.plant.connections import Tag
from historian.plant.plant import Plant, View, source_points
from historian.stores.protocols import Reader
from historian.times import from_micros, micros

_NEARBY: Final = timedelta(minutes=1)
"""Dirty spans closer than this are read as one: a minute of samples costs less than another query."""

_SAMPLE_BYTES: Final = 256
"""A sample's share of what a partition holds at its worst: read, sorted, and as a waveform; an estimate."""
_CELL_BYTES: Final = 32
"""The same of one cell of its rows."""
_MOST: Final = 3_000_000
"""Samples of a partition: larger ones are no faster, and leave other cores without work."""
_PROCESS: Final = 192 * 2**20
"""Bytes of a process that has nothing to do yet."""
_LEAST: Final = 512 * 2**20
"""Bytes for which it pays to have another process."""


@dataclass(frozen=True)
class Budget:
    """How large a partition may get."""

    samples: int
    cells: int
    """Of its rows."""


def most_jobs(memory: int, cores: int) -> int:
    """How many processes are of use."""
    return max(min(cores, memory // _LEAST), 1)


def budget(memory: int, at_once: int) -> Budget:
    """Partitions of which `at_once` processes together need about `memory` bytes; a quarter of it is for their rows."""
    each = (memory - (at_once - 1) * _PROCESS) // at_once
    samples = min(max(each * 3 // 4 // _SAMPLE_BYTES, 50_000), _MOST)
    return Budget(samples, max(each // 4 // _CELL_BYTES, 50_000))


@dataclass(frozen=True)
class Due:
    """What is due for a view."""

    partitions: Sequence[Partition]
    """By asset and time."""
    progress: Progress | None
    """To be written with the last of their rows; None if the ledger has not moved, or is not the reason."""
    stale: bool = False
    """Whether older versions are the reason."""

    @property
    def samples(self) -> int:
        """About how many are to be read."""
        return sum(partition.samples for partition in self.partitions)


def view_tags(plant: Plant, view: View) -> list[Tag]:
    """The tags whose samples the view is computed from, on all assets of its class."""
    assets = set(plant.assets_of(view.asset_class))
    return [tag for tag in plant.tags.values() if tag.asset in assets and tag.point in source_points(view)]


@dataclass(frozen=True)
class Planner:
    """Turns spans of a view into partitions."""

    store: Reader
    view: View
    tags: Sequence[Tag]
    newest: Mapping[str, datetime]
    """The newest sample of each tag that has any."""
    now: datetime
    budget: Budget

    def partitions(self, spans: pl.DataFrame, written: pl.DataFrame) -> Iterator[Partition]:
        """The spans (columns of `SPANS`) cut to size.

        Args:
            spans: the windows to compute.
            written: ledger rows that tell how many samples there are.
        """
        spans = joined_spans(spans, within=_NEARBY)
        if self.view.align == "burst":
            bursts = [self._bursts(*span) for span in spans.iter_rows()]
            spans = joined_spans(pl.DataFrame(bursts, spans.schema, orient="row"))
        by_tag = written.partition_by("tag", as_dict=True)
        for (asset,), of_asset in spans.group_by("asset", maintain_order=True):
            tags = tuple(tag for tag in self.tags if tag.asset == asset and tag.name in self.newest)
            if not any(tag.point in self.view.points for tag in tags):
                continue
            entries = [by_tag[tag.name,] for tag in tags if (tag.name,) in by_tag]
            load, ready = load_of(pl.concat([written.clear(), *entries])), self._ready(tags)
            for after, until in of_asset[["after", "until"]].iter_rows():
                for piece in self._pieces(tags, Span(micros(after), micros(until), micros(until)), load):
                    samples = load.between(piece.after, piece.until)
                    partition = Partition(self.view, str(asset), tags, piece, ready, samples)
                    if partition.windows or self.view.align == "burst":
                        yield partition

    def _pieces(self, tags: Sequence[Tag], span: Span, load: Load) -> Iterator[Span]:
        longest = microseconds(max(reach(self.view, tag) for tag in tags))
        rows = max(self.budget.cells // (30 * len(self.view.points)), 1)
        inner = cuts(span, load, samples=self.budget.samples, rows=rows, view=self.view, longest_reach=longest)
        if self.view.align == "burst":
            inner = [cut for each in inner if span.after < (cut := self._between_bursts(tags, each)) < span.until]
        edges = np.unique([span.after, *inner, span.until]).tolist()
        for after, until in pairwise(edges):
            yield Span(after, until, ready=until)

    def _bursts(self, asset: str, after: datetime, until: datetime) -> tuple[str, datetime, datetime]:
        """The windows of all bursts that have samples less than a window before the span, or in it.

        Theirs end a window or more after the first of these samples; those of the bursts before end earlier.
        """
        tags = [tag for tag in self.tags if tag.asset == asset]
        length = microseconds(self.view.window)
        first, last = self._whole(tags, micros(after) - length, micros(until))
        return asset, from_micros(first - 1 + length), from_micros(last + length)

    def _between_bursts(self, tags: Sequence[Tag], instant: int) -> int:
        """Up to here end the windows of the bursts before the one around the instant, and after it all of its own."""
        return self._whole(tags, instant, instant)[0] - 1 + microseconds(self.view.window)

    def _whole(self, tags: Sequence[Tag], first: int, last: int) -> tuple[int, int]:
        waveforms = [tag for tag in tags if tag.sample_rate]
        gap = int(1.5e6 / min(tag.sample_rate for tag in waveforms if tag.sample_rate))
        names = [tag.name for tag in waveforms]
        return whole_bursts(self.store, names, first, last, gap=gap, look=microseconds(self.view.window))

    def _ready(self, tags: Sequence[Tag]) -> dict[str, int]:
        """`Span.ready` of the tags of one asset.

        A waveform is known up to its newest sample and one period more. A slow tag may be silent because nothing
        changes; it is known up to the newest sample of any of the asset's tags in the view. Nothing is known of the
        future, whatever a device with a wrong clock says.
        """
        latest = max(micros(self.newest[tag.name]) for tag in tags)
        known = {
            tag.name: micros(self.newest[tag.name]) + ceil(1e6 / tag.sample_rate) if tag.sample_rate else latest
            for tag in tags
        }
        return {name: min(instant, micros(self.now)) for name, instant in known.items()}


def changed(plan: Planner, changes: pl.DataFrame, before: Mapping[str, datetime | None], cursor: datetime) -> Due:
    """What the ledger's changes make due, and what has waited for the clock.

    Args:
        plan: for the view.
        changes: columns of `LEDGER`, since the last run.
        before: up to when each tag was known at the last run.
        cursor: `ingested_at` of the ledger's newest row.
    """
    reaches = [
        (tag.name, tag.asset, reach(plan.view, tag), before.get(tag.name), plan.newest.get(tag.name))
        for tag in plan.tags
    ]
    spans = dirty_spans(changes, pl.DataFrame(reaches, TAG_REACH, orient="row"))
    known = {name: min(instant, plan.now) for name, instant in plan.newest.items()}
    moved = {name: instant for name, instant in known.items() if instant != before.get(name)}
    return Due(list(plan.partitions(spans, changes)), Progress(cursor, moved))


def stale(plan: Planner, table: FeatureTable) -> Due:
    """What rows of older versions make due: their windows, and whatever lies between two that are near."""
    frames = [
        joined_spans(
            rows.select("asset", after=pl.col("event_timestamp") - plan.view.hop, until="event_timestamp"),
            within=_NEARBY,
        )
        for rows in table.stale_rows()
    ]
    spans = pl.concat([SPANS.to_frame(), *frames])
    return Due(list(plan.partitions(spans, plan.store.changes(None))), None, stale=True)
