"""How long to wait before trying again: longer each time, bounded, and never in step with the neighbours."""

from __future__ import annotations

from secrets import SystemRandom
from typing import Final

FIRST_S: Final = 0.5
LONGEST_S: Final = 30.0

_random = SystemRandom()


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row: doubles from `FIRST_S` to `LONGEST_S`; half of it is chance."""
    longest: float = min(LONGEST_S, FIRST_S * 2.0 ** min(failures - 1, 16))
    return longest * _random.uniform(0.5, 1)
