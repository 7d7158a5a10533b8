"""Vibration at multiples of the shaft's speed: imbalance (1x), misalignment (2x, 3x), looseness (0.5x).

Conventions in `features.kernels.vibration`. The amplitude of a line is taken from the energy in the Hann window's main
lobe, sqrt(2·Σ P_k) over five lines, which a tone between lines does not lower as it lowers the highest line (-15 %).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from features.define.spec import Floats
from features.kernels.lines import at, near, strongest
from features.kernels.spectrum import Spectra

PERIODS: Final = 5
"""A window shorter than five turns, or five periods of the line, mixes the orders with each other and with DC."""

_LOBE: Final = np.arange(-2, 3)


def order_amplitudes(power: Spectra, shaft: Floats, orders: Floats) -> Floats:
    """[windows, orders] sqrt(2·ΣP_k), k0 - 2 <= k <= k0 + 2, k0 the largest line in order·shaft ± max(2 %, 1.5 df).

    Args:
        power: of the windows; peak amplitude comes out in their unit.
        shaft: [windows] Hz, NaN where unknown.
        orders: [orders] in multiples of the shaft's speed.
    """
    turns = shaft[:, None] / power.resolution
    place = turns * orders
    known = (turns >= PERIODS) & (place >= PERIODS)
    known &= (near(place)[1] + 2) * power.resolution <= 0.45 * power.sample_rate
    if not known.any():
        return np.full(place.shape, np.nan)
    # `lines` starts at df, not at DC; what is not known looks at the first lines and is dropped
    largest = strongest(power.lines, *near(np.where(known, place, PERIODS) - 1))
    energy = at(power.lines, largest[..., None] + _LOBE).sum(axis=2)
    return np.where(known, np.sqrt(2 * energy), np.nan)
