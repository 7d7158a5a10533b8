"""What is known about the windows of a point, in addition to features; `features.define.quality_columns` reads it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.compute.rows.speed import Speeds
from features.define.reasons import Texts
from features.define.spec import Floats
from features.windows.tiling import Tiling, Windows


@dataclass(frozen=True)
class ProcessQuality:
    """The quality of the windows of a process or state point."""

    windows: Windows
    reason: Texts
    """[windows] codes of missing features, None where every feature has a value."""


@dataclass(frozen=True)
class WaveformQuality:
    """The quality of the windows of a vibration point."""

    windows: Windows
    reason: Texts
    """[windows] codes of missing features, None where every feature has a value."""
    tiling: Tiling
    clipped: Floats
    """[windows] share of samples near an end of the sensor's range, NaN where unknown."""
    speeds: Speeds

    @property
    def coverage(self) -> Floats:
        """[windows] n/N."""
        return self.windows.found / self.tiling.samples

    @property
    def sample_rate(self) -> Floats:
        """[windows] Hz."""
        return np.full(len(self.windows.end), self.tiling.sample_rate)

    @property
    def resolution(self) -> Floats:
        """[windows] df in Hz."""
        return self.sample_rate / self.tiling.samples
