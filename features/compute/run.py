"""The incremental job: what the store's ledger says has changed -> feature rows, appended once.

For each view: the ledger rows since the last run become dirty spans of window ends, and these partitions
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

from features.compute.engines.processes import Engine, here
from features.compute.partition import Computed
from features.compute.plan import Budget, Due, Planner, budget, changed, stale, view_tags
from features.tables.feature_table import FeatureTable, Progress
from features.windows.dirty import SPANS, joined_spans
from historian.errors import UnknownFeature, near_misses
from historian.plant.plant import Plant, View
from historian.stores.protocols import Reader
from historian.times import from_micros

ROWS_PER_COMMIT: Final = 20_000
MEMORY: Final = 2 * 2**30
"""Bytes."""
_COUNTS: Final = ("feature_rows", "windows", "invalid", "leftovers")


@dataclass
class ViewReport:
    """What a run did for one view."""

    feature_rows: int = 0
    """Rows appended."""
    windows: int = 0
    """Windows looked at, of all points."""
    invalid: int = 0
    """Those of them that were incomplete, or had samples that are not Good."""
    leftovers: int = 0
    """Ends of bursts that were too short for a window of their own."""
    stale_columns: list[str] = field(default_factory=list)
    """Of which rows by older versions may remain; `penstock compute --stale` makes them anew."""
    stale_assets: list[str] = field(default_factory=list)
    """Of which rows from other tags, or with another bearing, speed, range or states, may remain; the same helps."""

    def plus(self, before: ViewReport | None) -> ViewReport:
        """Both runs counted together."""
        if before is None:
            return self
        numbers = {key: getattr(self, key) + getattr(before, key) for key in _COUNTS}
        return ViewReport(**numbers, stale_columns=self.stale_columns, stale_assets=self.stale_assets)

    def add(self, done: Computed) -> None:
        """Counts the windows of a partition."""
        self.windows += done.windows
        self.invalid += done.invalid
        self.leftovers += done.leftovers


class ViewJob:
    """Brings one view's table up to date, as often as asked to."""

    def __init__(self, plant: Plant, view: View, store: Reader, clock: Callable[[], datetime]) -> None:
        """Opens the table.

        Raises:
            FeatureError: it was made by another definition of the view.
            StoreUnavailable: the disk fails us.
        """
        self.view = view
        self.table = FeatureTable(plant, view)
        self._tags = view_tags(plant, view)
        self._store = store
        self._clock = clock
        self._known = {tag.name: self.table.newest_sample(tag.name) for tag in self._tags}
        self._newest: dict[str, datetime] | None = None

    def due(self, limits: Budget) -> Due:
        """What the ledger says has changed since the last run, and what has waited for the clock.

        A run with a plant file that did not have an asset yet has gone past its samples in the ledger: they count as
        changes of now.
        """
        cursor, opened = self.table.cursor(), self._newest is None
        changes = self._store.changes(cursor)
        planner = self._planner(limits, changes)
        if opened and cursor and (unseen := self._unseen()):
            passed = self._store.changes(None).filter(pl.col("tag").is_in(unseen))
            changes = pl.concat([passed, changes]).unique().sort("ingested_at")
        cursors = [*changes["ingested_at"].tail(1), *filter(None, [cursor])]
        if not cursors or (changes.is_empty() and not self._overdue(planner)):
            return Due([], None)
        return changed(planner, changes, self._known, max(cursors))

    def _unseen(self) -> list[str]:
        """The tags with samples of assets of which no run has known any."""
        seen = {tag.asset for tag in self._tags if self._known[tag.name]}
        return [tag.name for tag in self._tags if tag.asset not in seen and tag.name in (self._newest or {})]

    def _overdue(self, planner: Planner) -> bool:
        """Whether all samples of a tag that lay in the future at the last run have come to lie in the past."""
        return any((self._known[tag] or newest) < newest <= planner.now for tag, newest in planner.newest.items())

    def stale(self, limits: Budget) -> Due:
        """What older versions have made."""
        self.table.adopt(self._clock())
        return stale(self._planner(limits, None), self.table)

    def run(
        self,
        due: Due,
        engine: Engine,
        *,
        advance: Callable[[int], None] = lambda _: None,
        appended: Callable[[View, pl.DataFrame], None] = lambda _, __: None,
        rows_per_commit: int = ROWS_PER_COMMIT,
    ) -> ViewReport:
        """Computes and appends what is due.

        Args:
            due: from `due` or `stale`.
            engine: who computes.
            advance: called with the number of samples read, as they are read.
            appended: called with rows once they are stored.
            rows_per_commit: how many rows may wait in memory before they are appended.

        Raises:
            StoreUnavailable: the store cannot be read, or another run was faster; run again later.
        """
        report = ViewReport()
        self.table.adopt(self._clock())
        # Samples may have gone since older versions made rows of them: such rows stay.
        waiting = _Waiting(self.table, self._clock, withdraw=not due.stale)
        for done in engine(due.partitions):
            advance(done.samples)
            report.add(done)
            waiting.add(done)
            if sum(map(len, waiting.frames)) >= rows_per_commit:
                report.feature_rows += _told(waiting.commit(), self.view, appended)
        if waiting.frames or due.progress:
            report.feature_rows += _told(waiting.commit(due.progress), self.view, appended)
            self.table.compact()
        if due.progress:
            self._known.update(due.progress.newest)
        if due.stale:
            self.table.forget_older()
        report.stale_columns, report.stale_assets = self.table.stale_columns, self.table.stale_assets
        return report

    def _planner(self, limits: Budget, changes: pl.DataFrame | None) -> Planner:
        """Asked after `changes`: no change is newer than the newest samples."""
        names = [tag.name for tag in self._tags]
        if self._newest is None or changes is None:
            self._newest = dict(self._store.latest(names).select("tag", "timestamp").iter_rows())
        else:
            written = changes.filter(pl.col("tag").is_in(names)).group_by("tag").agg(pl.col("last").max())
            for tag, last in written.iter_rows():
                self._newest[tag] = max(last, self._newest.get(tag, last))
        return Planner(self._store, self.view, self._tags, self._newest, self._clock(), limits)


def compute(
    plant: Plant,
    store: Reader,
    clock: Callable[[], datetime],
    *,
    views: Sequence[str] = (),
    advance: Callable[[int], None] = lambda _: None,
    rows_per_commit: int = ROWS_PER_COMMIT,
    memory: int = MEMORY,
) -> dict[str, ViewReport]:
    """Brings the feature tables up to date with the store, in this process.

    Args:
        plant: whose views.
        store: where the samples are.
        clock: what time it is; asked for the created timestamp of rows once their samples have been read.
        views: which views; all if empty.
        advance: called with the number of samples read, as they are read.
        rows_per_commit: how many rows may wait in memory before they are appended.
        memory: bytes the work may take.

    Returns:
        A report a view.

    Raises:
        UnknownFeature: no such view.
        StoreUnavailable: the store cannot be read, or another run was faster; run again later.
    """
    reports = {}
    for view in chosen_views(plant, views):
        job = ViewJob(plant, view, store, clock)
        due = job.due(budget(memory, 1))
        reports[view.name] = job.run(due, here(store), advance=advance, rows_per_commit=rows_per_commit)
    return reports


def chosen_views(plant: Plant, names: Sequence[str]) -> list[View]:
    """The views of these names; all, sorted, if there are none.

    Raises:
        UnknownFeature: no such view.
    """
    for name in names:
        if name not in plant.views:
            raise UnknownFeature(f"there is no feature view {name!r}{near_misses(name, plant.views)}")
    return [plant.views[name] for name in names or sorted(plant.views)]


def _told(rows: pl.DataFrame, view: View, appended: Callable[[View, pl.DataFrame], None]) -> int:
    if not rows.is_empty():
        appended(view, rows)
    return rows.height


@dataclass
class _Waiting:
    """Rows that wait to be appended together, and the spans of which they are all rows."""

    table: FeatureTable
    clock: Callable[[], datetime]
    withdraw: bool
    frames: list[pl.DataFrame] = field(default_factory=list)
    spans: list[tuple[str, datetime, datetime]] = field(default_factory=list)

    def add(self, done: Computed) -> None:
        """What a partition came to."""
        self.frames.append(done.rows)
        if self.withdraw and done.after < done.until:
            self.spans.append((done.asset, from_micros(done.after), from_micros(done.until)))

    def commit(self, progress: Progress | None = None) -> pl.DataFrame:
        """Appends them; returns those that were new."""
        rows = pl.concat([self.table.empty, *self.frames], how="diagonal")
        recomputed = joined_spans(pl.DataFrame(self.spans, SPANS, orient="row"))
        appended = self.table.append(rows, now=self.clock(), progress=progress, recomputed=recomputed)
        self.frames, self.spans = [], []
        return appended
