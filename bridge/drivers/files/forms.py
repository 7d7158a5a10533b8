"""The forms in which times are written: patterns, and numbers that count units since an origin."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from bridge.drivers.files.patterns import compiled


class Counter(NamedTuple):
    """Times as a number: so many units since an origin."""

    origin: datetime
    us: float
    """Microseconds in a unit."""
    is_local: bool
    """Whether the origin is midnight where the file was written, rather than in UTC."""
    resolution_us: int = 1
    """To what numbers with a fraction are rounded: spreadsheets write a day with ten decimals, which are 9 us."""


def _counter(year: int, month: int, day: int, us: float, *, local: bool = False) -> Counter:
    origin = datetime(year, month, day)  # noqa: DTZ001 (its zone is that of `is_local`)
    return Counter(origin, us, local, 1000 if us > 1e3 and local else 1)


_DAY: Final = 86_400e6
COUNTERS: Final[Mapping[str, Counter]] = {
    "epoch-s": _counter(1970, 1, 1, 1e6),
    "epoch-ms": _counter(1970, 1, 1, 1e3),
    "epoch-us": _counter(1970, 1, 1, 1),
    "epoch-ns": _counter(1970, 1, 1, 1e-3),
    "excel": _counter(1899, 12, 30, _DAY, local=True),
    "excel-1904": _counter(1904, 1, 1, _DAY, local=True),
    "excel-micro": _counter(1899, 12, 30, _DAY / 1e6, local=True),
    "dotnet-ticks": _counter(1, 1, 1, 0.1),
    "dotnet-ticks-local": _counter(1, 1, 1, 0.1, local=True),
    "filetime": _counter(1601, 1, 1, 0.1),
}
"""Value of `timestamp_format` -> what such a number counts. WinCC's Time_ms is Excel's serial day times a million."""

LIKELY: Final = (
    (r"^\d{10}(\.\d+)?$", "epoch-s"),
    (r"^\d{13}(\.\d+)?$", "epoch-ms"),
    (r"^\d{16}$", "epoch-us"),
    (r"^\d{19}$", "epoch-ns"),
    (r"^[2-6]\d{4}([.,]\d+)?$", "excel"),
    (r"^[2-6]\d{10}([.,]\d+)?$", "excel-micro"),
    (r"^6\d{17}$", "dotnet-ticks"),
    (r"^1\d{17}$", "filetime"),
)
"""What a number in place of a time probably counts; only for messages."""


class TimeRule(NamedTuple):
    """How the times of an archive are written."""

    form: str | None = None
    """A key of `COUNTERS` or a pattern; ISO 8601 if None."""
    zone: str | None = None
    """Time zone of times without one."""
    name: str = "start"
    """What they are called in messages: the column's name."""


def checked_form(form: str) -> str:
    """Return a `timestamp_format`. Raises `ValueError` if it is neither a pattern nor a key of `COUNTERS`."""
    if form in COUNTERS:
        return form
    if "%" not in form:
        raise ValueError(
            f"the pattern {form!r} has no % fields; write one such as %Y-%m-%d %H:%M:%S, or what a number counts: "
            + ", ".join(COUNTERS)
        )
    return compiled(form).text
