"""The shaft's speed in a window, and where it is from: a tag, by the same stepped hold as slow tags, or the plant file.

A speed is used where it is known for 80 % of the window and above zero, and where it does not vary by more than 2 % of
its mean: beyond that orders and bearing lines smear over several lines of the spectrum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from features.define.reasons import Flags, Texts
from features.define.spec import Floats
from features.kernels.slow import LEAST_GOOD_SHARE, HeldWindows, Holds, held_windows, holds
from features.windows.tiling import Integers, microseconds
from historian.plant.connections import Tag
from historian.quality import is_good

PER_UNIT: Final = {"rpm": 1.0, "Hz": 60.0}
"""rpm per unit of a speed point."""
MOST_VARIATION: Final = 0.02


@dataclass(frozen=True)
class Speeds:
    """The speed of each window, and why it has none."""

    rpm: Floats
    """[windows] time-weighted mean, NaN where there is none to be used."""
    source: str
    """tag or asset."""
    faults: Flags

    @property
    def shaft(self) -> Floats:
        """[windows] Hz."""
        return self.rpm / 60

    @property
    def sources(self) -> Texts:
        """[windows] the source where there is a speed, else None."""
        names = np.array([self.source, None], np.object_)
        return names[np.isnan(self.rpm).astype(np.int64)]


def fixed_speeds(rpm: float | None, end: Integers) -> Speeds:
    """The speed the plant file gives an asset, if any, for the windows that end at `end`."""
    given = np.full(len(end), np.nan if rpm is None else rpm)
    return Speeds(given, "asset", {"no_speed": np.isnan(given), "speed_varies": np.zeros(len(end), np.bool_)})


def held_speeds(samples: pl.DataFrame, tag: Tag) -> Holds:
    """When which speed in rpm held, by the samples (timestamp, value, quality) of the tag that tells it."""
    rpm = samples["value"].to_numpy() * PER_UNIT.get(tag.unit, np.nan)
    usable = samples.select(is_good(pl.col("quality"))).to_series().to_numpy() & ~np.isnan(rpm)
    times = samples["timestamp"].to_physical().to_numpy()
    return holds(times, rpm, usable, staleness=microseconds(tag.max_staleness))


def told_speeds(held: Holds, end: Integers, *, length: int) -> Speeds:
    """The speeds of the windows [end - length, end), in microseconds, by what a tag held, in rpm."""
    everywhere = np.ones(len(end), np.bool_)
    batch = held_windows(held, end, everywhere, length=length)
    unknown = (batch.good_share < LEAST_GOOD_SHARE) | ~(batch.mean > 0)
    varies = ~unknown & (_variation(batch) > MOST_VARIATION * batch.mean)
    rpm = np.where(unknown | varies, np.nan, batch.mean)
    return Speeds(rpm, "tag", {"no_speed": unknown, "speed_varies": varies})


def _variation(batch: HeldWindows) -> Floats:
    return batch.each(np.maximum, batch.values) - batch.each(np.minimum, batch.values)
