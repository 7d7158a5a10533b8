"""The shaft's speed in a window, and where it is from: a tag, by the same hold as process tags, or the plant file.

A speed is used where it is known for 80 % of the window and above zero, and where it does not vary by more than 2 % of
its mean: beyond that orders and bearing lines smear over several lines of the spectrum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from features.compute.rows.page_arrays import TagSamples
from features.define.reasons import Flags, Texts
from features.define.spec import Floats
from features.kernels.angles import SpeedCourse
from features.kernels.process import LEAST_GOOD_SHARE, Holds, held_windows, holds
from features.windows.stretches import Integers
from historian.stated import RPM_PER, SPEED_TOLERANCE

MOST_VARIATION: Final = 0.02


@dataclass(frozen=True)
class Speeds:
    """The speed of each window, or why there is none."""

    rpm: Floats
    """[windows] time-weighted mean, NaN where there is no usable speed."""
    source: Texts
    """[windows] tag or asset."""
    faults: Flags
    """[windows] each: why there is no usable speed."""
    mean: Floats
    """[windows] mean in rpm, also where it varies; NaN where there is none."""

    @property
    def shaft(self) -> Floats:
        """[windows] Hz."""
        return self.rpm / 60

    @property
    def sources(self) -> Texts:
        """[windows] the source where there is a speed, else None."""
        sources = self.source.copy()
        sources[np.isnan(self.rpm)] = None
        return sources


@dataclass(frozen=True)
class ShaftSpeed:
    """Where the speed of an asset's shaft comes from: the samples of its speed tag, or the plant file."""

    samples: TagSamples | None
    """Of the speed tag; None without one."""
    unit: str
    """Of these samples."""
    staleness: int
    """For how many microseconds a sample holds at most."""
    fixed_rpm: float | None
    """Used without a speed tag; with one, what the tag is compared with."""
    length: int
    """Of a window, in microseconds."""

    @cached_property
    def _held(self) -> Holds | None:
        return None if self.samples is None else held_speeds(self.samples, self.unit, staleness=self.staleness)

    @property
    def course(self) -> SpeedCourse | None:
        """The measured speeds in the order of time; None without a speed tag."""
        return None if self._held is None else SpeedCourse(self._held.start, self._held.values)

    def at(self, end: Integers) -> Speeds:
        """Return the speed in windows; `end` is [windows] their ends in microseconds since the epoch."""
        if self._held is None:
            return fixed_speeds(self.fixed_rpm, end)
        return measured_speeds(self._held, end, length=self.length, fixed_rpm=self.fixed_rpm)


def fixed_speeds(rpm: float | None, end: Integers) -> Speeds:
    """Return the speeds of windows by what the plant file gives.

    Args:
        rpm: the asset's fixed speed; None if the plant file gives none.
        end: [windows] their ends.
    """
    given, never = np.full(len(end), np.nan if rpm is None else rpm), np.zeros(len(end), np.bool_)
    faults: Flags = {"no_speed": np.isnan(given), "speed_varies": never, "speed_contradicted": never}
    return Speeds(given, np.full(len(end), "asset", np.object_), faults, given)


def held_speeds(samples: TagSamples, unit: str, *, staleness: int) -> Holds:
    """Return when which speed held, in rpm.

    Args:
        samples: of the speed tag.
        unit: of the values, rpm or Hz; any other gives no speed.
        staleness: for how many microseconds a sample holds at most.
    """
    rpm = samples.values * RPM_PER.get(unit, np.nan)
    return holds(samples.times, rpm, samples.good & ~np.isnan(rpm), staleness=staleness)


def measured_speeds(held: Holds, end: Integers, *, length: int, fixed_rpm: float | None = None) -> Speeds:
    """Return the speeds of windows by what a speed tag held.

    Where the plant file gives a fixed speed as well and it is more than 2 % off, nobody knows which one is right:
    neither is used.

    Args:
        held: in rpm.
        end: [windows] their ends, in microseconds since the epoch.
        length: of each, in microseconds.
        fixed_rpm: the asset's fixed speed; None if the plant file gives none.
    """
    everywhere = np.ones(len(end), np.bool_)
    batch = held_windows(held, end, everywhere, length=length)
    unknown = (batch.good_share < LEAST_GOOD_SHARE) | ~(batch.mean > 0)
    varies = ~unknown & (batch.variation > MOST_VARIATION * batch.mean)
    fixed = np.nan if fixed_rpm is None else fixed_rpm
    contradicted = ~unknown & ~varies & (np.abs(batch.mean - fixed) > SPEED_TOLERANCE * fixed)
    rpm = np.where(unknown | varies | contradicted, np.nan, batch.mean)
    source, known = np.full(len(end), "tag", np.object_), np.where(unknown, np.nan, batch.mean)
    faults: Flags = {"no_speed": unknown, "speed_varies": varies, "speed_contradicted": contradicted}
    return Speeds(rpm, source, faults, known)


def joined_speeds(parts: Sequence[Speeds]) -> Speeds:
    """Return the speeds of several machines, one machine after the other; there must be one."""
    if len(parts) == 1:
        return parts[0]
    faults: Flags = {code: np.concatenate([part.faults[code] for part in parts]) for code in parts[0].faults}
    rpm, source, mean = (
        np.concatenate(each) for each in zip(*((part.rpm, part.source, part.mean) for part in parts), strict=True)
    )
    return Speeds(rpm, source, faults, mean)
