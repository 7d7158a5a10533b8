"""How a database writes times: what is bound in place of an instant, and what its values mean. Pure.

Pages follow one another in the database's own order: microseconds since 1970, of UTC or of its local time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

import polars as pl

from bridge.drivers.sql.statements import Value
from historian.errors import SourceError
from historian.times import from_micros, micros

Form = Literal["timestamp", "text", "epoch-s", "epoch-ms", "epoch-us", "epoch-ns"]
_NS: Final = {"epoch-s": 10**9, "epoch-ms": 10**6, "epoch-us": 10**3, "epoch-ns": 1}
"""Form -> nanoseconds of its unit."""
_CHANGE: Final = timedelta(hours=3)
"""Longest time by which a clock is set back or forward, and then some."""
TWICE: Final = "the local time occurs twice or not at all: the clock changes"


@dataclass(frozen=True)
class Clock:
    """The form of a database's times."""

    form: Form
    zone: str | None = None
    """Time zone of times without one; None if they have one, or count from 1970."""

    def range_of(self, start: datetime, end: datetime) -> tuple[int, int]:
        """Return a range in the database's order that holds start <= t < end, and in local time perhaps more."""
        if self.zone is None:
            return micros(start), micros(end)
        zone = ZoneInfo(self.zone)
        low = min(_offset(start, zone), _offset(start + _CHANGE, zone))
        high = max(_offset(end, zone), _offset(end - _CHANGE, zone))
        return micros(start + low), micros(end + high)

    def bound(self, us: int) -> Value:
        """Return what is bound in `time >= …` and `time < …` for a time in microseconds."""
        if self.form in _NS:
            return -((-us * 1000) // _NS[self.form])
        instant = from_micros(us)
        if self.form == "text":  # the shortest form is never after a longer one of the same time
            return f"{instant:%Y-%m-%d %H:%M:%S}" + (f".{instant:%f}".rstrip("0") if us % 1_000_000 else "")
        return instant if self.zone is None else instant.replace(tzinfo=None)

    @property
    def slack(self) -> timedelta:
        """Time from the start of a time's unit to the end of it, by which an extent may exceed its last sample."""
        change = _CHANGE if self.zone is not None else timedelta(0)  # the hour that occurs twice
        return change + timedelta(microseconds=1)

    def micros(self, times: pl.Series) -> pl.Series:
        """Return values of the database as microseconds in its order, truncated; null where they are no times.

        Raises:
            SourceError: they are of another form, or their zone is unknown.
        """
        if self.form in _NS:
            if not times.dtype.is_integer():
                raise SourceError(
                    f'the timestamps are no whole numbers of form "{self.form}" but {times.dtype}; see time'
                )
            return (times.cast(pl.Int64) * (_NS[self.form] // 1000)) if self.form != "epoch-ns" else times // 1000
        if self.form == "text":
            times = times.cast(pl.String).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
        if not isinstance(times.dtype, pl.Datetime):
            raise SourceError(f"the timestamps are not of a time type but {times.dtype}; see time")
        if (times.dtype.time_zone is None) != (self.zone is not None):
            wanted = "have no zone; say which with timezone" if self.zone is None else "have a zone; leave out timezone"
            raise SourceError(f"the timestamps {wanted}")
        return times.dt.epoch("us")

    def instants(self, us: pl.Series) -> pl.DataFrame:
        """Return `timestamp` and `fault`: UTC, null with the reason where the clock change makes it ambiguous.

        `earliest` is the first instant that such a time may be, which says in which range it is reported.
        """
        if self.zone is None:
            utc = us.cast(pl.Datetime("us", "UTC"))
            return pl.DataFrame({"timestamp": utc, "earliest": utc}, strict=False).with_columns(
                fault=pl.lit(None, pl.String)
            )
        local = us.cast(pl.Datetime("us"))
        instant = local.dt.replace_time_zone(self.zone, ambiguous="null", non_existent="null")
        early, before = (
            each.dt.replace_time_zone(self.zone, ambiguous="earliest", non_existent="null")
            for each in (local, local - timedelta(hours=1))
        )
        return pl.DataFrame(
            {
                "timestamp": instant.dt.convert_time_zone("UTC"),
                "earliest": early.fill_null(before).dt.convert_time_zone("UTC"),
            }
        ).with_columns(fault=pl.when(pl.col("timestamp").is_null()).then(pl.lit(f"{TWICE}, in {self.zone}")))


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


EVER: Final = (datetime(1971, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC))
"""The range in which the extents of a database are looked for."""
