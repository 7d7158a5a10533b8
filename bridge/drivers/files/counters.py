"""Times as numbers: so many units since an origin. Pure and columnar."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import polars as pl


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
    return Counter(datetime(year, month, day), us, local, 1000 if us > 1e3 and local else 1)  # noqa: DTZ001 (its zone is that of `is_local`)


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


def counted(given: pl.Series, text: pl.Series, counter: Counter) -> pl.Series:
    """Return numbers as naive times; whole numbers exactly, others to the microsecond."""
    whole = given if given.dtype.is_integer() else text.cast(pl.Int64, strict=False)
    exact = counter.us >= 1 and counter.us == int(counter.us)
    counted = whole.cast(pl.Int64) * int(counter.us) if exact else whole.cast(pl.Int64) // round(1 / counter.us)
    if whole.null_count() or not (exact or counter.us < 1):
        number = (
            given
            if given.dtype.is_numeric()
            else text.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
        )
        parts, step = number.cast(pl.Float64), counter.resolution_us
        parts = parts.zip_with(parts.is_finite() & (parts.abs() * counter.us < 2**62), parts.clear(len(parts)))
        counted = counted.zip_with(
            whole.is_not_null(), (parts * counter.us / step).round().cast(pl.Int64, strict=False) * step
        )
    since = (counter.origin - datetime(1970, 1, 1)) // timedelta(microseconds=1)  # noqa: DTZ001 (naive as the origin)
    return (counted + since).cast(pl.Datetime("us"))
