"""A verdict from the envelope lines of some windows of a bearing: a named fault, or no confident one.

A window supports a line that

* is at least 5 floors high. A line of noise is with a probability of 2^-25; a search covers 3 to 8 lines, and the floor
  itself is estimated from as few as 7 lines at cage speed. In 4,000 windows of Gaussian noise and 4,000 with random
  bursts, the highest line of races and rolling elements was 4.6, and 3 lines of the cage were above 5;
* modulates at least a quarter of the band's mean power (amplitude/ses_mean >= 0.25), so that an eighth of the power is
  in bursts at this frequency. A long window resolves far weaker lines in any bearing, because none is perfectly round;
  they are real but not a fault;
* is within max(2 %, 1.5 df) of its expected frequency, and not within 1.5 df of a multiple of the shaft's speed.

A fault is named if more than half of the windows, and at least three, support it: one long window with few strong
impacts can show any frequency (CWRU record 185 as one window of 10 s has a cage line 5.5 floors high). If several
faults qualify, the line highest above its floor is named, with two exceptions. Any other fault takes precedence over
the cage, because outer races, rolling elements and the load zone are modulated at its speed too. But impacts at the
cage's speed have harmonics, and the n-th is BPFO: the cage takes precedence over a line that is within 1.5 df of a
multiple of the cage's line and less deep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.define.spec import Floats
from features.kernels.bearing import FaultOrders
from features.kernels.lines import LOBE, near
from features.windows.stretches import Booleans

SNR: Final = 5.0
DEPTH: Final = 0.25
WINDOWS: Final = 3

FAULTS: Final = {"bpfo": "outer race", "bpfi": "inner race", "bsf2": "rolling element", "ftf": "cage"}
NONE: Final = "no confident fault"


@dataclass(frozen=True)
class Evidence:
    """The line at one fault frequency: medians over the windows in which it is defined."""

    fault: str
    expected: float
    """Expected frequency in Hz."""
    found: float
    """Frequency found, in Hz, in the windows that support the fault, or in all if none does."""
    snr: float
    """Signal-to-noise ratio: line divided by floor."""
    depth: float
    """Depth of modulation: line divided by the mean squared envelope, 0 to 2."""
    speaking: int
    """Number of windows that support the fault."""
    windows: int
    """Number of windows in which the line is defined."""

    @property
    def confident(self) -> bool:
        """Whether more than half of the windows, and enough of them, support the fault."""
        return 2 * self.speaking > self.windows and self.speaking >= WINDOWS

    def __str__(self) -> str:
        """Return the evidence as one sentence."""
        votes = f"{self.speaking} of {self.windows} windows speak for it ({WINDOWS} and more than half needed)"
        height = f"{self.snr:.1f} floors high ({SNR:g} needed)"
        line = f"line at {self.found:.2f} Hz (expected {self.expected:.2f})"
        return f"{self.fault}: {votes}; {line}, {height}, depth {self.depth:.2f} ({DEPTH:g} needed)"


@dataclass(frozen=True)
class Verdict:
    """The named fault, or `NONE`, with the reason."""

    fault: str
    strongest: Evidence | None
    """Evidence for the named fault, or for the line highest above its floor; None if no line is defined."""
    why: str


def diagnose(features: Mapping[str, Floats], shaft: Floats, orders: FaultOrders, resolution: float) -> Verdict:
    """Return the verdict on some windows of one bearing.

    Args:
        features: values [windows] of `features.kernels.diagnosis.ENVELOPE`, by name.
        shaft: [windows] speed of the shaft in Hz, NaN where unknown.
        orders: the bearing's fault frequencies.
        resolution: distance of spectral lines df, in Hz.
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
    speaks = (snr >= SNR) & (depth >= DEPTH) & _in_place(found, expected, shaft, resolution)
    defined = np.isfinite(snr)
    shown = speaks if speaks.any() else defined
    return Evidence(
        FAULTS[line],
        expected=_median(expected, shown),
        found=_median(found, shown),
        snr=_median(snr, defined),
        depth=_median(depth, defined),
        speaking=int(speaks.sum()),
        windows=int(defined.sum()),
    )


def _in_place(found: Floats, expected: Floats, shaft: Floats, resolution: float) -> Booleans:
    """Return where a line lies near its expected frequency, and not on a harmonic of the shaft's speed."""
    low, high = near(expected / resolution)
    harmonic = np.maximum(np.round(found / shaft), 1) * shaft
    off_harmonic = np.abs(found - harmonic) > LOBE * resolution
    return (found >= low * resolution) & (found <= high * resolution) & off_harmonic


def _median(values: Floats, where: Booleans) -> float:
    return float(np.median(values[where])) if where.any() else float("nan")
