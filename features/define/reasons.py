"""Why features are missing: the closed set of codes in the `<point>_reason` columns.

A row's codes are separated by spaces, in the order below; null where every feature of the point has a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

Reason = Literal[
    "absent",
    "changed",
    "gap",
    "length",
    "timing",
    "rate",
    "bad_quality",
    "stale",
    "no_speed",
    "speed_varies",
    "speed_contradicted",
    "geometry",
    "unit",
    "constant",
    "resolution",
    "magnitude",
    "other",
]
Flags = Mapping[Reason, npt.NDArray[np.bool_]]
"""Code -> [windows] where it holds."""
Texts = npt.NDArray[np.object_]
"""[windows] of str or None."""

REASONS: Final[Mapping[Reason, str]] = {
    "absent": "the point has no window that ends here: no tag, no samples, or not all of them yet",
    "changed": "a fact that features use changes in the window: the point's tag, bearing, range, states or zones, or "
    "the asset's speed_rpm or speed tag",
    "gap": "samples are missing in the window",
    "length": "the samples have no gap but do not fill the window: a burst is shorter than it, or the device's rate is "
    "not the configured one",
    "timing": "the timestamps of the samples do not fit the configured rate: they scatter by about half a period, "
    "samples were lost or doubled among the jitter, or the device has another rate",
    "rate": "a stretch in the window has a sample rate that differs by more than 0.2 % from that of the point",
    "bad_quality": "samples in the window are not Good, or are not a finite number",
    "stale": "in part of the window no sample was younger than max_staleness",
    "no_speed": "for less than 80 % of the window the speed is Good, fresh and above zero, or there is none at all",
    "speed_varies": "the speed varies by more than 2 % of its mean in the window",
    "speed_contradicted": "the speed tag's speed and the asset's fixed one differ by more than 2 %; or the spectrum "
    "has multiples of a speed more than 2 % off the given one, and hardly any of the given one",
    "geometry": "no bearing is given, or its balls do not fit its pitch circle",
    "unit": "velocity cannot be had from the point's unit, which is neither g nor m/s²",
    "constant": "all samples of the window are equal",
    "resolution": "the window is too short or its sample rate too low for the frequency, or for the band",
    "magnitude": "values lie beyond ±1e60, or differ, but by less than 1e-60: float64 cannot hold their fourth powers",
    "other": "a feature of another package has no value here; `penstock features explain` says when",
}
