"""The incremental job: what the store's ledger says has changed -> feature rows, appended once.

For each view: the ledger rows since the last run become dirty intervals of window ends, and these partitions
(`features.compute.plan`); an engine reads just the samples their windows can touch and computes
(`features.compute.engines`); rows that differ from the stored ones are appended here, and with the last of them the
cursor. Stored rows whose windows no longer exist are withdrawn first. A run that dies, also in between, is repeated
from the old cursor, and finds its first rows stored already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl

from features.compute.engines.processes import Engine, in_process
from features.compute.partition import Computed, Partition
from features.compute.plan import ComputePlan, Planner, plan_changes, plan_recompute
from features.compute.splitting import Budget, budget
from features.compute.write_back import writer
from features.tables.feature_table import FeatureTable
from features.tables.progress import Progress
from features.windows.dirty import intervals_of, join_intervals
from historian.errors import UnknownFeature, near_misses
from historian.plant.plant import Plant, View
from historian.stores.protocols import Store
from historian.times import from_micros

ROWS_PER_COMMIT: Final = 20_000
MEMORY: Final = 2 * 2**30
"""Bytes that samples and rows may take, by default."""
_COUNTS: Final = ("feature_rows", "windows", "invalid", "partial_windows")


@dataclass
class ViewReport:
    """What a run did for one view."""

    feature_rows: int = 0
    """How many rows were appended."""
    windows: int = 0
    """How many windows were found, of all points together."""
    invalid: int = 0
    """How many of them were incomplete, or had samples that are not Good."""
    partial_windows: int = 0
    """How many bursts end in samples too few for a window of their own."""
    stale_columns: list[str] = field(default_factory=list)
    """Columns that older rows may have from older versions; `penstock compute --stale` recomputes them."""
    stale_assets: list[str] = field(default_factory=list)
    """Assets that may have older rows from other tags or settings; `penstock compute --stale` recomputes them."""

    def plus(self, before: ViewReport | None) -> ViewReport:
        """Return the counts of both runs together; what is stale is as of this one."""
        if before is None:
            return self
        numbers = {key: getattr(self, key) + getattr(before, key) for key in _COUNTS}
        return ViewReport(**numbers, stale_columns=self.stale_columns, stale_assets=self.stale_assets)

    def add(self, done: Computed) -> None:
        """Count the windows of partitions."""
        self.windows += done.windows
        self.invalid += done.invalid
        self.partial_windows += done.partial_windows


class ViewJob:
    """Brings one view's table up to date, as often as it is run."""

    def __init__(self, plant: Plant, view: View, store: Store, clock: Callable[[], datetime]) -> None:
        """Open the table.

        Raises:
            ConfigError: `[historian] write_features` cannot be written.
            FeatureError: it was written by another definition of the view.
            StoreUnavailable: the table cannot be read or written.
        """
        self.view = view
        self.table = FeatureTable(plant, view)
        self._assets = {tag.name: each.asset for each in self.table.plan.assets for tag in each.sample_tags}
        self._store = store
        self._clock = clock
        self._write_back = writer(plant, self.table.plan, store, clock)
        self._known: dict[str, datetime] = self.table.newest_samples()
        self._newest: dict[str, datetime] | None = None

    def plan(self, limits: Budget) -> ComputePlan:
        """Plan what the ledger says has changed since the last run, and what has waited for the clock.

        A run with a plant file that did not have an asset yet has gone past its samples in the ledger: they count as
        changes of now.
        """
        cursor, opened = self.table.cursor(), self._newest is None
        changes = self._store.changes(cursor)
        if opened and cursor is None:  # the whole ledger says when the newest sample of each tag is
            self._newest = {}
        planner = self._planner(limits, changes)
        if opened and cursor and (unseen := self._unseen()):
            passed = self._store.changes(None).filter(pl.col("tag").is_in(unseen))
            changes = pl.concat([passed, changes]).unique().sort("ingested_at")
        cursors = [*changes["ingested_at"].tail(1), *filter(None, [cursor])]
        if not cursors or (changes.is_empty() and not self._overdue(planner)):
            return ComputePlan([], None)
        return plan_changes(planner, changes, self._known, max(cursors))

    def _unseen(self) -> list[str]:
        """Return the tags that have samples, for assets without a sample in any earlier run."""
        seen = {asset for tag, asset in self._assets.items() if tag in self._known}
        return [tag for tag, asset in self._assets.items() if asset not in seen and tag in (self._newest or {})]

    def _overdue(self, planner: Planner) -> bool:
        """Return whether all samples of a tag that were in the future at the last run are in the past now."""
        return any(self._known.get(tag, newest) < newest <= planner.now for tag, newest in planner.newest.items())

    def plan_recompute(self, limits: Budget) -> ComputePlan:
        """Plan to compute again what older versions have computed."""
        self.table.adopt(self._clock())
        return plan_recompute(self._planner(limits, None), self.table)

    def run(
        self,
        plan: ComputePlan,
        engine: Engine,
        *,
        advance: Callable[[int], None] = lambda _: None,
        appended: Callable[[View, pl.DataFrame], None] = lambda _, __: None,
        rows_per_commit: int = ROWS_PER_COMMIT,
    ) -> ViewReport:
        """Compute and append what is planned.

        Args:
            plan: from `plan` or `plan_recompute`.
            engine: runs the partitions.
            advance: called with the number of samples read, as they are read.
            appended: called with rows once they are stored.
            rows_per_commit: how many rows may wait in memory before they are appended.

        Raises:
            StoreUnavailable: the store cannot be read, or another run was faster; run again later.
        """
        report = ViewReport()
        self.table.adopt(self._clock())
        # Samples may have gone since older versions made rows of them: such rows stay.
        waiting = _Waiting(self.table, self._clock, self._write_back, withdraw=not plan.recompute)
        if not plan.unfilled.is_empty():
            nothing = self.table.empty.drop("created_timestamp")
            self.table.append(nothing, now=self._clock(), recomputed=plan.unfilled, before=self._write_back)
        for done in engine(plan.partitions):
            advance(done.samples)
            report.add(done)
            waiting.add(done)
            if sum(map(len, waiting.frames)) >= rows_per_commit:
                report.feature_rows += _reported(waiting.commit(), self.view, appended)
        if waiting.frames or plan.progress:
            report.feature_rows += _reported(waiting.commit(plan.progress), self.view, appended)
            self.table.compact()
        if plan.progress:
            self._known.update(plan.progress.newest)
        if plan.recompute:
            self.table.forget_older()
        report.stale_columns, report.stale_assets = self.table.stale_columns, self.table.stale_assets
        return report

    def _planner(self, limits: Budget, changes: pl.DataFrame | None) -> Planner:
        """Make a planner, once `changes` are read: then no change is newer than the newest samples."""
        names = list(self._assets)
        if self._newest is None or changes is None:
            self._newest = dict(self._store.latest(names).select("tag", "timestamp").iter_rows())
        else:
            written = changes.filter(pl.col("tag").is_in(names)).group_by("tag").agg(pl.col("last").max())
            for tag, last in written.iter_rows():
                self._newest[tag] = max(last, self._newest.get(tag, last))
        return Planner(self._store, self.table.plan, self._newest, self._clock(), limits)


@dataclass(frozen=True)
class PlannedAsset:
    """What is planned for one asset of a view; counts are estimates."""

    partitions: int
    after: datetime
    until: datetime
    """Windows end in after < end <= until."""
    windows: int
    samples: int


@dataclass(frozen=True)
class PlannedView:
    """What is planned for a view."""

    job: ViewJob
    plans: Sequence[ComputePlan]

    @property
    def samples(self) -> int:
        """About how many samples are to be read."""
        return sum(plan.samples for plan in self.plans)

    def assets(self) -> dict[str, PlannedAsset]:
        """Return what is planned by asset."""
        by_asset: dict[str, list[Partition]] = {}
        for partition in (partition for plan in self.plans for partition in plan.partitions):
            by_asset.setdefault(partition.plan.asset, []).append(partition)
        return {
            asset: PlannedAsset(
                partitions=len(parts),
                after=from_micros(min(part.wanted.after for part in parts)),
                until=from_micros(max(part.wanted.until for part in parts)),
                windows=sum(part.windows for part in parts),
                samples=sum(part.samples for part in parts),
            )
            for asset, parts in by_asset.items()
        }


def plan_views(
    plant: Plant,
    store: Store,
    clock: Callable[[], datetime],
    views: Sequence[str],
    limits: Budget,
    *,
    recompute: bool = False,
) -> list[PlannedView]:
    """Plan what is due for views of a plant.

    Args:
        plant: the plant.
        store: where the samples are.
        clock: returns the time; called for the created timestamp of rows once their samples have been read.
        views: names of views; all if empty.
        limits: how large partitions may get.
        recompute: whether rows computed by older versions are due as well.

    Raises:
        UnknownFeature: there is no such view.
        FeatureError: a table was written by another definition of its view.
        StoreUnavailable: a store or table cannot be read.
    """
    jobs = [ViewJob(plant, view, store, clock) for view in chosen_views(plant, views)]
    return [PlannedView(job, [job.plan(limits), *([job.plan_recompute(limits)] if recompute else [])]) for job in jobs]


def run_views(
    planned: Sequence[PlannedView],
    engine: Engine,
    *,
    advance: Callable[[int], None] = lambda _: None,
    rows_per_commit: int = ROWS_PER_COMMIT,
) -> dict[str, ViewReport]:
    """Compute and append what is planned.

    Args:
        planned: from `plan_views`.
        engine: runs the partitions.
        advance: called with the number of samples read, as they are read.
        rows_per_commit: how many rows may wait in memory before they are appended.

    Returns:
        View -> what was done.

    Raises:
        StoreUnavailable: the store cannot be read, or another run was faster; run again later.
    """
    reports: dict[str, ViewReport] = {}
    for each in planned:
        for plan in each.plans:
            done = each.job.run(plan, engine, advance=advance, rows_per_commit=rows_per_commit)
            reports[each.job.view.name] = done.plus(reports.get(each.job.view.name))
    return reports


def compute(
    plant: Plant,
    store: Store,
    clock: Callable[[], datetime],
    *,
    views: Sequence[str] = (),
    advance: Callable[[int], None] = lambda _: None,
    rows_per_commit: int = ROWS_PER_COMMIT,
    memory: int = MEMORY,
) -> dict[str, ViewReport]:
    """Bring feature tables up to date with the store, in this process; `memory` is in bytes.

    See `plan_views` and `run_views`.
    """
    planned = plan_views(plant, store, clock, views, budget(memory, 1))
    return run_views(planned, in_process(store), advance=advance, rows_per_commit=rows_per_commit)


def chosen_views(plant: Plant, names: Sequence[str]) -> list[View]:
    """Return the views of these names; all, sorted, if there are none.

    Raises:
        UnknownFeature: no such view.
    """
    for name in names:
        if name not in plant.views:
            raise UnknownFeature(f"there is no feature view {name!r}{near_misses(name, plant.views)}")
    return [plant.views[name] for name in names or sorted(plant.views)]


def _reported(rows: pl.DataFrame, view: View, appended: Callable[[View, pl.DataFrame], None]) -> int:
    """Call `appended` with the rows, unless there are none; return how many there are."""
    if not rows.is_empty():
        appended(view, rows)
    return rows.height


@dataclass
class _Waiting:
    """Rows that wait to be appended together, and the intervals that they cover completely."""

    table: FeatureTable
    clock: Callable[[], datetime]
    before: Callable[[pl.DataFrame], None]
    withdraw: bool
    frames: list[pl.DataFrame] = field(default_factory=list)
    intervals: list[tuple[str, int, int]] = field(default_factory=list)

    def add(self, done: Computed) -> None:
        """Take in rows."""
        self.frames.append(done.rows)
        if self.withdraw:
            self.intervals += [each for each in done.covered if each[1] < each[2]]

    def commit(self, progress: Progress | None = None) -> pl.DataFrame:
        """Append the rows; return those that were new."""
        rows = pl.concat([self.table.empty, *self.frames], how="diagonal")
        recomputed = join_intervals(intervals_of(self.intervals))
        appended = self.table.append(
            rows, now=self.clock(), progress=progress, recomputed=recomputed, before=self.before
        )
        self.frames, self.intervals = [], []
        return appended
