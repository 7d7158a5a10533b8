"""Samples and waveforms of one asset -> its feature rows, page by page, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from features.compute.rows.kernel_values import Values, kernel_values
from features.compute.rows.missing import point_quality
from features.compute.rows.pages import Page, appended, of_tag, since
from features.compute.rows.point_windows import point_windows
from features.compute.rows.quality import ProcessQuality, WaveformQuality
from features.compute.rows.speed import ShaftSpeed
from features.define.point_plan import PointPlan
from features.define.view_plan import AssetPlan, PointTag
from features.windows.tiling import EndRange, Windows, microseconds
from historian.samples import SCHEMA

_EVENT: Final = "event_timestamp"


class Rows(NamedTuple):
    """Feature rows of an asset."""

    frame: pl.DataFrame
    """event_timestamp, then the columns of the points."""
    partial_windows: int
    """How many bursts end in samples too few for a window."""
    after: int
    """These are all rows of the asset with after < event_timestamp <= until; what is later may yet be pending."""
    until: int


def asset_rows(pages: Iterator[Page], plan: AssetPlan, wanted: EndRange, ready: Mapping[str, int]) -> Iterator[Rows]:
    """Compute the feature rows of one asset.

    Args:
        pages: what the windows can use; see `in_step`.
        plan: what to compute; every tag of it has samples.
        wanted: which windows.
        ready: `EndRange.ready` of each tag.
    """
    held: dict[str, pl.DataFrame] = {}
    for page in pages:
        # Where more follows, windows that end within the page are complete; with the last page all are.
        more = page.until is not None
        until = wanted.until if page.until is None else min(wanted.until, page.until)
        for each in plan.sample_tags:
            rows = of_tag(page, each) if each.since is None else since(of_tag(page, each), each.since)
            held[each.name] = appended(held[each.name], rows) if each.name in held else rows
        speed, frames, resume, partial_windows = _shaft_speed(plan, held), [], until, 0
        for tag in plan.tags:
            its_range = wanted._replace(until=until, ready=ready[tag.name])
            with np.errstate(over="ignore", invalid="ignore"):  # such windows have the reason `magnitude`
                windows, frame = point_rows(held[tag.name], tag, its_range, speed)
            held[tag.name] = since(held[tag.name], windows.resume) if more else held[tag.name].clear()
            frames.append(frame)
            resume, partial_windows = min(resume, windows.resume), partial_windows + windows.partial_windows
        if plan.speed and more:
            held[plan.speed.name] = since(held[plan.speed.name], resume - plan.speed.max_staleness)
        yield Rows(_joined(frames, plan.points), partial_windows, wanted.after, min(until, max(ready.values())))
        wanted = wanted._replace(after=max(wanted.after, until))


def _shaft_speed(plan: AssetPlan, held: Mapping[str, pl.DataFrame]) -> ShaftSpeed:
    length, speed = microseconds(plan.window), plan.speed
    if speed is None:
        return ShaftSpeed(None, "", 0, plan.fixed_rpm, length)
    return ShaftSpeed(held[speed.name], speed.unit, speed.max_staleness, None, length)


def point_rows(held: pl.DataFrame, tag: PointTag, wanted: EndRange, speed: ShaftSpeed) -> tuple[Windows, pl.DataFrame]:
    """Compute the rows of one point: samples or stretches -> windows -> kernels -> columns.

    Args:
        held: of the tag, as `of_tag` returns them, timestamp ascending; all from `Windows.resume` of the range before.
        tag: the tag that fills the point.
        wanted: which windows.
        speed: where the shaft's speed comes from.

    Returns:
        The windows, and event_timestamp with the point's columns.
    """
    found = point_windows(held, tag, wanted, speed)
    computed = kernel_values(found.batches, (*tag.plan.groups.values(), *tag.plan.checks))
    values, quality = point_quality(found, tag, computed)
    return quality.windows, _frame(tag.plan, values, quality)


def _frame(plan: PointPlan, values: Values, quality: ProcessQuality | WaveformQuality) -> pl.DataFrame:
    arrays = [values[spec.name] for spec in plan.features]
    arrays += [spec.kernel(quality) for specs in plan.quality.values() for spec in specs]
    series = [_series(each.name, array, each.dtype) for each, array in zip(plan.columns, arrays, strict=True)]
    return pl.DataFrame([pl.Series(_EVENT, quality.windows.end).cast(SCHEMA["timestamp"]), *series])


def _series(name: str, values: npt.NDArray[Any], dtype: pl.DataType) -> pl.Series:
    """NaN and infinity are undefined: null. Polars reads texts from lists only, once there is a None among them."""
    if values.dtype.kind == "f":
        return pl.Series(name, np.where(np.isfinite(values), values, np.nan), dtype, nan_to_null=True)
    return pl.Series(name, values.tolist() if values.dtype.kind == "O" else values, dtype)


def _joined(frames: Sequence[pl.DataFrame], points: Sequence[str]) -> pl.DataFrame:
    """Join the rows of the points by their ends; a point that has no window at another's end is `absent` there."""
    if len(frames) == 1:
        frame = frames[0]
    else:
        frame = pl.concat(frames, how="align_full") if frames else pl.DataFrame(schema={_EVENT: SCHEMA["timestamp"]})
    absent = pl.lit("absent", pl.String)
    return frame.with_columns(
        pl.when(pl.col(f"{name}_valid").is_null()).then(absent).otherwise(f"{name}_reason").alias(f"{name}_reason")
        if f"{name}_valid" in frame.columns
        else absent.alias(f"{name}_reason")
        for name in points
    )
