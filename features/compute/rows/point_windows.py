"""The windows of one point, with what is known of each besides its features; `define.quality_columns` reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.compute.rows.speed import Speeds
from features.define.reasons import Texts
from features.define.spec import Floats
from features.windows.tiling import Tiling, Windows


@dataclass(frozen=True)
class PointWindows:
    """The windows of a slow point."""

    windows: Windows
    reason: Texts
    """[windows]"""


@dataclass(frozen=True)
class WaveformWindows:
    """The windows of a vibration point."""

    windows: Windows
    reason: Texts
    """[windows]"""
    tiling: Tiling
    clipped: Floats
    """[windows] NaN where unknown."""
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
