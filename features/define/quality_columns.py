"""The quality columns a row has for each point: whether its features can be trusted, and why some are missing.

Their kernels read the attributes of `features.compute.rows.quality`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

import polars as pl

from features.define.spec import FeatureSpec


def _counts(valid: str) -> tuple[FeatureSpec[Any], ...]:
    """Return the columns every point has; `valid` is the definition of a valid window."""
    return (
        FeatureSpec(
            "n",
            "",
            "samples found, of any quality",
            "features.windows.tiling",
            attrgetter("windows.found"),
            dtype=pl.Int64(),
            what="how many samples there were",
        ),
        FeatureSpec(
            "valid",
            "",
            valid,
            "features.windows.tiling",
            attrgetter("windows.valid"),
            dtype=pl.Boolean(),
            what="whether features could be computed",
        ),
        FeatureSpec(
            "reason",
            "",
            "codes, separated by spaces",
            "features.define.reasons",
            attrgetter("reason"),
            "every feature of the point has a value",
            dtype=pl.String(),
            what="why features are missing",
        ),
    )


PROCESS: Final = _counts("good_share >= 0.8")

WAVEFORM: Final[tuple[FeatureSpec[Any], ...]] = (
    *_counts("window complete, and all samples Good"),
    FeatureSpec(
        "coverage",
        "",
        "n/N, N = window · fs",
        "features.windows.tiling",
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
        "features.compute.rows.speed",
        attrgetter("speeds.rpm"),
        "no speed, or it varies",
        what="the speed that was used",
    ),
    FeatureSpec(
        "rpm_source",
        "",
        "tag or asset",
        "features.compute.rows.speed",
        attrgetter("speeds.sources"),
        "no speed, or it varies",
        dtype=pl.String(),
        what="where it came from",
    ),
)
"""For the points of views that name a speed, or have a group that needs one."""
