"""The frequencies of shaft and bearing in a stretch of a waveform, by the rules of features, or why they are unknown.

A speed is usable as in `features.compute.rows.speed`, a bearing as in `features.kernels.bearing`: where a feature would
be missing because of them, a picture marks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from features.compute.rows.page_arrays import tag_samples
from features.compute.rows.speed import Speeds, fixed_speeds, held_speeds, measured_speeds
from features.define.reasons import REASONS
from features.kernels.bearing import fault_orders, misfits
from features.kernels.process import LEAST_GOOD_SHARE, Holds, held_windows
from features.plots.figures import Mark
from features.plots.snapshots import Snapshot
from features.windows.stretches import Integers
from features.windows.tiling import microseconds
from historian.plant.connections import Tag
from historian.plant.model import Bearing
from historian.plant.plant import Plant
from historian.samples import empty_batch
from historian.stores.protocols import Reader
from historian.times import micros

FAULTS: Final = {"bpfo": "BPFO", "bpfi": "BPFI", "bsf2": "2xBSF", "ftf": "FTF"}
"""Field of `FaultOrders` -> its usual name."""


@dataclass(frozen=True)
class Turning:
    """The speed and the bearing of the machine in a stretch of a waveform, as far as they are known."""

    shaft: float
    """Mean speed in Hz; NaN where unknown or not steady."""
    bearing: Bearing | None
    speed_lack: str
    """Why there is no speed; empty if there is one."""
    speed_source: str = ""
    """Where the speed is from: `tag`, `asset` (the plant file), or empty if there is none."""

    @property
    def marks(self) -> list[Mark]:
        """The shaft and the bearing's faults, as far as they are known."""
        if np.isnan(self.shaft):
            return []
        shaft = Mark("shaft", self.shaft)
        if self.bearing is None or misfits(self.bearing):
            return [shaft]
        orders = fault_orders(self.bearing)
        return [shaft, *(Mark(name, getattr(orders, field) * self.shaft) for field, name in FAULTS.items())]

    @property
    def lacks(self) -> str:
        """Why marks are missing, in words; empty if none is."""
        bearing = ["no bearing is given"] if self.bearing is None else misfits(self.bearing)
        speed = [f"no marks: {self.speed_lack}"] if self.speed_lack else []
        return "; ".join([*speed, *(f"no bearing marks: {each}" for each in bearing)])


def turning(store: Reader, plant: Plant, tag: Tag, found: Snapshot) -> Turning:
    """Return what is known of the machine in a stretch of a vibration tag's waveform, by the facts of its end."""
    end, length = np.array([micros(found.end)]), micros(found.end) - micros(found.start)
    instant = found.end - timedelta(microseconds=1)
    source, bearing = _speed_tag(plant, tag, instant), (plant.tag_at(tag.asset, tag.point, instant) or tag).bearing
    fixed_rpm = plant.asset_at(tag.asset, instant).speed_rpm
    if source is None:
        speeds = fixed_speeds(fixed_rpm, end)
        return Turning(float(speeds.shaft[0]), bearing, _lack(speeds), speeds.sources[0] or "")
    pages = list(store.read([source.name], found.start - source.max_staleness, found.end))
    samples = tag_samples(pl.concat(pages) if pages else empty_batch())
    held = held_speeds(samples, source.unit, staleness=microseconds(source.max_staleness))
    speeds = measured_speeds(held, end, length=length, fixed_rpm=fixed_rpm)
    standstill = f"the shaft stands still, by {source.name}" if _is_zero(held, end, length) else ""
    return Turning(float(speeds.shaft[0]), bearing, standstill or _lack(speeds), speeds.sources[0] or "")


def _lack(speeds: Speeds) -> str:
    return "; ".join(REASONS[code] for code, holds in speeds.faults.items() if holds[0])


def _is_zero(held: Holds, end: Integers, length: int) -> bool:
    """Return whether the speed is known for enough of the window, and is zero."""
    window = held_windows(held, end, np.ones(1, np.bool_), length=length)
    return bool(window.good_share[0] >= LEAST_GOOD_SHARE and window.mean[0] == 0)


def _speed_tag(plant: Plant, tag: Tag, instant: datetime) -> Tag | None:
    """Return the speed tag of then that the tag's views name, or where none names one, of the only speed point."""
    asset_class = plant.assets[tag.asset].asset_class
    views = [view for view in plant.views.values() if view.asset_class == asset_class and tag.point in view.points]
    named = [view.speed for view in views if view.speed]
    known = [name for name, point in plant.classes[asset_class].points.items() if point.kind == "speed"]
    if not named and len(known) != 1:
        return None
    return plant.tag_at(tag.asset, (named or known)[0], instant)
