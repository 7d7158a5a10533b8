"""Feature groups in a separate package, found by entry point like a third party's."""

from __future__ import annotations

import numpy as np

from features.define.spec import FeatureGroup, FeatureSpec, Floats
from features.kernels.diagnosis import Diagnosis
from features.kernels.process import HeldWindows
from features.kernels.vibration import Waveforms


def sixth_moment(batch: Waveforms) -> Floats:
    """m6/m2³; NaN where the mean is above 100."""
    moment = np.mean(batch.centred**6, axis=1) / np.mean(batch.centred**2, axis=1) ** 3
    return np.where(batch.mean > 100, np.nan, moment)


def turns(batch: Diagnosis) -> Floats:
    """f_r N/fs."""
    return batch.shaft * batch.waveforms.size / batch.waveforms.sample_rate


def pieces(batch: HeldWindows) -> Floats:
    """The number of held values."""
    return batch.pieces.astype(np.float64)


impacts = FeatureGroup(
    "waveforms",
    (FeatureSpec("sixth_moment", "", "m6/m2³", "our own", sixth_moment, "mean > 100", reasons=("other",)),),
    "What the works listens to.",
)
per_turn = FeatureGroup(
    "diagnosis",
    (FeatureSpec("turns", "", "f_r N/fs", "our own", turns, "no steady speed", reasons=("no_speed", "speed_varies")),),
)
dials = FeatureGroup("holds", (FeatureSpec("pieces", "", "Σ1", "our own", pieces),))
