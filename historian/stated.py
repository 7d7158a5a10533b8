"""What a file or a server states about a sample rate, compared with the plant file. Pure.

Whoever reads such a statement (a WAV header, a property of a TDMS channel, a node of a server) compares it here and
reports the contradiction. Stretches are stored at the stated rate: their windows then have the reason `rate`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema

RATE_TOLERANCE: Final = 0.002
"""Relative difference up to which sample rates agree: clocks drift by less, and headers round to fewer digits."""
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
    """Two statements about the sample rate of a tag, of which one must be wrong."""

    tag: str
    stated: float
    """Hz."""
    configured: float
    """Hz, what the plant file says."""
    by: str
    """Who states it: `the file`, `its source`."""

    def __str__(self) -> str:
        """Return it as a sentence, with what to do."""
        return (
            f"{self.tag}: {self.by} states a sample rate of {self.stated:.6g} Hz, plant.toml {self.configured:.6g} Hz; "
            "correct sample_rate, or the address if these are samples of another sensor"
        )


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


def rate_contradictions(stated: Iterable[tuple[str, float]], rates: Mapping[str, float]) -> set[Contradiction]:
    """Return the contradictions of stretches with the plant file.

    Args:
        stated: tag and sample rate, Hz, of stretches.
        rates: tag -> sample rate by the plant file, Hz.
    """
    known = ((tag, rate, rates[tag]) for tag, rate in stated if tag in rates)
    found = (rate_contradiction(tag, stated=rate, configured=given, by="its source") for tag, rate, given in known)
    return {each for each in found if each}
