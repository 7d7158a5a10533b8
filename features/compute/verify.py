"""Checks that stored feature rows are what their samples give.

A random sample of stored rows is taken. Their windows, and those between windows that lie close together, are
recomputed from the samples in the store by the same function as in the job, and compared to nine digits, because
another processor adds up in another order. Left out are windows the job has not computed yet, rows from other tags or
settings, and columns with older versions in older rows: `penstock compute` computes the first, `--stale` the others.
The online store is compared in `features.compute.verify_views`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from features.compute.partition import Partition, compute_partitions
from features.compute.plan import Planner, plan_changes
from features.compute.run import MEMORY
from features.compute.splitting import budget
from features.tables.feature_table import KEY, FeatureTable
from features.windows.dirty import in_intervals, intervals_of, join_intervals
from historian.plant.plant import Plant, View
from historian.stores.protocols import Reader

_CROWD: Final = 20
"""Keys are drawn from about so many times as many, so that a table of any size needs little memory."""
_EVENT: Final = pl.col("event_timestamp")
_DIGITS: Final = 1e-9
_LEAST: Final = 1e-12
"""Differences below this are rounding noise around an exact zero."""


@dataclass(frozen=True)
class Difference:
    """A value that is not what it should be."""

    where: str
    """`table` or `online`."""
    asset: str
    event_timestamp: datetime
    column: str
    found: object
    expected: object


@dataclass
class Verdict:
    """The result for one view: how many of the drawn rows, and of the online values, agree."""

    match: int = 0
    mismatch: int = 0
    """Rows with at least one other value."""
    missing: int = 0
    """Stored rows whose window the samples no longer give."""
    extra: int = 0
    """Rows the samples give, but that are not stored."""
    online: int = 0
    """Assets whose online values are those stored, and not behind."""
    online_mismatch: int = 0
    """Assets with at least one other value than the stored row of the same event timestamp."""
    online_behind: int = 0
    """Assets that are online as they were stored once, but not with their newest stored row."""
    online_missing: int = 0
    """Assets that are not online, though rows of them are stored."""
    materialised: bool = False
    """Whether the view is or was put online; a plant need not do so, and then nothing is missing."""
    left_out: int = 0
    """Rows that are due to be computed again."""
    differences: list[Difference] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Return whether everything agrees."""
        online = self.online_mismatch or self.online_behind or (self.materialised and self.online_missing)
        return not (self.mismatch or self.missing or self.extra or online)


def verify(plant: Plant, view: View, store: Reader, now: datetime, *, rows: int, seed: int) -> Verdict:
    """Draw stored rows of a view, compute them again and compare.

    Args:
        plant: the plant.
        view: one of its views.
        store: where the samples are.
        now: the present time.
        rows: how many rows to draw.
        seed: the same seed draws the same rows of the same table.
    """
    table, verdict = FeatureTable(plant, view), Verdict()
    drawn = _drawn(table, rows, seed)
    if drawn.is_empty():
        return verdict
    tags = [tag.name for each in table.plan.assets for tag in each.sample_tags]
    newest = dict(store.latest(tags).select("tag", "timestamp").iter_rows())
    planner = Planner(store, table.plan, newest, now, budget(MEMORY, 1))
    cursor = table.cursor()
    changes = store.changes(cursor)
    pending = plan_changes(planner, changes, table.newest_samples(), cursor or now).partitions
    wanted = drawn.select("asset", after=_EVENT - timedelta(microseconds=1), until="event_timestamp")
    partitions = list(planner.partitions(wanted, store.changes(None)))
    expected = pl.concat(
        [table.empty, *(compute_partitions(store, [each]).rows for each in partitions)], how="diagonal"
    )
    stored = in_intervals(table.within(_intervals(partitions)), _intervals(partitions)).collect()
    stored = stored.sort("created_timestamp").unique(KEY, keep="last")
    due = in_intervals(pl.concat([stored.select(KEY), expected.select(KEY)]).lazy(), _intervals(pending)).collect()
    due = pl.concat([due, table.by_other_facts(stored)]).unique()
    verdict.left_out = stored.join(due, on=KEY, how="semi").height
    stored = stored.join(due, on=KEY, how="anti")
    _compare(verdict, stored, expected.join(due, on=KEY, how="anti"), _current(table))
    return verdict


def _drawn(table: FeatureTable, rows: int, seed: int) -> pl.DataFrame:
    """Return (asset, event_timestamp) of about `rows` stored windows, the same for the same seed and table."""
    keys = table.scan().select(KEY)
    stored = keys.select(pl.len()).collect().item()
    one_of = max(stored // (rows * _CROWD), 1)
    few = keys.filter(pl.struct(*KEY).hash(seed) % one_of == 0).unique().sort(KEY).collect()
    return few.sample(min(rows, few.height), seed=seed).sort(KEY)


def _intervals(partitions: Sequence[Partition]) -> pl.DataFrame:
    """Return the intervals of the partitions, joined; columns of `INTERVALS`."""
    return join_intervals(
        intervals_of([(each.plan.asset, each.wanted.after, each.wanted.until) for each in partitions])
    )


def _current(table: FeatureTable) -> Sequence[str]:
    """Return the feature columns that have one version in all rows."""
    old = set(table.stale_columns)
    return [name for name in table.schema if name not in {*KEY, "created_timestamp", *old}]


def _compare(verdict: Verdict, stored: pl.DataFrame, expected: pl.DataFrame, columns: Sequence[str]) -> None:
    verdict.missing = stored.join(expected, on=KEY, how="anti").height
    verdict.extra = expected.join(stored, on=KEY, how="anti").height
    both = stored.join(expected, on=KEY, suffix=" again").sort(KEY)
    wrong = {name: _differs(both[name], both[f"{name} again"]) for name in columns}
    bad = pl.DataFrame(wrong).select(pl.any_horizontal(pl.all())).to_series() if wrong and both.height else None
    verdict.mismatch = int(bad.sum()) if bad is not None else 0
    verdict.match = both.height - verdict.mismatch
    for name, differs in wrong.items():
        for row in both.filter(differs).select(*KEY, name, f"{name} again").iter_rows():
            verdict.differences.append(Difference("table", row[0], row[1], name, row[2], row[3]))


def _differs(one: pl.Series, other: pl.Series) -> pl.Series:
    """Return where two columns differ; numbers where their first nine digits do."""
    differs = one.ne_missing(other)
    if one.dtype.is_float():
        differs &= ((one - other).abs() > _DIGITS * one.abs() + _LEAST).fill_null(value=True)
    return differs
