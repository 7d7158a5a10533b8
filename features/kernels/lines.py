"""Finds lines near expected frequencies in the spectra of many windows at once, with frequencies of their own.

Spectra are [windows, lines] from line 0 = DC at a common distance df. Places are [windows, places] in units of lines,
that is frequency/df. The caller makes sure that all searched lines lie within the spectra.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from features.define.spec import Floats, ratio

Places = npt.NDArray[np.int64]

SLIP: Final = 0.02
"""Relative half-width of a search: rolling bearings slip by 1 to 2 %."""

LOBE: Final = 1.5
"""Smallest half-width of a search, in lines."""

_AROUND: Final = np.array([-1, 0, 1])


def near(place: Floats) -> tuple[Floats, Floats]:
    """Return the lower and upper end of the search for a line expected at `place`: ± max(2 %, 1.5 lines)."""
    distance = np.maximum(SLIP * place, LOBE)
    return place - distance, place + distance


def strongest(spectra: Floats, low: Floats, high: Floats) -> Places:
    """Return [windows, places] the number of the largest line with low <= line <= high."""
    around, first, _ = _between(spectra, low, high, fill=-np.inf)
    largest: Places = first + around.argmax(axis=2)
    return largest


def floor(spectra: Floats, low: Floats, high: Floats) -> Floats:
    """Return [windows, places] the median of the lines with low <= line <= high."""
    around, _, count = _between(spectra, low, high, fill=np.inf)
    around.sort(axis=2)
    window, place = np.ogrid[: count.shape[0], : count.shape[1]]
    median: Floats = (around[window, place, (count - 1) // 2] + around[window, place, count // 2]) / 2
    return median


def at(spectra: Floats, place: Places) -> Floats:
    """Return the lines at `place`, which may have more axes after the windows'."""
    window = np.arange(len(spectra)).reshape(-1, *[1] * (place.ndim - 1))
    values: Floats = spectra[window, place]
    return values


def tone(spectra: Floats, place: Places) -> tuple[Floats, Floats]:
    """Return the amplitude of the line at `place`, and the interpolated position of its Hann-windowed tone, in lines.

    With a the ratio of the larger neighbour to the line, the tone is (2a - 1)/(a + 1) lines towards that neighbour. If
    the line is the skirt of a larger one up to 2 lines away outside the search, the tone is at the larger one. Source:
    Grandke,
    "Interpolation algorithms for discrete Fourier transforms of weighted signals", IEEE Trans. IM 32 (1983) 350.
    """
    left, line, right = np.moveaxis(at(spectra, place[..., None] + _AROUND), 2, 0)
    neighbour = np.maximum(left, right)
    # (2a - 1)/(a + 1) expanded by the line; in noise the neighbours can be lower than those of any tone
    away = ratio(np.maximum(2 * neighbour - line, 0), neighbour + line)
    exact: Floats = np.where(right > left, place + away, place - away)
    return line, exact


def _between(spectra: Floats, low: Floats, high: Floats, *, fill: float) -> tuple[Floats, Places, Places]:
    """Return [windows, places, most] the lines with low <= line <= high, padded; [windows, places] first and count."""
    first = np.ceil(low).astype(np.int64)
    count = np.floor(high).astype(np.int64) - first + 1
    offset = np.arange(count.max(initial=1))
    lines = at(spectra, np.minimum(first[..., None] + offset, spectra.shape[1] - 1))
    lines[offset >= count[..., None]] = fill
    return lines, first, count
