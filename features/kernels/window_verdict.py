"""A verdict for each window: the window is divided into parts, and these vote as windows do in a diagnosis.

A verdict must not depend on which windows happen to be computed together, so it cannot look at those before. A window
of up to four seconds is divided into three equal parts, a longer one into parts of a second or a little more. In a
part a line needs ten periods, so that a third of a second is enough for races and rolling elements of a shaft at
1,500 rpm, but not for its cage. The rules and their thresholds are those of `features.kernels.verdict`:

* `fault` is `outer race`, `inner race`, `rolling element`, `cage`, or `no confident fault`;
* `severity` is the share of the demodulated band's power that is in impacts at the fault's frequency, half the depth of
  modulation, from 0 to 1; 0 if no fault is named. It grows with the damage, until the impacts merge;
* `confidence` is the share of parts that support the named fault, less half the share that supports the strongest
  rival; if no fault is named, the share of parts that do not support the fault with most support, times the share of
  races and rolling elements whose line is defined, times the length of a part in seconds, at most 1;
* `why` is the evidence as a sentence.

`penstock diagnose` has more windows to go by, and names what one window cannot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.define.spec import Floats
from features.kernels.bearing import FaultOrders
from features.kernels.envelope import envelopes, fault_lines
from features.kernels.verdict import FAULTS, NONE, Lines, Votes, vote

Texts = npt.NDArray[np.object_]
"""[windows] of str or None."""

_PARTS: Final = 3
"""Smallest number of parts; as many windows a verdict needs."""
_SECONDS: Final = 1.0
"""Length of a part of a long window, in seconds; longer parts resolve lines that are no fault."""


@dataclass(frozen=True)
class WindowVerdicts:
    """The verdicts of a batch of windows; nothing is said of a window in which no line is defined."""

    fault: Texts
    severity: Floats
    """[windows] NaN where nothing is said."""
    confidence: Floats
    """[windows] NaN where nothing is said."""
    why: Texts


def parts_of(samples: int, sample_rate: float) -> int:
    """Return the number of parts that windows of so many samples are divided into."""
    return max(_PARTS, int(samples / sample_rate / _SECONDS))


def window_verdicts(centred: Floats, sample_rate: float, shaft: Floats, orders: FaultOrders | None) -> WindowVerdicts:
    """Return the verdicts of windows.

    Args:
        centred: [windows, N] samples without their mean.
        sample_rate: Hz.
        shaft: [windows] speed of the shaft in Hz, NaN where unknown.
        orders: the bearing's fault frequencies; None if unknown.
    """
    windows, samples = centred.shape
    parts = parts_of(samples, sample_rate)
    size = samples // parts
    if orders is None or size < 2 or not np.isfinite(shaft).any():
        nothing = np.full(windows, None, np.object_)
        return WindowVerdicts(nothing, np.full(windows, np.nan), np.full(windows, np.nan), nothing)
    pieces = np.ascontiguousarray(centred[:, samples - parts * size :]).reshape(-1, size)
    return _verdicts(vote(_lines(pieces, sample_rate, np.repeat(shaft, parts), orders, parts)))


def _lines(pieces: Floats, sample_rate: float, shaft: Floats, orders: FaultOrders, parts: int) -> Lines:
    """Return the lines of pieces [windows · parts, n] of windows."""
    spectra = envelopes(np.fft.rfft(pieces, axis=1), pieces.shape[1], sample_rate, shaft)
    expected = shaft[:, None] * np.array([getattr(orders, line) for line in FAULTS])
    found = fault_lines(spectra, expected)
    with np.errstate(divide="ignore", invalid="ignore"):  # where there is no power, the lines are undefined
        depth = found.amplitude / spectra.mean[:, None]
    shape = (-1, parts, len(FAULTS))
    return Lines(
        snr=found.snr.reshape(shape),
        depth=depth.reshape(shape),
        found=found.frequency.reshape(shape),
        expected=expected.reshape(shape),
        shaft=shaft.reshape(-1, parts),
        resolution=spectra.resolution,
    )


def _verdicts(votes: Votes) -> WindowVerdicts:
    windows, named, strongest = np.arange(len(votes.windows)), votes.named, votes.strongest
    share, most = votes.share[windows, strongest], votes.share.max(axis=1)
    rivals, seconds = votes.share.copy(), min(1 / votes.resolution / _SECONDS, 1.0)
    rivals[windows, strongest] = 0
    confidence = np.where(named >= 0, share - rivals.max(axis=1) / 2, (1 - most) * votes.visible * seconds)
    severity = np.where(named >= 0, np.clip(votes.depth[windows, strongest] / 2, 0, 1), 0.0)
    names = np.array([*FAULTS.values(), NONE], np.object_)
    why = [str(votes.evidence(window, fault)) for window, fault in enumerate(strongest.tolist())]
    said, nothing = votes.defined, np.full(len(windows), None, np.object_)
    sentences = np.array([each.replace("windows", "parts") for each in why], np.object_)
    return WindowVerdicts(
        fault=np.where(said, names[named], nothing),
        severity=np.where(said, severity, np.nan),
        confidence=np.where(said, confidence, np.nan),
        why=np.where(said, sentences, nothing),
    )
