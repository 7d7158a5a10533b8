"""Checks of a window that decide whether its features mean anything: clipped, constant, or too extreme for float64."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from features.define.spec import FeatureGroup, FeatureSpec, Floats
from features.kernels.process import HeldWindows, maximum, minimum
from features.kernels.vibration import Waveforms
from features.windows.tiling import Booleans

_CLIPPED: Final = 0.01
"""Share of full scale."""
_LARGEST: Final = 1e60
"""Fourth powers of samples, their sums and the squares of what is left of them at the edge of a Hann window fit into
float64 up to here, and down to its reciprocal."""


def waveform_checks(limits: tuple[float, float] | None) -> FeatureGroup:
    """Return the checks of a waveform whose sensor has this range, low and high in its unit; None if unknown.

    Values [windows]: `clipped`, the share of samples near an end of the range, NaN without a range; `constant` and
    `extreme`, 1 where they hold.
    """
    checks = (
        FeatureSpec("clipped", "", "see", "features.define.quality_columns", partial(clipped, limits=limits)),
        FeatureSpec("constant", "", "max v = min v", "features.define.reasons", is_constant),
        FeatureSpec("extreme", "", "see", "features.define.reasons", is_extreme),
    )
    return FeatureGroup("waveforms", checks)


def clipped(batch: Waveforms, *, limits: tuple[float, float] | None) -> Floats:
    """Return [windows] the share of samples that are no further than 1 % of full scale from one of the limits."""
    low, high = limits or (np.nan, np.nan)
    margin = _CLIPPED * max(abs(low), abs(high))
    share = np.full(len(batch.samples), 0.0 if limits else np.nan)
    near = (batch.highest >= high - margin) | (batch.lowest <= low + margin)
    if near.any():
        samples = batch.samples[near]
        share[near] = np.mean((samples >= high - margin) | (samples <= low + margin), axis=1)
    return share


def is_constant(batch: Waveforms) -> Booleans:
    """Return [windows] whether all samples of each are equal."""
    return np.equal(batch.highest, batch.lowest)


def is_extreme(batch: Waveforms) -> Booleans:
    """Return [windows] whether the samples of each are too large, or differ by too little, to be computed with."""
    return _is_extreme(batch.lowest, batch.highest)


def is_extreme_held(batch: HeldWindows) -> Booleans:
    """Return [windows] whether the values that held in each are too large, or differ by too little."""
    return _is_extreme(minimum(batch), maximum(batch))


def _is_extreme(lowest: Floats, highest: Floats) -> Booleans:
    too_large = np.maximum(-lowest, highest) > _LARGEST
    return too_large | ((highest > lowest) & (highest - lowest < 1 / _LARGEST))


HELD_CHECKS: Final = FeatureGroup(
    "holds", (FeatureSpec("extreme", "", "see", "features.define.reasons", is_extreme_held),)
)
"""The checks of a process or state point."""
