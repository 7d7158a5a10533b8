"""What a row says of each point besides its features: whether they can be trusted, and why some are missing."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import numpy as np
import polars as pl

from features.reasons import Texts
from features.rows.speed import Speeds
from features.spec import FeatureSpec, Floats
from features.windows import Tiling, Windows


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


def _counts(valid: str) -> tuple[FeatureSpec[Any], ...]:
    """What every point has; `valid` says when its features can be computed."""
    return (
        FeatureSpec(
            "n",
            "",
            "samples found, of any quality",
            "features.windows",
            attrgetter("windows.found"),
            dtype=pl.Int64(),
            what="how many samples there were",
        ),
        FeatureSpec(
            "valid",
            "",
            valid,
            "features.windows",
            attrgetter("windows.valid"),
            dtype=pl.Boolean(),
            what="whether features could be computed",
        ),
        FeatureSpec(
            "reason",
            "",
            "codes, separated by spaces",
            "features.reasons",
            attrgetter("reason"),
            "every feature of the point is there",
            dtype=pl.String(),
            what="why features are missing",
        ),
    )


SLOW: Final = _counts("good_share >= 0.8")

WAVEFORM: Final[tuple[FeatureSpec[Any], ...]] = (
    *_counts("window complete, and all samples Good"),
    FeatureSpec(
        "coverage",
        "",
        "n/N, N = window · fs",
        "features.windows",
        attrgetter("coverage"),
        what="share of samples found",
    ),
    FeatureSpec(
        "clipped",
        "",
        "share of samples no further than 1 % of full scale from an end of the point's range",
        "range of the point",
        attrgetter("clipped"),
        "window not valid, or the point has no range",
        what="whether the sensor was overdriven",
    ),
    FeatureSpec(
        "df_hz", "Hz", "fs/N", "features.kernels.vibration", attrgetter("resolution"), what="distance of spectral lines"
    ),
    FeatureSpec(
        "fs_hz",
        "Hz",
        "sample_rate of the point",
        "features.kernels.vibration",
        attrgetter("sample_rate"),
        what="sample rate",
    ),
)

SPEED: Final[tuple[FeatureSpec[Any], ...]] = (
    FeatureSpec(
        "rpm",
        "rpm",
        "∫v dt/∫dt of the speed point, stepped; where no tag fills it, speed_rpm of the asset",
        "features.rows.speed",
        attrgetter("speeds.rpm"),
        "no speed, or it varies",
        what="the speed that was used",
    ),
    FeatureSpec(
        "rpm_source",
        "",
        "tag or asset",
        "features.rows.speed",
        attrgetter("speeds.sources"),
        "no speed, or it varies",
        dtype=pl.String(),
        what="where it came from",
    ),
)
"""Of the points of views that name a speed, or have a group that needs one."""
