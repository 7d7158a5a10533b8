"""Samples and waveforms of assets -> their feature rows, page by page, in bounded memory.

What is computed together is of one view; assets share pages, batches of windows and the frame of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from features.compute.rows.kernel_values import kernel_values
from features.compute.rows.missing import point_quality
from features.compute.rows.page_arrays import Held, PageArrays
from features.compute.rows.pages import Page
from features.compute.rows.point_columns import PointColumns, joined_columns
from features.compute.rows.point_values import waveform_point_values
from features.compute.rows.point_windows import Due, HeldPoint, WaveformPoint, point_windows
from features.compute.rows.speed import ShaftSpeed
from features.define.point_plan import PointPlan
from features.define.view_plan import AssetPlan
from features.windows.tiling import EndRange, microseconds


class Wanted(NamedTuple):
    """Which windows of an asset are computed."""

    plan: AssetPlan
    """What to compute; every tag of it has samples."""
    ends: EndRange
    ready: Mapping[str, int]
    """`EndRange.ready` of each tag."""

    def until(self, known: int | None) -> EndRange:
        """Return the windows for which everything before an instant is enough; None if everything is known."""
        return self.ends if known is None else self.ends._replace(until=min(self.ends.until, known))

    def after(self, known: int) -> Wanted:
        """Return what is left then."""
        return self._replace(ends=self.ends._replace(after=max(self.ends.after, self.until(known).until)))


class Rows(NamedTuple):
    """Feature rows of assets."""

    frame: pl.DataFrame
    """asset, event_timestamp, then the columns of the points; sorted by the first two."""
    windows: int
    """How many windows were found, of all points together."""
    invalid: int
    """How many of them were incomplete, or had samples that are not Good."""
    partial_windows: int
    """How many bursts end in samples too few for a window."""


def asset_rows(pages: Iterator[Page], wanted: Sequence[Wanted]) -> Iterator[Rows]:
    """Compute the feature rows of assets of one view.

    Args:
        pages: what the windows can use; see `in_step`.
        wanted: the assets, sorted by name; they have the same point plans, see `grouped`.
    """
    held = Held({}, {})
    begins = {tag.name: tag.since for each in wanted for tag in each.plan.sample_tags if tag.since is not None}
    for page in pages:
        # Where more follows, windows that end within the page are complete; with the last page all are.
        arrays = PageArrays(page, held, begins)
        with np.errstate(over="ignore", invalid="ignore"):  # such windows have the reason `magnitude`
            points = _points(arrays, wanted, page.until)
            yield _rows(arrays, points, wanted)
        if page.until is not None:
            held = arrays.since(_needed(points, wanted, page.until))
            wanted = [each.after(page.until) for each in wanted]


def _points(arrays: PageArrays, wanted: Sequence[Wanted], known: int | None) -> list[HeldPoint | WaveformPoint]:
    """Find the windows of every point that a tag of any asset fills."""
    due: dict[str, list[Due]] = {}
    plans: dict[str, PointPlan] = {}
    for number, each in enumerate(wanted):
        speed, ends = _shaft_speed(arrays, each.plan), each.until(known)
        for tag in each.plan.tags:
            due.setdefault(tag.plan.name, []).append(Due(number, tag, ends._replace(ready=each.ready[tag.name]), speed))
            plans.setdefault(tag.plan.name, tag.plan)
    return [point_windows(arrays, plans[name], tags) for name, tags in due.items()]


def _shaft_speed(arrays: PageArrays, plan: AssetPlan) -> ShaftSpeed:
    length, speed = microseconds(plan.window), plan.speed
    if speed is None:
        return ShaftSpeed(None, "", 0, plan.fixed_rpm, length)
    return ShaftSpeed(arrays.samples(speed.name), speed.unit, speed.max_staleness, plan.fixed_rpm, length)


def _rows(arrays: PageArrays, points: Sequence[HeldPoint | WaveformPoint], wanted: Sequence[Wanted]) -> Rows:
    """Compute the columns of points and join them."""
    values = waveform_point_values(arrays, [each for each in points if isinstance(each, WaveformPoint)])
    for each in points:
        if isinstance(each, HeldPoint):
            values[each.plan.name] = kernel_values(each.batches, (*each.plan.groups.values(), *each.plan.checks))
    columns = {}
    for each in points:
        known, quality = point_quality(each, values[each.plan.name])
        columns[each.plan.name] = PointColumns(each.plan, each.asset, known, quality)
    names = [each.plan.asset for each in wanted]
    return Rows(
        joined_columns(columns, wanted[0].plan.points, names),
        sum(len(each.asset) for each in points),
        sum(int(np.count_nonzero(~each.windows.valid)) for each in points),
        sum(each.windows.partial_windows for each in points),
    )


def _needed(points: Sequence[HeldPoint | WaveformPoint], wanted: Sequence[Wanted], known: int) -> dict[str, int]:
    """Return from which instant on later windows need the samples of each tag."""
    needed = {tag: instant for point in points for tag, instant in point.resume}
    for each in wanted:
        if speed := each.plan.speed:
            first = min([needed[tag.name] for tag in each.plan.tags], default=each.until(known).until)
            needed[speed.name] = first - speed.max_staleness
    return needed
