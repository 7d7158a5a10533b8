"""Where slices of an archive begin that is best read a day, or any other period, at a time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from historian.times import EPOCH


def starts_every(length: timedelta, start: datetime, end: datetime) -> Sequence[datetime]:
    """Return the multiples of `length` since 1970 with start < t < end, such as midnights of UTC."""
    first = EPOCH + (start - EPOCH) // length * length
    return [first + number * length for number in range(1, -((first - end) // length))]
