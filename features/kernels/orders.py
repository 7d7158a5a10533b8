"""Vibration at multiples of the shaft's speed: imbalance (1x), misalignment (2x, 3x), looseness (0.5x).

Conventions are in `features.kernels.vibration`. The amplitude of a line is that of the energy in the Hann window's main
lobe, sqrt(2·Σ P_k) over five lines. A tone between two lines lowers the highest line by up to 15 %, but not this sum.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from features.define.spec import Floats
from features.kernels.lines import at, near, strongest
from features.kernels.spectrum import Spectra

PERIODS: Final = 5
"""Smallest number of turns, and of periods of the line, in a window; with fewer, orders mix with each other and DC."""

_LOBE: Final = np.arange(-2, 3)


def order_amplitudes(power: Spectra, shaft: Floats, orders: Floats) -> Floats:
    """Return the peak amplitudes of vibration at multiples of the shaft's speed.

    They are sqrt(2·ΣP_k) over k0 - 2 <= k <= k0 + 2, with k0 the largest line in order·shaft ± max(2 %, 1.5 df).

    Args:
        power: power spectra of the windows.
        shaft: [windows] speed of the shaft in Hz, NaN where unknown.
        orders: [orders] multiples of the shaft's speed.

    Returns:
        [windows, orders] amplitudes in the unit of the samples, NaN where undefined.
    """
    turns = shaft[:, None] / power.resolution
    place = turns * orders
    known = (turns >= PERIODS) & (place >= PERIODS)
    known &= (near(place)[1] + 2) * power.resolution <= 0.45 * power.sample_rate
    if not known.any():
        return np.full(place.shape, np.nan)
    # `lines` starts at df, not at DC; an unknown speed reads the first lines, and the result is dropped
    largest = strongest(power.lines, *near(np.where(known, place, PERIODS) - 1))
    energy = at(power.lines, largest[..., None] + _LOBE).sum(axis=2)
    return np.where(known, np.sqrt(2 * energy), np.nan)
