"""Feature groups that cannot be used, each for a different reason."""

from __future__ import annotations

from typing import Final

import numpy as np

from features.define.spec import FeatureGroup, FeatureSpec, Floats
from features.kernels.vibration import Waveforms

NUMBERS: Final = [1, 2, 3]


def nothing(_: Waveforms) -> Floats:
    """Returns no value per window."""
    return np.zeros(0)


copied = FeatureGroup(
    "waveforms", tuple(FeatureSpec(name, "", "0", "our own", nothing) for name in ("rms_ac", "constant"))
)
shapeless = FeatureGroup("waveforms", (FeatureSpec("shapeless", "", "0", "our own", nothing),))


_MISSPELT = FeatureSpec("Sixth-Moment", "", " ", "our own", nothing, reasons=("speed_varies",), version=0)


def __getattr__(name: str) -> FeatureGroup:
    """Returns a group that is created on access and then refused."""
    if name == "misspelt":
        return FeatureGroup("waveforms", (_MISSPELT,) * 2)
    raise AttributeError(f"there is no {name}")
