"""What a file or a server states about a sample rate or a speed, compared with the plant file. Pure.

Whoever reads such a statement (a WAV header, a property of a TDMS channel, a node of a server) compares it here and
reports the contradiction. Stretches are stored at the stated rate: their windows then have the reason `rate`. A stated
speed is a sample of the speed tag: windows in which it contradicts the fixed speed have the reason
`speed_contradicted`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, WithJsonSchema

RATE_TOLERANCE: Final = 0.002
"""Relative difference up to which sample rates agree: clocks drift by less, and headers round to fewer digits."""
SPEED_TOLERANCE: Final = 0.02
"""Relative difference up to which speeds agree: beyond it, the search for lines of shaft and bearing misses them."""
RPM_PER: Final[Mapping[str, float]] = {"rpm": 1.0, "Hz": 60.0}
"""rpm per unit of a speed point."""
_FRACTION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)")


def parse_rate(given: object) -> object:
    """Return a sample rate written as a fraction, `25600/3`, as a number; anything else unchanged.

    Raises:
        ValueError: the denominator is zero.
    """
    match = _FRACTION.fullmatch(given.strip()) if isinstance(given, str) else None
    if match is None:
        return given
    if not Fraction(match[2]):
        raise ValueError(f"{given!r} divides by zero")
    return float(Fraction(match[1]) / Fraction(match[2]))


Rate = Annotated[
    float,
    BeforeValidator(parse_rate),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": _FRACTION.pattern}]}),
]
"""A sample rate in Hz: a number, or a fraction as a text."""


@dataclass(frozen=True)
class Contradiction:
    """Two statements about the sample rate or the speed of a tag, of which one must be wrong."""

    tag: str
    stated: float
    """Hz of a rate, rpm of a speed."""
    configured: float
    """The same by the plant file."""
    by: str
    """Who states it: `the file`, `its source`."""
    what: Literal["sample rate", "speed"] = "sample rate"

    def __str__(self) -> str:
        """Return it as a sentence, with what to do."""
        unit, remedy = _OF[self.what]
        return (
            f"{self.tag}: {self.by} states a {self.what} of {self.stated:.6g} {unit}, plant.toml {self.configured:.6g} "
            f"{unit}; correct {remedy}"
        )


_OF: Final = {
    "sample rate": ("Hz", "sample_rate, or the address if these are samples of another sensor"),
    "speed": ("rpm", "speed_rpm, or leave the tag out of this list if the file is wrong"),
}
"""What is stated -> its unit, and what to do."""


def rate_contradiction(tag: str, *, stated: float, configured: float, by: str) -> Contradiction | None:
    """Compare a stated sample rate with the plant file's.

    Args:
        tag: name of the tag.
        stated: Hz.
        configured: Hz, `Tag.sample_rate`.
        by: who states it.

    Returns:
        The contradiction; None if they agree within `RATE_TOLERANCE`.
    """
    if abs(stated - configured) <= RATE_TOLERANCE * configured:
        return None
    return Contradiction(tag, stated, configured, by)


def speed_contradiction(tag: str, *, stated: float, configured: float, by: str) -> Contradiction | None:
    """Compare a stated speed with the fixed speed that the plant file gives the asset.

    Args:
        tag: name of the speed tag.
        stated: rpm.
        configured: rpm, `Asset.speed_rpm` at that time.
        by: who states it.

    Returns:
        The contradiction; None if they agree within `SPEED_TOLERANCE`.
    """
    if abs(stated - configured) <= SPEED_TOLERANCE * configured:
        return None
    return Contradiction(tag, stated, configured, by, "speed")


def rate_contradictions(stated: Iterable[tuple[str, float]], rates: Mapping[str, float]) -> set[Contradiction]:
    """Return the contradictions of stretches with the plant file.

    Args:
        stated: tag and sample rate, Hz, of stretches.
        rates: tag -> sample rate by the plant file, Hz.
    """
    known = ((tag, rate, rates[tag]) for tag, rate in stated if tag in rates)
    found = (rate_contradiction(tag, stated=rate, configured=given, by="its source") for tag, rate, given in known)
    return {each for each in found if each}
