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
multiple of the cage's line and less deep. No fault is named if the line of another one, which does not qualify (because
it lies on a multiple of the shaft's speed, for example), is as deep as needed and higher above its floor: a plain
envelope spectrum would show that one.

The thresholds were chosen on the 13 records of CWRU and MFPT in examples/bearing-diagnosis. On the other 110 records of
CWRU that have a signal, 57 faults are named as their folders say, 3 are not, and 50 records have no verdict. Every
fault named, those three included, is the one whose line is highest in a plain squared-envelope spectrum of the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.define.spec import Floats
from features.kernels.bearing import FaultOrders
from features.kernels.lines import LOBE, near
from features.windows.stretches import Booleans, Integers

SNR: Final = 5.0
DEPTH: Final = 0.25
WINDOWS: Final = 3

FAULTS: Final = {"bpfo": "outer race", "bpfi": "inner race", "bsf2": "rolling element", "ftf": "cage"}
NONE: Final = "no confident fault"
_CAGE: Final = list(FAULTS).index("ftf")


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

    def __str__(self) -> str:
        """Return the evidence as one sentence."""
        votes = f"{self.speaking} of {self.windows} windows speak for it ({WINDOWS} and more than half needed)"
        height = f"{self.snr:.1f} floors high ({SNR:g} needed)"
        line = f"line at {self.found:.2f} Hz (expected {self.expected:.2f})"
        return f"{self.fault}: {votes}; {line}, {height}, depth {self.depth:.2f} ({DEPTH:g} needed)"


@dataclass(frozen=True)
class Lines:
    """The lines at the fault frequencies in groups of windows; each group has a verdict."""

    snr: Floats
    """[groups, windows, faults] signal-to-noise ratio, NaN where the line is undefined; faults as in `FAULTS`."""
    depth: Floats
    """[groups, windows, faults] amplitude over the mean squared envelope."""
    found: Floats
    """[groups, windows, faults] frequency in Hz."""
    expected: Floats
    """[groups, windows, faults] in Hz."""
    shaft: Floats
    """[groups, windows] speed of the shaft in Hz."""
    resolution: float
    """Distance of spectral lines df, in Hz."""


@dataclass(frozen=True)
class Votes:
    """What the windows of each group say of each fault: the fields of `Evidence`, and the named fault."""

    expected: Floats
    """[groups, faults]"""
    found: Floats
    """[groups, faults]"""
    snr: Floats
    """[groups, faults]"""
    depth: Floats
    """[groups, faults]"""
    speaking: Integers
    """[groups, faults]"""
    windows: Integers
    """[groups, faults]"""
    resolution: float
    """Distance of spectral lines df, in Hz."""

    @property
    def defined(self) -> Booleans:
        """[groups] whether any line is defined."""
        defined: Booleans = self.windows.max(axis=1) > 0
        return defined

    @property
    def visible(self) -> Floats:
        """[groups] share of races and rolling elements whose line is defined in any window."""
        visible: Floats = (np.delete(self.windows, _CAGE, axis=1) > 0).mean(axis=1)
        return visible

    @property
    def share(self) -> Floats:
        """[groups, faults] share of the windows that support the fault; 0 where its line is defined in none."""
        return self.speaking / np.maximum(self.windows, 1)

    @property
    def named(self) -> Integers:
        """[groups] the place of the named fault in `FAULTS`, -1 where none is named."""
        confident = (2 * self.speaking > self.windows) & (self.speaking >= WINDOWS)
        cage, found = confident[:, [_CAGE]], self.found
        with np.errstate(invalid="ignore"):  # of undefined lines, which are not confident
            multiple = np.round(found / found[:, [_CAGE]]) * found[:, [_CAGE]]
            harmonic = (self.depth < self.depth[:, [_CAGE]]) & (np.abs(found - multiple) <= LOBE * self.resolution)
            higher = (self.snr > self.snr.max(axis=1, keepdims=True, initial=0, where=confident)) & (
                self.depth >= DEPTH
            )
        higher[:, _CAGE] = False
        own = confident & ~(cage & harmonic) & ~higher.any(axis=1, keepdims=True)
        own[:, _CAGE] = cage[:, 0] & ~np.delete(own, _CAGE, axis=1).any(axis=1)
        highest: Integers = np.where(own, self.snr, -np.inf).argmax(axis=1)
        return np.where(own.any(axis=1), highest, -1)

    @property
    def strongest(self) -> Integers:
        """[groups] the place of the named fault, or else of the line highest above its floor."""
        named = self.named
        return np.where(named >= 0, named, np.nan_to_num(self.snr, nan=-np.inf).argmax(axis=1))

    def evidence(self, group: int, fault: int) -> Evidence:
        """Return what the windows of one group say of one fault."""
        at = (group, fault)
        return Evidence(
            list(FAULTS.values())[fault],
            expected=float(self.expected[at]),
            found=float(self.found[at]),
            snr=float(self.snr[at]),
            depth=float(self.depth[at]),
            speaking=int(self.speaking[at]),
            windows=int(self.windows[at]),
        )


@dataclass(frozen=True)
class Verdict:
    """The named fault, or `NONE`, with the reason."""

    fault: str
    strongest: Evidence | None
    """Evidence for the named fault, or for the line highest above its floor; None if no line is defined."""
    why: str
    evidence: tuple[Evidence, ...] = ()
    """Of every fault whose line is defined in a window."""


NOTHING: Final = "no window has a line to look at: speed, bearing, ten periods and a band above 1 kHz are needed"


def diagnose(features: Mapping[str, Floats], shaft: Floats, orders: FaultOrders, resolution: float) -> Verdict:
    """Return the verdict on some windows of one bearing.

    Args:
        features: values [windows] of `features.kernels.diagnosis.ENVELOPE`, by name.
        shaft: [windows] speed of the shaft in Hz, NaN where unknown.
        orders: the bearing's fault frequencies.
        resolution: distance of spectral lines df, in Hz.
    """
    snr, amplitude, found = (
        np.stack([features[f"ses_{line}_{part}"] for line in FAULTS], axis=1)[None] for part in ("snr", "amp", "freq")
    )
    depth = amplitude / features["ses_mean"][None, :, None]
    expected = shaft[None, :, None] * np.array([getattr(orders, line) for line in FAULTS])
    votes = vote(Lines(snr, depth, found, expected, shaft[None], resolution))
    if not votes.defined[0]:
        return Verdict(NONE, None, NOTHING)
    every = tuple(votes.evidence(0, fault) for fault in range(len(FAULTS)) if votes.windows[0, fault])
    strongest = votes.evidence(0, int(votes.strongest[0]))
    return Verdict(strongest.fault if votes.named[0] >= 0 else NONE, strongest, str(strongest), every)


def vote(lines: Lines) -> Votes:
    """Return what the windows of each group say of each fault, by the rules of this module."""
    defined = np.isfinite(lines.snr)
    with np.errstate(invalid="ignore"):  # of undefined lines
        speaks = (lines.snr >= SNR) & (lines.depth >= DEPTH) & _in_place(lines)
    shown = np.where(speaks.any(axis=1, keepdims=True), speaks, defined)
    return Votes(
        expected=_median(lines.expected, shown),
        found=_median(lines.found, shown),
        snr=_median(lines.snr, defined),
        depth=_median(lines.depth, defined),
        speaking=speaks.sum(axis=1),
        windows=defined.sum(axis=1),
        resolution=lines.resolution,
    )


def _in_place(lines: Lines) -> Booleans:
    """Return where a line lies near its expected frequency, and not on a harmonic of the shaft's speed."""
    low, high = near(lines.expected / lines.resolution)
    shaft = lines.shaft[..., None]
    harmonic = np.maximum(np.round(lines.found / shaft), 1) * shaft
    off_harmonic = np.abs(lines.found - harmonic) > LOBE * lines.resolution
    return (lines.found >= low * lines.resolution) & (lines.found <= high * lines.resolution) & off_harmonic


def _median(values: Floats, where: Booleans) -> Floats:
    """Return [groups, faults] the median of values [groups, windows, faults] over the windows in `where`, or NaN."""
    count = where.sum(axis=1, keepdims=True)
    ordered = np.sort(np.where(where, values, np.inf), axis=1)
    low, high = (np.take_along_axis(ordered, np.maximum(place, 0), axis=1) for place in ((count - 1) // 2, count // 2))
    median: Floats = np.where(count > 0, (low + high) / 2, np.nan)[:, 0]
    return median
