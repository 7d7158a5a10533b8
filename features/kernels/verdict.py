"""A verdict from the envelope lines of some windows of a bearing: a named fault, or no confident one.

A window speaks for a line if it

* stands at least 5 floors high. On noise one line of the spectrum does so with a chance of 2^-25; a search looks at 3
  to 8 lines, and the floor itself is estimated from as few as 7 of them at cage speed. In 4,000 windows of Gaussian
  noise and 4,000 with random bursts the highest of races and rolling elements was 4.6, and 3 of the cage were above 5;
* modulates at least a quarter of the band's mean power (amplitude/ses_mean >= 0.25): an eighth of the power comes in
  bursts at this rhythm. A long window resolves lines far weaker than that in any bearing, for none is perfectly round;
  they are real, and no fault;
* is where it should be, within max(2 %, 1.5 df), and is not a multiple of the shaft's speed, within 1.5 df.

A fault is named if more than half of the windows, and at least three, speak for it: one long window of few strong
impacts can show any rhythm (CWRU record 185, taken as one window of 10 s, shows a cage line 5.5 floors high). Of
several the highest above its floor is named, with two exceptions. The cage gives way to any other, for outer races,
rolling elements and the load zone are modulated at its speed too. But impacts at the cage's speed have harmonics, of
which the n-th is BPFO: a line that is a multiple of the cage's, within 1.5 df, and not as deep, gives way to the cage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.define.spec import Floats
from features.kernels.bearing import FaultOrders
from features.kernels.lines import LOBE, near
from features.windows.tiling import Booleans

SNR: Final = 5.0
DEPTH: Final = 0.25
WINDOWS: Final = 3

FAULTS: Final = {"bpfo": "outer race", "bpfi": "inner race", "bsf2": "rolling element", "ftf": "cage"}
NONE: Final = "no confident fault"


@dataclass(frozen=True)
class Evidence:
    """What the windows show at one fault frequency; medians over the windows where it is defined."""

    fault: str
    expected: float
    """Hz."""
    found: float
    """Hz; of the windows that speak for it, or of all if none does."""
    snr: float
    """Line over floor."""
    depth: float
    """Line over the mean squared envelope, 0 to 2."""
    speaking: int
    """How many windows speak for it."""
    windows: int
    """In how many it is defined."""

    @property
    def confident(self) -> bool:
        """Whether more than half of the windows, and enough, speak for it."""
        return 2 * self.speaking > self.windows and self.speaking >= WINDOWS

    def __str__(self) -> str:
        """One sentence."""
        votes = f"{self.speaking} of {self.windows} windows speak for it ({WINDOWS} and more than half needed)"
        height = f"{self.snr:.1f} floors high ({SNR:g} needed)"
        line = f"line at {self.found:.2f} Hz (expected {self.expected:.2f})"
        return f"{self.fault}: {votes}; {line}, {height}, depth {self.depth:.2f} ({DEPTH:g} needed)"


@dataclass(frozen=True)
class Verdict:
    """The named fault, or `NONE`, and why."""

    fault: str
    strongest: Evidence | None
    """Of the named fault, else of the line highest above its floor; None where no line could be looked for."""
    why: str


def diagnose(features: Mapping[str, Floats], shaft: Floats, orders: FaultOrders, resolution: float) -> Verdict:
    """Return the verdict on some windows of one bearing.

    Args:
        features: `features.kernels.diagnosis.ENVELOPE` by name, each [windows].
        shaft: [windows] Hz, NaN where unknown.
        orders: of the bearing.
        resolution: df in Hz.
    """
    lines = (_evidence(features, line, shaft * getattr(orders, line), shaft, resolution) for line in FAULTS)
    seen = [evidence for evidence in lines if evidence.windows]
    if not seen:
        why = "no window has a line to look at: speed, bearing, ten periods and a band above 1 kHz are needed"
        return Verdict(NONE, None, why)
    named = _named([evidence for evidence in seen if evidence.confident], resolution)
    strongest = named or max(seen, key=_height)
    return Verdict(named.fault if named else NONE, strongest, str(strongest))


def _named(confident: Sequence[Evidence], resolution: float) -> Evidence | None:
    cage = [evidence for evidence in confident if evidence.fault == FAULTS["ftf"]]
    others = [evidence for evidence in confident if evidence not in cage]
    own = [line for line in others if not any(_is_harmonic(line, whole, resolution) for whole in cage)]
    return max(own or cage, key=_height, default=None)


def _is_harmonic(line: Evidence, whole: Evidence, resolution: float) -> bool:
    multiple = round(line.found / whole.found) * whole.found
    return line.depth < whole.depth and abs(line.found - multiple) <= LOBE * resolution


def _height(evidence: Evidence) -> float:
    return evidence.snr


def _evidence(
    features: Mapping[str, Floats], line: str, expected: Floats, shaft: Floats, resolution: float
) -> Evidence:
    snr, found = features[f"ses_{line}_snr"], features[f"ses_{line}_freq"]
    depth = features[f"ses_{line}_amp"] / features["ses_mean"]
    low, high = near(expected / resolution)
    in_place = (found >= low * resolution) & (found <= high * resolution)
    harmonic = np.maximum(np.round(found / shaft), 1) * shaft
    speaks = (snr >= SNR) & (depth >= DEPTH) & in_place & (np.abs(found - harmonic) > LOBE * resolution)
    defined = np.isfinite(snr)
    shown = speaks if speaks.any() else defined

    def middle(values: Floats, where: Booleans) -> float:
        return float(np.median(values[where])) if where.any() else float("nan")

    return Evidence(
        FAULTS[line],
        expected=middle(expected, shown),
        found=middle(found, shown),
        snr=middle(snr, defined),
        depth=middle(depth, defined),
        speaking=int(speaks.sum()),
        windows=int(defined.sum()),
    )
