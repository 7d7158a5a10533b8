"""A plant of two pumps, their signals, and the rows that the job computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from features.compute.run import compute
from features.tables.feature_table import FeatureTable
from historian.plant.connections import Tag
from historian.plant.model import Asset, AssetClass, Site
from historian.plant.plant import Plant, View
from historian.samples import SampleBatch, normalise
from historian.stores.memory import MemoryStore
from historian.stores.protocols import Sink
from historian.times import micros
from tests.features import stretches

RATE = 1000
SECOND = timedelta(seconds=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 2, 1, tzinfo=UTC)
POINTS = {
    "de_h": {"kind": "vibration", "unit": "g", "sample_rate": RATE},
    "nde_h": {"kind": "vibration", "unit": "g", "sample_rate": RATE},
    "oil_temp": {"kind": "process", "unit": "degC", "max_staleness": "5s"},
    "pressure": {"kind": "process", "unit": "bar", "max_staleness": "5s"},
}
EPOCH = View("pump_epoch", "pump", ("de_h", "nde_h"), "vibration", SECOND, SECOND / 2, "epoch", None)
BURST = View("pump_burst", "pump", ("de_h", "nde_h"), "vibration", SECOND / 2, SECOND / 2, "burst", None)
PROCESS = View("pump_process", "pump", ("oil_temp", "pressure"), "process", 10 * SECOND, 2 * SECOND, "epoch", None)


def plant(root: Path, *views: View) -> Plant:
    """Two pumps with two vibration points and two process points."""
    pump = AssetClass.model_validate({"points": POINTS})
    tags = [
        Tag(
            name=f"{asset}.{name}",
            asset=asset,
            point=name,
            kind=point.kind,
            unit=point.unit,
            sample_rate=point.sample_rate,
            range=None,
            max_staleness=point.max_staleness,
            address="",
            scale=1.0,
            offset=0.0,
            options=Site(name="none"),
        )
        for asset in ("p1", "p2")
        for name, point in pump.points.items()
    ]
    return Plant(
        site="works",
        root=root,
        state=root / "state",
        store_url="",
        classes={"pump": pump},
        assets={name: Asset.model_validate({"class": "pump"}) for name in ("p1", "p2")},
        sources={},
        archives={},
        tags={tag.name: tag for tag in tags},
        views={view.name: view for view in views},
    )


def signal(
    tag: str, start: float, seconds: float, *, period: float = 1 / RATE, seed: int = 0, quality: int = 0
) -> SampleBatch:
    """Samples of a tag from `start` seconds after START; the same instant always has the same value."""
    count = round(seconds / period)
    times = micros(START) + np.round((start + np.arange(count) * period) * 1e6).astype(np.int64)
    values = np.sin(times % 86_400_000_000 * 0.7 + seed) * 5 + 20
    return batch(tag, times.tolist(), values.tolist(), quality=quality)


def batch(tag: str, times: Sequence[int], values: Sequence[float | None], *, quality: int = 0) -> SampleBatch:
    """Samples at microseconds since the epoch."""
    stamps = pl.Series(times, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
    columns = {"tag": tag, "timestamp": stamps, "value": pl.Series(values, dtype=pl.Float64)}
    return normalise(pl.DataFrame(columns).with_columns(text=None, quality=pl.lit(quality))).batch


def write(store: Sink, rows: SampleBatch, *, now: datetime, source: str = "test") -> None:
    """Store rows; those of vibration points as stretches."""
    rates = {tag: float(RATE) for tag in rows["tag"].unique() if tag.endswith("de_h")}
    stretches.write(store, rows, rates, now=now, source=source)


def at(now: datetime) -> Callable[[], datetime]:
    """A clock that stands still."""
    return lambda: now


def stored(site: Plant, view: View) -> pl.DataFrame:
    """All rows of the view's table, sorted."""
    return FeatureTable(site, view).scan().sort("asset", "event_timestamp", "created_timestamp").collect()


def newest(site: Plant, view: View) -> pl.DataFrame:
    """The newest row of each window, without its created timestamp."""
    rows = stored(site, view).unique(["asset", "event_timestamp"], keep="last", maintain_order=True)
    return rows.drop("created_timestamp")


def at_once(batches: Sequence[SampleBatch], view: View) -> pl.DataFrame:
    """The newest rows if all samples are stored before the first run."""
    with TemporaryDirectory() as root:
        store, site = MemoryStore(), plant(Path(root), view)
        for each in batches:
            write(store, each, now=NOW)
        compute(site, store, at(NOW))
        return newest(site, view)
