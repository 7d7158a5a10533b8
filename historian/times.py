"""Parsing and formatting of times: durations as people write them, and instants, which must have a zone.

Everywhere else, time is UTC microseconds and an argument; only commands and runners read the clock, through `utc_now`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from historian.errors import InvalidInput

_UNITS: Final = {
    "us": timedelta(microseconds=1),
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d|w)")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_duration(text: str | timedelta, *, zero: bool = False) -> timedelta:
    """Parse a duration such as `100ms`, `1s`, `10m`, `2h` or `1d`.

    Args:
        text: the text; a timedelta is returned unchanged.
        zero: whether a duration of zero is allowed.

    Raises:
        ValueError: it is not a duration, or not a positive one.
    """
    if isinstance(text, timedelta):
        return text
    match = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a number and one of {', '.join(_UNITS)}, such as 10m")
    try:
        span = float(match[1]) * _UNITS[match[2]]
    except OverflowError:
        raise ValueError(f"the duration {text!r} is too long") from None
    if span < timedelta(0) or not (span or (zero and float(match[1]) == 0)):
        raise ValueError(f"the duration {text!r} is shorter than one microsecond")
    return span


def format_duration(span: timedelta) -> str:
    """Return a duration as text that `parse_duration` accepts, in the largest unit that makes it a whole number."""
    if not span:
        return "0s"
    for unit in reversed(_UNITS):
        if span % _UNITS[unit] == timedelta(0):
            return f"{span // _UNITS[unit]}{unit}"
    raise ValueError(f"{span!r} is not a whole number of microseconds")


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*(us|ms|s|m|h|d|w)$", "examples": ["100ms", "10m"]}),
]

DurationOrZero = Annotated[
    timedelta,
    BeforeValidator(lambda text: parse_duration(text, zero=True)),
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*(us|ms|s|m|h|d|w)$", "examples": ["0s", "100ms"]}),
]


def format_instant(instant: datetime) -> str:
    """Return an instant of UTC as text: `2026-03-01T00:00:00Z`.

    Args:
        instant: An instant in UTC.
    """
    return instant.isoformat().replace("+00:00", "Z")


def _zoned(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("the time has no zone; write 2026-03-02T08:00:00Z for UTC, or an offset such as +01:00")
    return instant.astimezone(UTC)


Instant = Annotated[datetime, AfterValidator(_zoned)]
"""An instant in the plant file or a tag list, which must have a zone; UTC."""


def parse_instant(text: str, *, now: datetime) -> datetime:
    """Parse an instant from a command line to UTC.

    A time without a zone is refused: local time skips and repeats hours.

    Args:
        text: ISO 8601 with a zone (`2026-03-01T00:00:00Z`), `now`, or `now-2h`.
        now: the current time.

    Raises:
        InvalidInput: it is none of these.
    """
    text = text.strip()
    if text == "now":
        return now
    try:
        if text.startswith("now-"):
            return now - parse_duration(text[4:])
        instant = datetime.fromisoformat(text)
        in_utc = instant.astimezone(UTC) if instant.tzinfo else None
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{text!r} is not a time ({error}); write 2026-03-01T00:00:00Z or now-2h") from None
    if in_utc is None:
        raise InvalidInput(f"the time {text!r} has no zone; write {text}Z for UTC, or an offset such as +01:00")
    return in_utc


def micros(instant: datetime) -> int:
    """Return an instant as microseconds since the epoch, exactly."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def from_micros(value: int) -> datetime:
    """Return the instant at `value` microseconds since the epoch; the inverse of `micros`."""
    return EPOCH + timedelta(microseconds=value)


def utc_now() -> datetime:
    """Return the current time. For commands and runners only; everything below takes `now` as an argument."""
    return datetime.now(UTC)
