"""Checks that decide whether a window's features are meaningful: clipped, constant, or too extreme for float64."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from features.define.spec import FeatureGroup, FeatureSpec, Floats
from features.kernels.diagnosis import Diagnosis
from features.kernels.process import HeldWindows, maximum, minimum
from features.kernels.vibration import Waveforms
from features.windows.stretches import Booleans

_CLIPPED: Final = 0.01
"""Distance from the end of the range, as a share of full scale, below which a sample counts as clipped."""
_LARGEST: Final = 1e60
"""Largest magnitude of samples, and the reciprocal of the smallest: within, fourth powers, their sums, and squares
after the edge of a Hann window fit into float64."""


def waveform_checks(limits: tuple[float, float] | None) -> FeatureGroup:
    """Return the checks of a waveform.

    Their values [windows] are `clipped`, the share of samples near an end of the range, NaN without a range; and
    `constant` and `extreme`, 1 where they are true.

    Args:
        limits: low and high end of the sensor's range in its unit; None if unknown.
    """
    checks = (
        FeatureSpec("clipped", "", "see", "features.define.quality_columns", partial(clipped, limits=limits)),
        FeatureSpec("constant", "", "max v = min v", "features.define.reasons", is_constant),
        FeatureSpec("extreme", "", "see", "features.define.reasons", is_extreme),
    )
    return FeatureGroup("waveforms", checks)


def is_contradicted(batch: Diagnosis) -> Booleans:
    """Return [windows] whether the spectrum of each window contradicts the given speed."""
    return np.zeros(len(batch.shaft), np.bool_) if batch.contradicted is None else batch.contradicted


SPEED_CHECKS: Final = FeatureGroup(
    "diagnosis", (FeatureSpec("contradicted", "", "see", "features.kernels.turning", is_contradicted),)
)
"""The check of windows of which features use the shaft's speed."""


def clipped(batch: Waveforms, *, limits: tuple[float, float] | None) -> Floats:
    """Return [windows] the share of samples within 1 % of full scale of one of the limits.

    Args:
        batch: the windows.
        limits: low and high end of the range in the samples' unit; NaN is returned without them.
    """
    low, high = limits or (np.nan, np.nan)
    margin = _CLIPPED * max(abs(low), abs(high))
    share = np.full(len(batch.samples), 0.0 if limits else np.nan)
    near = (batch.highest >= high - margin) | (batch.lowest <= low + margin)
    if near.any():
        samples = batch.samples[near]
        share[near] = np.mean((samples >= high - margin) | (samples <= low + margin), axis=1)
    return share


def is_constant(batch: Waveforms) -> Booleans:
    """Return [windows] whether all samples of each window are equal."""
    return np.equal(batch.highest, batch.lowest)


def is_extreme(batch: Waveforms) -> Booleans:
    """Return [windows] whether samples are too large, or differ by too little, for float64 arithmetic."""
    return _is_extreme(batch.lowest, batch.highest)


def is_extreme_held(batch: HeldWindows) -> Booleans:
    """Return [windows] whether held values are too large, or differ by too little, for float64 arithmetic."""
    return _is_extreme(minimum(batch), maximum(batch))


def _is_extreme(lowest: Floats, highest: Floats) -> Booleans:
    too_large = np.maximum(-lowest, highest) > _LARGEST
    return too_large | ((highest > lowest) & (highest - lowest < 1 / _LARGEST))


HELD_CHECKS: Final = FeatureGroup(
    "holds", (FeatureSpec("extreme", "", "see", "features.define.reasons", is_extreme_held),)
)
"""The checks of windows of a process or state point."""
