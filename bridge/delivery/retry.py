"""The kinds of failures, and how long to wait before the next attempt.

permanent    a person must change something: a token, a permission, a bucket. Retried now and then, in case they did
throttled    the other side requests a pause: wait at least that long
retryable    the other side cannot be reached or is not ready
unexpected   a fault in a program; it is logged with its traceback and retried like a retryable failure
"""

from __future__ import annotations

from secrets import SystemRandom
from typing import Final, Literal

from historian.errors import AccessDenied, NotConnected, SpoolFull, StoreUnavailable

Kind = Literal["permanent", "throttled", "retryable", "unexpected"]

FIRST_S: Final = 0.5
LONGEST_S: Final = 30.0
PERMANENT_S: Final = 60.0

_random = SystemRandom()


def backoff(failures: int) -> float:
    """Return the seconds to wait after that many failures in a row: `FIRST_S` doubling to `LONGEST_S`, half random."""
    longest: float = min(LONGEST_S, FIRST_S * 2.0 ** min(failures - 1, 16))
    return longest * _random.uniform(0.5, 1)


def kind_of(error: Exception) -> Kind:
    """Return the kind of failure that an error stands for."""
    if isinstance(error, AccessDenied):
        return "permanent"
    if isinstance(error, StoreUnavailable):
        return "retryable" if error.retry_after is None else "throttled"
    return "retryable" if isinstance(error, NotConnected | SpoolFull) else "unexpected"


def wait_after(error: Exception, failures: int) -> float:
    """Return the seconds to wait after this error, the last of `failures` errors in a row."""
    if kind_of(error) == "permanent":
        return PERMANENT_S
    demanded = error.retry_after if isinstance(error, StoreUnavailable) else None
    return max(demanded or 0.0, backoff(failures))
