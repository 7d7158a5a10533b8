"""A verdict in words: named, suspected or none, with what speaks against it and what would make it surer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from features.analysis.findings import Circumstances, finding_of
from features.kernels.verdict import NONE, Evidence, Verdict

KNOWN = Circumstances(10, 1.0, 12_000.0, 1772.0, "tag", "", 5.0, "", 0.5)


def evidence(fault: str, speaking: int = 0, *, found: float = 100.0, snr: float = 2.0, depth: float = 0.1) -> Evidence:
    """Of ten windows, expected at 100 Hz."""
    return Evidence(fault, 100.0, found, snr, depth, speaking, 10)


def verdict(*every: Evidence, fault: str = NONE) -> Verdict:
    """On these lines; the first one is the strongest."""
    return Verdict(fault, every[0], str(every[0]), every)


QUIET = (evidence("inner race"), evidence("rolling element"), evidence("cage"))


def test_a_named_fault_lists_its_rivals() -> None:
    """Confidence is the supporting share less half the rival's; severity half the depth."""
    lines = (evidence("outer race", 9, snr=20, depth=0.8), evidence("inner race", 2, snr=5), *QUIET[1:])
    found = finding_of(verdict(*lines, fault="outer race"), KNOWN)
    assert found.headline == "outer race damaged (confidence 80%, severity 0.40)"
    assert found.against == (
        "1 of 10 windows do not support it",
        "2 of 10 windows support inner race, 5.0 floors high",
    )
    assert found.surer == ()


def test_a_fault_is_suspected_if_a_third_of_the_windows_support_it() -> None:
    """With half of the confidence, and with the check of the speed that its frequency suggests."""
    lines = (evidence("rolling element", 4, found=98.2, snr=6, depth=0.3), evidence("outer race"), *QUIET[:1])
    found = finding_of(verdict(*lines), KNOWN)
    assert (found.status, found.fault, found.confidence) == ("suspected", "rolling element", 0.2)
    assert "the line lies 1.8% below where it is expected; slip is seldom so large" in found.against
    assert "a check of the speed: at 1,740 rpm instead of 1,772 the line would be where it belongs" in found.surer
    assert found.surer[0].endswith("cage cannot be seen in these")


def test_a_line_on_a_multiple_of_the_shaft_is_suspected() -> None:
    """No window supports it, so the confidence is the least there is."""
    found = finding_of(verdict(evidence("outer race", 0, snr=30, depth=0.9), *QUIET), KNOWN)
    assert found.headline == "outer race suspected (confidence 10%, severity 0.45)"
    why = "its line lies on a multiple of the shaft's speed, where misalignment and looseness have lines, too"
    assert found.against == (why,)
    assert found.surer == ("longer windows: finer lines tell it from a multiple of the shaft's speed",)


def test_no_fault_is_as_sure_as_what_can_be_seen() -> None:
    """Only one of three parts of the bearing has a line; the impacts nobody explains speak against it."""
    known = replace(KNOWN, kurtosis=17.3, zone="D")
    found = finding_of(verdict(evidence("rolling element")), known)
    assert (found.status, found.severity) == ("none", 0.0)
    assert found.confidence == pytest.approx(1 / 6)
    assert found.against == (
        "impacts stand out of the waveform, whose kurtosis is 17.3, but no line explains them",
        "the velocity is in zone D: something is wrong with the machine, if not with its bearing",
    )
    assert "outer race, inner race, cage cannot be seen" in found.surer[0]


def test_without_lines_there_is_no_verdict() -> None:
    """It says what is missing."""
    known = Circumstances(2, 1.0, 4_000.0, np.nan, "", "there is no speed", 3.0, "", np.nan)
    found = finding_of(Verdict(NONE, None, "no line"), known)
    assert (found.headline, found.confidence, found.why) == ("no verdict", None, "no line")
    assert found.surer == (
        "a speed and a bearing: there is no speed",
        "more windows: there are 2, and 3 or more must agree",
        "a higher sample rate than 4000 Hz: impacts ring above 1000 Hz",
    )


def test_a_weak_smooth_line_has_much_against_it() -> None:
    """No second harmonic, and no impacts in the waveform."""
    known = Circumstances(10, 1.0, 12_000.0, 1772.0, "tag", "", 2.9, "", 0.05)
    found = finding_of(verdict(evidence("outer race", 5, snr=4, depth=0.2), *QUIET), known)
    assert found.against == (
        "5 of 10 windows do not support it",
        "the line is weaker than a fault's needs to be",
        "the line has no second harmonic; repeated impacts have one",
        "no impacts stand out of the waveform: its kurtosis is 2.9",
    )
