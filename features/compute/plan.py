"""What is to be computed for a view: from the ledger's changes, or from rows of older versions, to partitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from math import ceil
from typing import Final

import polars as pl

from features.compute.partition import Partition
from features.compute.splitting import Budget, Entries, SampleDensity, split_points
from features.define.view_plan import AssetPlan, ViewPlan
from features.tables.feature_table import FeatureTable
from features.tables.progress import Progress
from features.windows.bursts import whole_bursts
from features.windows.dirty import INTERVALS, TAG_LOOKBACK, dirty_intervals, join_intervals
from features.windows.tiling import EndRange, microseconds
from historian.stores.protocols import Reader
from historian.times import from_micros, micros

_NEARBY: Final = timedelta(minutes=1)
"""Intervals closer than this are read as one: a minute of samples costs less than another query."""
_CELLS_PER_POINT: Final = 30
"""Columns of a point in a row, about."""
_ROUNDING: Final = 3
"""Microseconds by which a pause may seem longer than it is, because timestamps are rounded, those of cuts once more."""


@dataclass(frozen=True)
class ComputePlan:
    """What a run has to compute for a view."""

    partitions: Sequence[Partition]
    """By asset and time."""
    progress: Progress | None
    """To be written with the last of their rows; None if the ledger has not moved, or is not the reason."""
    recompute: bool = False
    """Whether rows of older versions are the reason."""
    unfilled: pl.DataFrame = field(default_factory=INTERVALS.to_frame)
    """Ends of windows in which, by the dates of the tags, none filled a point: their rows are withdrawn."""

    @property
    def samples(self) -> int:
        """About how many samples are to be read."""
        return sum(partition.samples for partition in self.partitions)


@dataclass(frozen=True)
class Planner:
    """Turns intervals of a view's windows into partitions."""

    store: Reader
    plan: ViewPlan
    newest: Mapping[str, datetime]
    """The newest sample of each tag that has any."""
    now: datetime
    budget: Budget

    def partitions(self, intervals: pl.DataFrame, written: pl.DataFrame) -> Iterator[Partition]:
        """Split intervals into partitions.

        Args:
            intervals: columns of `INTERVALS`: the windows to compute.
            written: ledger rows that say how many samples there are.
        """
        plans = self._with_samples(intervals["asset"].unique())
        intervals = join_intervals(intervals.filter(pl.col("asset").is_in(list(plans))), within=_NEARBY)
        if self._by_bursts:
            bursts = [self._bursts(*each) for each in intervals.iter_rows()]
            intervals = join_intervals(pl.DataFrame(bursts, intervals.schema, orient="row"))
        entries, spans = Entries(written), dict[str, list[tuple[datetime, datetime]]]()
        for asset, *span in intervals.iter_rows():
            spans.setdefault(asset, []).append((span[0], span[1]))
        for asset, of_asset in spans.items():
            plan = plans[asset]
            yield from self._of_asset(plan, of_asset, entries.density(tag.name for tag in plan.sample_tags))

    def unfilled(self, intervals: pl.DataFrame) -> pl.DataFrame:
        """Return the parts of intervals in which, by the dates of the tags, none fills a point of the view."""
        rows = [
            (asset, from_micros(era.after), from_micros(era.until))
            for asset, after, until in intervals.iter_rows()
            if asset in self._assets and self._assets[asset].eras
            for era in self._assets[asset].during(micros(after), micros(until))
            if not era.plan.tags
        ]
        return pl.DataFrame(rows, INTERVALS, orient="row")

    def _of_asset(
        self, plan: AssetPlan, spans: Iterable[tuple[datetime, datetime]], density: SampleDensity
    ) -> Iterator[Partition]:
        for after, until in spans:
            for era in plan.during(micros(after), micros(until)):
                held = era.plan.with_samples(self.newest)
                if held.tags:
                    begin = self._begin(held, era.after) if self._by_bursts and era.after > micros(after) else None
                    wanted = EndRange(era.after, era.until, era.until)
                    yield from self._of_era(held, wanted, self._ready(held, plan), begin, density)

    def _of_era(
        self, plan: AssetPlan, wanted: EndRange, ready: Mapping[str, int], begin: int | None, density: SampleDensity
    ) -> Iterator[Partition]:
        for piece in self._pieces(plan, wanted, density):
            samples = density.between(piece.after, piece.until)
            partition = Partition(plan, piece, ready, samples, begin if piece.after == wanted.after else None)
            if partition.windows or self._by_bursts:
                yield partition

    def _begin(self, plan: AssetPlan, after: int) -> int:
        """Return when the burst begins whose windows end before and after an instant."""
        return self._whole(plan, after - microseconds(plan.window), after)[0]

    @property
    def _by_bursts(self) -> bool:
        return self.plan.view.align == "burst"

    @cached_property
    def _assets(self) -> Mapping[str, AssetPlan]:
        return {each.asset: each for each in self.plan.assets}

    def _with_samples(self, assets: Iterable[str]) -> dict[str, AssetPlan]:
        """Return what is computed for those of the assets that the plant still has and that have samples."""
        plans = {name: self._assets[name] for name in assets if name in self._assets}
        return {name: plan for name, plan in plans.items() if any(tag.name in self.newest for tag in plan.point_tags)}

    def _pieces(self, plan: AssetPlan, wanted: EndRange, density: SampleDensity) -> Iterator[EndRange]:
        inner = split_points(
            wanted,
            density,
            samples=self.budget.samples,
            rows=max(self.budget.cells // (_CELLS_PER_POINT * len(plan.points)), 1),
            hop=microseconds(plan.hop),
            lookback=microseconds(plan.lookback),
        )
        if self._by_bursts:
            moved = [self._between_bursts(plan, each) for each in inner]
            inner = [each for each in moved if wanted.after < each < wanted.until]
        edges = sorted({wanted.after, *inner, wanted.until})
        for after, until in pairwise(edges):
            yield EndRange(after, until, ready=until)

    def _bursts(self, asset: str, after: datetime, until: datetime) -> tuple[str, datetime, datetime]:
        """Return the interval of all windows of bursts that have samples less than a window before it, or in it.

        Theirs end a window or more after the first of these samples; those of the bursts before end earlier.
        """
        length = microseconds(self.plan.view.window)
        first, last = self._whole(self._assets[asset], micros(after) - length, micros(until))
        return asset, from_micros(first - 1 + length), from_micros(last + length)

    def _between_bursts(self, plan: AssetPlan, instant: int) -> int:
        """Return an instant between the ends of the burst around `instant` and the ends of the bursts before it."""
        return self._whole(plan, instant, instant)[0] - 1 + microseconds(plan.window)

    def _whole(self, plan: AssetPlan, first: int, last: int) -> tuple[int, int]:
        rates = {tag.name: tag.sample_rate for tag in plan.point_tags if tag.sample_rate}
        gap, look = int(1.5e6 / min(rates.values())) + _ROUNDING, microseconds(plan.window)
        return whole_bursts(self.store, list(rates), first, last, gap=gap, look=look)

    def _ready(self, plan: AssetPlan, whole: AssetPlan) -> dict[str, int]:
        """Return `EndRange.ready` of the tags of a plan, which is one era of the asset's whole plan.

        A waveform is known up to its newest sample and one period more. A process tag may be silent because nothing
        changes; it is known up to the newest sample of any of the asset's tags in the view. Nothing is known of the
        future, whatever a device with a wrong clock says.
        """
        latest = max(micros(self.newest[tag.name]) for tag in whole.sample_tags if tag.name in self.newest)
        known = {
            tag.name: micros(self.newest[tag.name]) + ceil(1e6 / tag.sample_rate) if tag.sample_rate else latest
            for tag in plan.sample_tags
        }
        return {name: min(instant, micros(self.now)) for name, instant in known.items()}


def plan_changes(
    planner: Planner, changes: pl.DataFrame, before: Mapping[str, datetime], cursor: datetime
) -> ComputePlan:
    """Plan what the ledger's changes make due, and what has waited for the clock.

    Args:
        planner: for the view.
        changes: columns of `LEDGER`, since the last run.
        before: up to when each tag was known at the last run.
        cursor: `ingested_at` of the ledger's newest row.
    """
    intervals = dirty_intervals(changes, _lookbacks(planner, before))
    known = {name: min(instant, planner.now) for name, instant in planner.newest.items()}
    moved = {name: instant for name, instant in known.items() if instant != before.get(name)}
    return ComputePlan(list(planner.partitions(intervals, changes)), Progress(cursor, moved))


def _lookbacks(planner: Planner, before: Mapping[str, datetime]) -> pl.DataFrame:
    """Return the columns of `TAG_LOOKBACK` for every tag of the view."""
    tags = [(each.asset, tag) for each in planner.plan.assets for tag in each.sample_tags]
    columns = {
        "tag": [tag.name for _, tag in tags],
        "asset": [asset for asset, _ in tags],
        "lookback": [tag.lookback for _, tag in tags],
        "replaces": [tag.replaces for _, tag in tags],
        "known": [before.get(tag.name) for _, tag in tags],
        "newest": [planner.newest.get(tag.name) for _, tag in tags],
    }
    return pl.DataFrame(columns, TAG_LOOKBACK)


def plan_recompute(planner: Planner, table: FeatureTable) -> ComputePlan:
    """Plan to compute the rows of older versions again: their windows, and what lies between two that are near."""
    hop = planner.plan.view.hop
    frames = [
        join_intervals(
            rows.select("asset", after=pl.col("event_timestamp") - hop, until="event_timestamp"), within=_NEARBY
        )
        for rows in table.stale_rows()
    ]
    intervals = pl.concat([INTERVALS.to_frame(), *frames])
    partitions = list(planner.partitions(intervals, planner.store.changes(None)))
    return ComputePlan(partitions, None, recompute=True, unfilled=planner.unfilled(intervals))
