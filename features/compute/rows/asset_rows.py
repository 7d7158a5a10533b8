"""Samples of one asset -> its feature rows, page by page, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from features.compute.rows.point_windows import PointWindows, WaveformWindows
from features.compute.rows.process_rows import slow_rows
from features.compute.rows.speed import Speeds, fixed_speeds, held_speeds, told_speeds
from features.compute.rows.waveform_rows import waveform_rows
from features.define.catalogue import point_groups, said
from features.windows.tiling import Integers, Span, Windows, microseconds
from historian.plant.connections import Tag
from historian.plant.feature_groups import point_kind
from historian.plant.plant import View
from historian.samples import SCHEMA, SampleBatch, empty_batch

_EVENT: Final = "event_timestamp"


class Rows(NamedTuple):
    """Feature rows of an asset."""

    frame: pl.DataFrame
    """event_timestamp, then the columns of the points."""
    leftovers: int
    """Ends of bursts too short for a window."""
    after: int
    """These are all rows of the asset with after < event_timestamp <= until; what is later may yet be pending."""
    until: int


def asset_rows(
    pages: Iterator[SampleBatch], tags: Sequence[Tag], view: View, span: Span, ready: Mapping[str, int]
) -> Iterator[Rows]:
    """The feature rows of one asset whose windows end in the span.

    Args:
        pages: the samples these windows can touch; each page covers a stretch of time after the one before.
        tags: those of the asset that fill `source_points` of the view.
        view: what to compute.
        span: after < end <= until.
        ready: `Span.ready` of each tag.
    """
    known: dict[str, pl.DataFrame] = {}
    speed_tag = next((tag for tag in tags if tag.point == view.speed), None)
    fixed = next((view.fixed_rpm.get(tag.asset) for tag in tags), None)
    for page, more in _with_more(pages):
        # Where more follows, windows that end within the page are complete; with the last page all are.
        until = min(span.until, _last(page)) if more else span.until
        for tag in tags:
            known[tag.name] = _joined_to(known.get(tag.name), _of_tag(page, tag))
        speeds_at: Callable[[Integers], Speeds] = partial(fixed_speeds, fixed)
        if speed_tag:
            held = held_speeds(known[speed_tag.name], speed_tag)
            speeds_at = partial(told_speeds, held, length=microseconds(view.window))
        points = []
        resume, leftovers = until, 0
        for tag in (tag for tag in tags if tag.point in view.points):
            its_span = span._replace(until=until, ready=ready[tag.name])
            with np.errstate(over="ignore", invalid="ignore"):  # such windows have the reason `magnitude`
                windows, frame = point_rows(known[tag.name], tag, view, its_span, speeds_at)
            known[tag.name] = _since(known[tag.name], windows.resume) if more else known[tag.name].clear()
            points.append(frame)
            resume, leftovers = min(resume, windows.resume), leftovers + windows.leftovers
        if speed_tag and more:
            known[speed_tag.name] = _since(known[speed_tag.name], resume - microseconds(speed_tag.max_staleness))
        yield Rows(_joined(points, view), leftovers, span.after, min(until, max(ready.values())))
        span = span._replace(after=max(span.after, until))


def _with_more(pages: Iterator[SampleBatch]) -> Iterator[tuple[SampleBatch, bool]]:
    """Each page, and whether another follows; an empty page if there is none at all."""
    page = next(pages, empty_batch())
    for following in pages:
        yield page, True
        page = following
    yield page, False


def point_rows(
    samples: pl.DataFrame, tag: Tag, view: View, span: Span, speeds_at: Callable[[Integers], Speeds]
) -> tuple[Windows, pl.DataFrame]:
    """The windows of one tag that end in the span, and their rows: event_timestamp, then the point's columns.

    Args:
        samples: of that tag, timestamp ascending; all from `Windows.resume` of the span before.
        tag: whose samples.
        view: what to compute.
        span: which windows.
        speeds_at: ends of windows -> their speeds.
    """
    found: PointWindows | WaveformWindows
    if tag.sample_rate is None:
        found, values = slow_rows(samples, tag, view, span)
    else:
        found, values = waveform_rows(samples, tag, view, span, speeds_at)
    columns = {spec: values[spec.name] for group in point_groups(view, tag).values() for spec in group.specs}
    columns |= {spec: spec.kernel(found) for specs in said(view, tag).values() for spec in specs}
    series = [_series(f"{tag.point}_{spec.name}", column, spec.dtype) for spec, column in columns.items()]
    event = pl.Series(_EVENT, found.windows.end).cast(SCHEMA["timestamp"])
    return found.windows, pl.DataFrame([event, *series])


def _series(name: str, values: npt.NDArray[Any], dtype: pl.DataType) -> pl.Series:
    """NaN and infinity are undefined: null. Polars reads texts from lists only, once there is a None among them."""
    if values.dtype.kind == "f":
        return pl.Series(name, np.where(np.isfinite(values), values, np.nan), dtype, nan_to_null=True)
    return pl.Series(name, values.tolist() if values.dtype.kind == "O" else values, dtype)


def _joined(points: Sequence[pl.DataFrame], view: View) -> pl.DataFrame:
    """The rows of the points side by side; a point without a window at another's end says so."""
    if len(points) == 1:
        frame = points[0]
    else:
        frame = pl.concat(points, how="align_full") if points else pl.DataFrame(schema={_EVENT: SCHEMA["timestamp"]})
    absent = pl.lit("absent", pl.String)
    return frame.with_columns(
        pl.when(pl.col(f"{name}_valid").is_null()).then(absent).otherwise(f"{name}_reason").alias(f"{name}_reason")
        if f"{name}_valid" in frame.columns
        else absent.alias(f"{name}_reason")
        for name in view.points
    )


def _needed(tag: Tag) -> list[str]:
    """The columns of a tag's samples that its features depend on."""
    is_state = point_kind(tag) in ("state", "digital")
    return ["timestamp", "value", "quality", *(["text"] if is_state else [])]


def _of_tag(page: SampleBatch, tag: Tag) -> pl.DataFrame:
    """What its features depend on. Often a page is one tag's, and then a query is saved."""
    ends = [*page[:1]["tag"], *page[-1:]["tag"]]  # the whole column would take 16 bytes a sample
    alone = set(ends) == {tag.name}
    return (page if alone else page.filter(tag=tag.name))[_needed(tag)]


def _joined_to(before: pl.DataFrame | None, samples: pl.DataFrame) -> pl.DataFrame:
    """In one piece if there were none before: of several pieces arrays would be copies."""
    return samples if before is None or before.is_empty() else pl.concat([before, samples])


def _since(samples: pl.DataFrame, instant: int) -> pl.DataFrame:
    return samples.filter(pl.col("timestamp").to_physical() >= instant)


def _last(page: pl.DataFrame) -> int:
    return int(page.select(pl.col("timestamp").to_physical().max()).item())
