"""Tags, signals and views of one asset, and the rows they give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.compute.rows.asset_rows import Wanted, asset_rows
from features.compute.rows.pages import Page, in_step
from features.define.view_plan import AssetPlan, view_plan
from features.windows.tiling import EndRange
from historian.plant.connections import Tag
from historian.plant.model import Asset, AssetClass, Bearing, Point, Site
from historian.plant.plant import Plant, View
from historian.samples import SampleBatch, normalise
from historian.waveforms.packing import pack

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
ONE = timedelta(seconds=1)
ALWAYS = EndRange(0, START * 2, START * 2)
CWRU = Bearing(balls=9, ball_diameter=7.94, pitch_diameter=39.04)
TURNING = ("orders", "envelope", "kurtogram", "verdict")


def tag(point: str, kind: Any = "vibration", *, asset: str = "p1", **more: Any) -> Tag:
    """The tag that fills a point of an asset."""
    usual = {
        "unit": "g",
        "sample_rate": 12_000 if kind == "vibration" else None,
        "range": None,
        "max_staleness": 5 * ONE,
    }
    return Tag(
        name=f"{asset}.{point}",
        asset=asset,
        point=point,
        kind=kind,
        address="",
        scale=1.0,
        offset=0.0,
        options=Site(name="x"),
        **{**usual, **more},
    )


def view(*points: str, features: tuple[str, ...] = (), length: int = 1, **more: Any) -> View:
    """Windows of a second, or of as many as given."""
    kind: Any = more.pop("kind", "vibration")
    return View("pump_v", "pump", points, kind, length * ONE, length * ONE, "epoch", None, features, **more)


def samples(of: Tag, times: npt.ArrayLike, values: Any, *, text: Any = None, quality: Any = 0) -> SampleBatch:
    """Samples at microseconds after START."""
    stamps = pl.Series(np.asarray(times, np.int64) + START).cast(pl.Datetime("us", "UTC"))
    words = pl.Series(text or [None] * len(stamps), dtype=pl.String)
    columns = {"tag": of.name, "timestamp": stamps, "value": pl.Series(values, dtype=pl.Float64), "text": words}
    return normalise(pl.DataFrame(columns).with_columns(quality=quality)).batch


def waveform(of: Tag, seconds: float = 1, *, seed: int = 0) -> SampleBatch:
    """Noise from START."""
    rate = of.sample_rate or 0
    count = round(seconds * rate)
    noise = np.random.default_rng(seed).normal(size=count)
    return samples(of, np.floor(np.arange(count) * SECOND / rate), noise)


def dial(of: Tag, values: Sequence[float], *, every: float = 0.25) -> SampleBatch:
    """A process tag's values, from START."""
    return samples(of, np.arange(len(values)) * every * SECOND, values)


def plan_of(of: View, tags: tuple[Tag, ...], facts: Mapping[str, Any] | None = None) -> AssetPlan:
    """The plan of a view for asset p1, whose class has the points of these tags; other points have none.

    `facts` are keys of the asset in the plant file, such as speed_rpm.
    """
    points = {name: Point(kind="vibration", sample_rate=12_000) for name in of.points}
    for each in tags:
        shared = {key: getattr(each, key) for key in ("kind", "unit", "sample_rate", "range", "max_staleness")}
        points[each.point] = Point(**shared, states=dict(each.states))
    plant = Plant(
        "site",
        Path(),
        Path(),
        "",
        {"pump": AssetClass(points=points)},
        {"p1": Asset.model_validate({"class": "pump", **(facts or {})})},
        {},
        {},
        {each.name: each for each in tags},
        {of.name: of},
    )
    (found,) = view_plan(plant, of).assets
    return found


def rows_of_pages(
    of: View,
    pages: Iterable[SampleBatch],
    tags: tuple[Tag, ...],
    wanted: EndRange = ALWAYS,
    facts: Mapping[str, Any] | None = None,
) -> pl.DataFrame:
    """All rows, read page by page; the samples of vibration points are packed into stretches."""
    rates = {each.name: each.sample_rate for each in tags if each.sample_rate}
    vibration, given = pl.col("tag").is_in(list(rates)), list(pages)
    slow = (SampleBatch(part) for page in given if len(part := page.filter(~vibration)))
    fast = (pack(part, rates).batch for page in given if len(part := page.filter(vibration)))
    return rows_of(of, in_step(slow, fast), tags, wanted, facts)


def rows_of(
    of: View,
    pages: Iterator[Page],
    tags: tuple[Tag, ...],
    wanted: EndRange = ALWAYS,
    facts: Mapping[str, Any] | None = None,
) -> pl.DataFrame:
    """All rows of what is read."""
    asset = Wanted(plan_of(of, tags, facts), wanted, {each.name: wanted.ready for each in tags})
    parts = list(asset_rows(pages, [asset]))
    return pl.concat([part.frame for part in parts], how="diagonal_relaxed")


def rows(
    of: View,
    *batches: SampleBatch,
    tags: tuple[Tag, ...],
    wanted: EndRange = ALWAYS,
    facts: Mapping[str, Any] | None = None,
) -> pl.DataFrame:
    """All rows, read as one page."""
    return rows_of_pages(of, [normalise(pl.concat(batches)).batch], tags, wanted, facts)


def only(frame: pl.DataFrame) -> dict[str, Any]:
    """The only row."""
    assert frame.height == 1
    return frame.row(0, named=True)


SPEED = tag("speed", "speed", unit="rpm", max_staleness=ONE)
