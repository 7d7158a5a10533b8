"""A verdict as an analyst would put it: what speaks against it, and what would make it surer. Pure.

A fault is *named* by the rules of `features.kernels.verdict`. It is *suspected* if a third of the windows or more
support it, or if its line is as high and as deep as needed but lies on a multiple of the shaft's speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from features.kernels.envelope import LOWEST, PERIODS
from features.kernels.lines import SLIP
from features.kernels.verdict import DEPTH, FAULTS, NONE, SNR, WINDOWS, Evidence, Verdict

_SLIP: Final = 0.01
"""Difference from the expected frequency that a bearing's slip seldom exceeds."""
_ENOUGH: Final = 10
"""Windows after which more would change little."""
_LONG: Final = 1.0
"""Length of windows in seconds from which lines are told apart; in shorter ones a line is hardly above its floor."""
_IMPULSIVE: Final = 3.5
_IMPACTS: Final = 6.0
"""Kurtosis below which no impacts stand out, and above which they do."""
_PARTS: Final = tuple(FAULTS.values())[:3]
"""What can be told apart in most windows: all but the cage."""
_LEAST: Final = 0.1
"""Confidence in a suspicion that no window supports."""
_HARMONIC: Final = 0.1
"""Second harmonic over line below which the modulation is smooth, and not that of impacts."""


@dataclass(frozen=True)
class Circumstances:
    """What is known of the windows of a verdict besides their lines."""

    windows: int
    seconds: float
    """Length of a window."""
    sample_rate: float
    """Hz."""
    rpm: float
    """Mean speed of the shaft; NaN if unknown."""
    rpm_source: str
    """`tag`, `asset`, or empty."""
    lacks: str
    """Why speed or bearing are unknown; empty if both are known."""
    kurtosis: float
    """Median over the windows."""
    zone: str
    """Evaluation zone of the velocity, A to D; empty if unknown."""
    harmonic: float
    """Second harmonic over line of the strongest fault, median over the windows; NaN if undefined."""


@dataclass(frozen=True)
class Finding:
    """A verdict in words and numbers."""

    status: str
    """`fault`, `suspected`, `none` or `unknown`."""
    fault: str
    severity: float | None
    """Share of the band's power in impacts of the fault, 0 to 1; None if nothing can be said."""
    confidence: float | None
    """0 to 1, as in the column `<point>_confidence`; None if nothing can be said."""
    why: str
    against: tuple[str, ...]
    surer: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The verdict in a few words."""
        if self.status == "unknown":
            return "no verdict"
        named = {"fault": f"{self.fault} damaged", "suspected": f"{self.fault} suspected"}
        return f"{named.get(self.status, NONE)} (confidence {self.confidence:.0%}, severity {self.severity:.2f})"


def finding_of(verdict: Verdict, known: Circumstances) -> Finding:
    """Return a verdict with what speaks against it and what would make it surer."""
    strongest = verdict.strongest
    if strongest is None:
        return Finding("unknown", NONE, None, None, verdict.why, (), tuple(_surer(None, known)))
    suspect = None if verdict.fault != NONE else _suspect(verdict)
    shown = suspect or strongest
    status = "fault" if verdict.fault != NONE else "suspected" if suspect else "none"
    rivals = [each for each in verdict.evidence if each is not shown and each.fault != shown.fault]
    share, rival = _share(shown), max(map(_share, rivals), default=0.0)
    if status == "fault":
        sure = share - rival / 2
    elif suspect:
        sure = max(share / 2, _LEAST)
    else:
        sure = (1 - max(share, rival)) * _visible(verdict) * min(known.windows / _ENOUGH, 1)
        sure *= min(known.seconds / _LONG, 1)
        sure /= 2 if known.kurtosis > _IMPACTS else 1
    severity = 0.0 if status == "none" else min(shown.depth / 2, 1.0)
    against = tuple(_against(shown, rivals, known)) if status != "none" else tuple(_traces(verdict, known))
    fault = NONE if status == "none" else shown.fault
    surer = (*_unseen(verdict), *_surer(None if status == "none" else shown, known))
    return Finding(status, fault, severity, max(sure, 0.0), str(shown), against, surer)


def _visible(verdict: Verdict) -> float:
    """Return the share of races and rolling elements whose line is defined."""
    return sum(each.fault in _PARTS for each in verdict.evidence) / len(_PARTS)


def _suspect(verdict: Verdict) -> Evidence | None:
    """Return the evidence for the fault that is suspected though none is named."""
    near = [each for each in verdict.evidence if each.windows >= WINDOWS and 3 * each.speaking >= each.windows]
    hidden = [each for each in verdict.evidence if each.windows >= WINDOWS and _is_hidden(each)]
    races = [each for each in (near or hidden) if each.fault != FAULTS["ftf"]]
    return max(races, key=lambda each: each.snr, default=None)


def _is_hidden(each: Evidence) -> bool:
    """Return whether only a multiple of the shaft's speed, which is as near, keeps a fault from being supported."""
    high = each.snr >= SNR and each.depth >= DEPTH and not each.speaking
    return high and abs(each.found / each.expected - 1) <= SLIP


def _share(evidence: Evidence) -> float:
    return evidence.speaking / evidence.windows


def _against(shown: Evidence, rivals: list[Evidence], known: Circumstances) -> Iterator[str]:
    if _is_hidden(shown):
        yield "its line lies on a multiple of the shaft's speed, where misalignment and looseness have lines, too"
    elif shown.speaking < shown.windows:
        yield f"{shown.windows - shown.speaking} of {shown.windows} windows do not support it"
    for rival in rivals:
        if rival.speaking:
            yield f"{rival.speaking} of {rival.windows} windows support {rival.fault}, {rival.snr:.1f} floors high"
    off = shown.found / shown.expected - 1
    if abs(off) > _SLIP:
        side = "above" if off > 0 else "below"
        yield f"the line lies {abs(off):.1%} {side} where it is expected; slip is seldom so large"
    if shown.depth < DEPTH or shown.snr < SNR:
        yield "the line is weaker than a fault's needs to be"
    if known.harmonic < _HARMONIC:
        yield "the line has no second harmonic; repeated impacts have one"
    if known.kurtosis < _IMPULSIVE:
        yield f"no impacts stand out of the waveform: its kurtosis is {known.kurtosis:.1f}"


def _traces(verdict: Verdict, known: Circumstances) -> Iterator[str]:
    """Yield what speaks against there being no fault."""
    if known.kurtosis > _IMPACTS:
        yield f"impacts stand out of the waveform, whose kurtosis is {known.kurtosis:.1f}, but no line explains them"
    if known.zone in ("C", "D"):
        yield f"the velocity is in zone {known.zone}: something is wrong with the machine, if not with its bearing"
    for each in verdict.evidence:
        if each.speaking:
            yield f"{each.speaking} of {each.windows} windows support {each.fault}, {each.snr:.1f} floors high"


def _unseen(verdict: Verdict) -> Iterator[str]:
    """Yield which parts of the bearing the windows cannot show."""
    if unseen := [fault for fault in FAULTS.values() if fault not in {each.fault for each in verdict.evidence}]:
        yield f"longer windows, of {PERIODS} periods of each line or more: {', '.join(unseen)} cannot be seen in these"


def _surer(shown: Evidence | None, known: Circumstances) -> Iterator[str]:
    if known.lacks:
        yield f"a speed and a bearing: {known.lacks}"
    if known.rpm_source == "asset":
        yield f"a measured speed: that of the plant file may be off, and lines are searched within {SLIP:.0%} of it"
    if shown is not None and abs(shown.found / shown.expected - 1) > _SLIP:
        rpm = known.rpm * shown.found / shown.expected
        yield f"a check of the speed: at {rpm:,.0f} rpm instead of {known.rpm:,.0f} the line would be where it belongs"
    if shown is not None and _is_hidden(shown):
        yield "longer windows: finer lines tell it from a multiple of the shaft's speed"
    if known.windows < _ENOUGH:
        count = "is 1" if known.windows == 1 else f"are {known.windows}"
        yield f"more windows: there {count}, and {WINDOWS} or more must agree"
    if known.windows and known.seconds < _LONG:
        yield f"windows of a second: in {known.seconds:g} s, lines closer than {1.5 / known.seconds:.0f} Hz are one"
    if 0.4 * known.sample_rate < 2 * LOWEST:
        yield f"a higher sample rate than {known.sample_rate:g} Hz: impacts ring above {LOWEST:g} Hz"
