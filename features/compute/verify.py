"""Are the stored features what their samples give, and is what is online what is stored?

Stored rows are drawn; these windows and what lies between near ones are computed again, from the samples in the store,
by the unit of work that made them, and compared to nine digits: another processor adds up in other lanes. Windows that
the job has not come to yet, rows made from other tags or settings, and columns of which older rows have another
version, are left out: `penstock compute`, and `--stale` for the latter two, is to come to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from features.compute.partition import Partition, compute_partition
from features.compute.plan import Planner, budget, changed, view_tags
from features.compute.run import MEMORY
from features.tables.feature_table import KEY, FeatureTable, in_spans
from features.windows.dirty import SPANS, joined_spans
from historian.plant.plant import Plant, View
from historian.stores.protocols import Reader
from historian.times import from_micros

_CROWD: Final = 20
"""Keys are drawn from about so many times as many, so that a table of any size can be drawn from."""
_EVENT: Final = pl.col("event_timestamp")
_DIGITS: Final = 1e-9
_LEAST: Final = 1e-12
"""Below this, what symmetry makes zero is rounding noise."""


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
    """What became of the rows that were drawn of one view."""

    match: int = 0
    mismatch: int = 0
    """Rows with at least one other value."""
    missing: int = 0
    """Rows that are stored, but whose window their samples no longer make."""
    extra: int = 0
    """Rows their samples make, but that are not stored."""
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
        """Whether everything agrees."""
        online = self.online_mismatch or self.online_behind or (self.materialised and self.online_missing)
        return not (self.mismatch or self.missing or self.extra or online)


def verify(plant: Plant, view: View, store: Reader, now: datetime, *, rows: int, seed: int) -> Verdict:
    """Draws stored rows of a view, computes them again and compares.

    Args:
        plant: whose view.
        view: which.
        store: where the samples are.
        now: what time it is.
        rows: how many to draw.
        seed: for the same draw again.
    """
    table, verdict = FeatureTable(plant, view), Verdict()
    drawn = _drawn(table, rows, seed)
    if drawn.is_empty():
        return verdict
    tags = view_tags(plant, view)
    newest = dict(store.latest([tag.name for tag in tags]).select("tag", "timestamp").iter_rows())
    plan = Planner(store, view, tags, newest, now, budget(MEMORY, 1))
    cursor = table.cursor()
    changes = store.changes(cursor)
    before = {tag.name: table.newest_sample(tag.name) for tag in tags}
    pending = changed(plan, changes, before, cursor or now).partitions
    asked = drawn.select("asset", after=_EVENT - timedelta(microseconds=1), until="event_timestamp")
    partitions = list(plan.partitions(asked, store.changes(None)))
    expected = pl.concat([table.empty, *(compute_partition(store, each).rows for each in partitions)], how="diagonal")
    stored = in_spans(table.within(_spans(partitions)), _spans(partitions)).collect()
    stored = stored.sort("created_timestamp").unique(KEY, keep="last")
    due = in_spans(pl.concat([stored.select(KEY), expected.select(KEY)]).lazy(), _spans(pending)).collect()
    due = pl.concat([due, stored.filter(~table.of_present_machine()).select(KEY)])
    verdict.left_out = stored.join(due, on=KEY, how="semi").height
    stored = stored.join(due, on=KEY, how="anti")
    _compare(verdict, stored, expected.join(due, on=KEY, how="anti"), _current(table))
    return verdict


def compare_online(
    verdict: Verdict,
    table: FeatureTable,
    online: Mapping[str, tuple[datetime | None, Mapping[str, object]]],
    *,
    ttl: timedelta | None,
    now: datetime,
) -> None:
    """Compares each asset's online values with the stored row of the same event timestamp, and that with the newest.

    Only newest rows that can be served and were there at `now` count: neither those past their ttl, nor those that were
    created since, which are still on their way.

    Args:
        verdict: is added to; it must know already whether the view was materialised.
        table: of the view, opened after `online` was read.
        online: asset -> event timestamp and values; no timestamp where it is not online.
        ttl: of the view; None for unlimited.
        now: what time it was before `online` was read.
    """
    newest = _newest(table, ttl, now)
    for asset, (event, values) in online.items():
        expected = newest.get(asset)
        wrong = _wrong(table, asset, event, values) if event else []
        late = expected is not None and (event is None or event < expected)
        verdict.online += event is not None and not (wrong or late)
        verdict.online_mismatch += bool(wrong)
        verdict.online_behind += late and event is not None and not wrong
        verdict.online_missing += late and event is None
        verdict.differences += wrong
        if expected and late and not wrong and verdict.materialised:
            verdict.differences.append(Difference("online", asset, expected, "event_timestamp", event, expected))


def _newest(table: FeatureTable, ttl: timedelta | None, now: datetime) -> dict[str, datetime]:
    """Asset -> event timestamp of its newest row that counts."""
    rows = table.scan().filter(_EVENT.le(now), pl.col("created_timestamp") <= now)
    if ttl:
        rows = rows.filter(_EVENT.ge(now - ttl))
    return dict(rows.group_by("asset").agg(_EVENT.max()).collect().iter_rows())


def _wrong(table: FeatureTable, asset: str, event: datetime, values: Mapping[str, object]) -> list[Difference]:
    """The values that are not those of the stored row of the same event timestamp."""
    stored = table.newest(pl.DataFrame({"asset": [asset], "event_timestamp": [event]}, _keys(table)))
    row = stored.row(0, named=True) if stored.height else dict.fromkeys(values)
    return [
        Difference("online", asset, event, name, value, row[name])
        for name, value in values.items()
        if value != row[name]
    ]


def _drawn(table: FeatureTable, rows: int, seed: int) -> pl.DataFrame:
    """(asset, event_timestamp) of about `rows` stored windows, the same for the same seed and table."""
    keys = table.scan().select(KEY)
    stored = keys.select(pl.len()).collect().item()
    one_of = max(stored // (rows * _CROWD), 1)
    few = keys.filter(pl.struct(*KEY).hash(seed) % one_of == 0).unique().sort(KEY).collect()
    return few.sample(min(rows, few.height), seed=seed).sort(KEY)


def _spans(partitions: Sequence[Partition]) -> pl.DataFrame:
    """Columns of `SPANS`, joined."""
    rows = [(each.asset, from_micros(each.span.after), from_micros(each.span.until)) for each in partitions]
    return joined_spans(pl.DataFrame(rows, SPANS, orient="row"))


def _current(table: FeatureTable) -> Sequence[str]:
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
    """Whether they are not the same, or numbers of which the first nine digits are not."""
    differs = one.ne_missing(other)
    if one.dtype.is_float():
        differs &= ((one - other).abs() > _DIGITS * one.abs() + _LEAST).fill_null(value=True)
    return differs


def _keys(table: FeatureTable) -> pl.Schema:
    return pl.Schema({name: table.schema[name] for name in KEY})
