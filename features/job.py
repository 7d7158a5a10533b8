"""The incremental job: what the store's ledger says has changed -> feature rows, appended once.

For each view: the ledger rows since the last run become dirty spans of window ends; just the samples these windows can
touch are read, page by page; rows that differ from the stored ones are appended, and with the last of them the cursor.
Stored rows of these spans whose windows no longer exist are withdrawn first. A run that dies, also in between, is
repeated from the old cursor, and finds its first rows stored already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Final

import polars as pl
import polars.selectors as cs

from features.bursts import whole_bursts
from features.dirty import SPANS, TAG_REACH, dirty_spans, joined_spans, reach
from features.rows import Rows, asset_rows
from features.tables import FeatureTable, Progress
from features.windows import Span, microseconds
from historian.errors import UnknownFeature, near_misses
from historian.plant import Plant, Tag, View
from historian.samples import SampleBatch
from historian.stores import Reader
from historian.times import from_micros, micros

_NEARBY: Final = timedelta(minutes=1)
"""Dirty spans closer than this are read as one: a minute of samples costs less than another query."""


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

    def add(self, rows: Rows) -> None:
        """Counts the windows of some rows."""
        valid = rows.frame.select(cs.boolean())
        self.windows += sum(valid.count().row(0))
        self.invalid += sum(valid.select(~pl.all()).sum().row(0))
        self.leftovers += rows.leftovers


def compute(
    plant: Plant,
    store: Reader,
    clock: Callable[[], datetime],
    *,
    views: Sequence[str] = (),
    advance: Callable[[int], None] = lambda _: None,
    rows_per_commit: int = 20_000,
) -> dict[str, ViewReport]:
    """Brings the feature tables up to date with the store.

    Args:
        plant: whose views.
        store: where the samples are.
        clock: what time it is; asked for the created timestamp of rows once their samples have been read.
        views: which views; all if empty.
        advance: called with the number of samples read, as they are read.
        rows_per_commit: how many rows may wait in memory before they are appended.

    Returns:
        A report a view.

    Raises:
        UnknownFeature: no such view.
        StoreUnavailable: the store cannot be read, or another run was faster; run again later.
    """
    return {
        view.name: _compute_view(plant, view, store, clock, advance, rows_per_commit) for view in _chosen(plant, views)
    }


def samples_due(plant: Plant, store: Reader, views: Sequence[str] = ()) -> int:
    """About how many samples `compute` would read: for a progress bar."""
    due = 0
    for view in _chosen(plant, views):
        names = [tag.name for tag in view_tags(plant, view)]
        changes = store.changes(FeatureTable(plant, view).cursor())
        due += int(changes.filter(pl.col("tag").is_in(names))["rows"].sum())
    return due


def _chosen(plant: Plant, names: Sequence[str]) -> list[View]:
    for name in names:
        if name not in plant.views:
            raise UnknownFeature(f"there is no feature view {name!r}{near_misses(name, plant.views)}")
    return [plant.views[name] for name in names or sorted(plant.views)]


def _compute_view(
    plant: Plant,
    view: View,
    store: Reader,
    clock: Callable[[], datetime],
    advance: Callable[[int], None],
    rows_per_commit: int,
) -> ViewReport:
    table, report = FeatureTable(plant, view), ViewReport()
    changes = store.changes(table.cursor())
    if changes.is_empty():
        return report
    tags = view_tags(plant, view)
    before = {tag.name: table.newest_sample(tag.name) for tag in tags}
    # Asked after `changes`: no change is newer than it.
    newest = dict(store.latest([tag.name for tag in tags]).select("tag", "timestamp").iter_rows())
    now = clock()
    waiting = _Waiting(table, clock)
    for asset, span in _due_spans(store, view, tags, changes, before, newest):
        present = [tag for tag in tags if tag.asset == asset and tag.name in newest]
        pages = _pages(store, view, present, span, advance)
        for rows in asset_rows(pages, present, view, span, _ready(present, newest, now)):
            report.add(rows)
            waiting.add(asset, rows)
            if sum(map(len, waiting.frames)) >= rows_per_commit:
                report.feature_rows += waiting.commit()
    known = {name: min(instant, now) for name, instant in newest.items()}
    moved = {name: instant for name, instant in known.items() if instant != before[name]}
    report.feature_rows += waiting.commit(Progress(changes["ingested_at"][-1], moved))
    table.compact()
    return report


@dataclass
class _Waiting:
    """Rows that wait to be appended together, and the spans of which they are all rows."""

    table: FeatureTable
    clock: Callable[[], datetime]
    frames: list[pl.DataFrame] = field(default_factory=list)
    spans: list[tuple[str, datetime, datetime]] = field(default_factory=list)

    def add(self, asset: str, rows: Rows) -> None:
        """Rows of an asset."""
        self.frames.append(rows.frame.with_columns(asset=pl.lit(asset)))
        if rows.after < rows.until:
            self.spans.append((asset, from_micros(rows.after), from_micros(rows.until)))

    def commit(self, progress: Progress | None = None) -> int:
        """Appends them; returns how many were new."""
        rows = pl.concat([self.table.schema.to_frame(), *self.frames], how="diagonal")
        recomputed = joined_spans(pl.DataFrame(self.spans, SPANS, orient="row"))
        appended = self.table.append(rows, now=self.clock(), progress=progress, recomputed=recomputed)
        self.frames, self.spans = [], []
        return appended


def view_tags(plant: Plant, view: View) -> list[Tag]:
    """The tags that fill points of the view, on all assets of its class."""
    assets = set(plant.assets_of(view.asset_class))
    return [tag for tag in plant.tags.values() if tag.asset in assets and tag.point in view.points]


def _due_spans(
    store: Reader,
    view: View,
    tags: Sequence[Tag],
    changes: pl.DataFrame,
    before: Mapping[str, datetime | None],
    newest: Mapping[str, datetime],
) -> Iterator[tuple[str, Span]]:
    """Which windows to compute again: (asset, span), sorted and apart. `before`: known up to, at the last run."""
    reaches = [(tag.name, tag.asset, reach(view, tag), before[tag.name], newest.get(tag.name)) for tag in tags]
    spans = dirty_spans(changes, pl.DataFrame(reaches, TAG_REACH, orient="row"))
    spans = joined_spans(spans, within=_NEARBY)
    if view.align == "burst":
        bursts = [_bursts(store, view, [tag for tag in tags if tag.asset == span[0]], *span) for span in spans.rows()]
        spans = joined_spans(pl.DataFrame(bursts, spans.schema, orient="row"))
    for asset, after, until in spans.iter_rows():
        yield asset, Span(micros(after), micros(until), ready=micros(until))


def _bursts(
    store: Reader, view: View, tags: Sequence[Tag], asset: str, after: datetime, until: datetime
) -> tuple[str, datetime, datetime]:
    """The windows of all bursts that have samples less than a window before the span, or in it.

    Theirs end a window or more after the first of these samples; those of the bursts before end earlier.
    """
    gap = int(1.5e6 / min(tag.sample_rate for tag in tags if tag.sample_rate))
    names = [tag.name for tag in tags]
    length = microseconds(view.window)
    first, last = whole_bursts(store, names, micros(after) - length, micros(until), gap=gap, look=length)
    return asset, from_micros(first - 1 + length), from_micros(last + length)


def _pages(
    store: Reader, view: View, tags: Sequence[Tag], span: Span, advance: Callable[[int], None]
) -> Iterator[SampleBatch]:
    """The samples that the windows of the span can touch."""
    before = view.window if view.align == "burst" else max(reach(view, tag) for tag in tags)
    start, end = from_micros(span.after) - before, from_micros(span.until)
    for page in store.read([tag.name for tag in tags], start, end):
        advance(page.height)
        yield page


def _ready(tags: Sequence[Tag], newest: Mapping[str, datetime], now: datetime) -> dict[str, int]:
    """`Span.ready` of the tags of one asset.

    A waveform is known up to its newest sample and one period more. A slow tag may be silent because nothing changes;
    it is known up to the newest sample of any of the asset's tags in the view. Nothing is known of the future, whatever
    a device with a wrong clock says.
    """
    latest = max(micros(newest[tag.name]) for tag in tags)
    known = {
        tag.name: micros(newest[tag.name]) + ceil(1e6 / tag.sample_rate) if tag.sample_rate else latest for tag in tags
    }
    return {name: min(instant, micros(now)) for name, instant in known.items()}
