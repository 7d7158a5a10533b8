"""Alarm rules over feature rows: when they fire and clear, and how long before each failure. Pure.

A row decides whether the condition of a rule holds: its value is beyond the limit, or has risen by more than `rise`
since the newest value that is at least `over` old. The condition ends once the value is back behind the limit by the
hysteresis; in between, it stays as it is. A row without a value decides nothing. The alarm fires at the first row for
which the condition has held for `after`, and clears at the first for which it has not held for `clear_after`.

Each decision needs only rows up to its own, so what a replay says up to a time is what an alarm at that time has said.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from historian.plant.alarms import Alarm

_INSTANT: Final = pl.Datetime("us", "UTC")
FIRINGS: Final = pl.Schema(
    {
        "asset": pl.String(),
        "kind": pl.String(),  # the alarm's name
        "happened_at": _INSTANT,  # when it fired
        "known_at": _INSTANT,
        "end": _INSTANT,  # when it cleared; null while it is active
        "value": pl.Float64(),  # of the row at which it fired
    }
)
"""Columns of firings: those of an event file, so that they can be labels, and the value."""
LEADS: Final = pl.Schema(
    {"asset": pl.String(), "failed_at": _INSTANT, "kind": pl.String(), "fired_at": _INSTANT, "hours": pl.Float64()}
)
"""Columns of failures with the alarm's first firing before each; null where there was none."""
_ASSET, _TIME = "asset", "event_timestamp"


def firings(rows: pl.DataFrame, name: str, alarm: Alarm) -> pl.DataFrame:
    """Return when an alarm would have fired.

    Args:
        rows: `asset`, `event_timestamp`, and the alarm's column; one row of each asset and time.
        name: the name of the alarm.
        alarm: the rule.

    Returns:
        Columns of `FIRINGS`, sorted by asset and time.
    """
    known = rows.select(_ASSET, _TIME, value=pl.col(alarm.column).cast(pl.Float64)).filter(pl.col("value").is_finite())
    known = _with_level(known.sort(_ASSET, _TIME), alarm)
    runs = _runs(known, alarm)
    changes = runs.filter(pl.col("held") != pl.col("held").shift(1, fill_value=False).over(_ASSET))
    ends = changes.with_columns(end=pl.col(_TIME).shift(-1).over(_ASSET)).filter("held")
    fired = ends.select(_ASSET, pl.lit(name).alias("kind"), pl.col(_TIME).alias("happened_at"), "end", "value")
    return fired.with_columns(known_at="happened_at").select(FIRINGS.names()).cast(FIRINGS)


def _with_level(known: pl.DataFrame, alarm: Alarm) -> pl.DataFrame:
    """Add `level`, which is beyond `limit` where the condition holds, and upwards so for every kind of rule."""
    value = pl.col("value")
    if alarm.rise is None or alarm.over is None:
        up = alarm.below is None
        limit = alarm.above if alarm.above is not None else -(alarm.below or 0.0)
        return known.with_columns(level=value if up else -value, limit=pl.lit(limit, pl.Float64))
    past = known.select(_ASSET, pl.col(_TIME) + alarm.over, before="value")
    joined = known.join_asof(past, on=_TIME, by=_ASSET, check_sortedness=False)
    return joined.with_columns(level=value - pl.col("before"), limit=pl.lit(alarm.rise, pl.Float64))


def _runs(known: pl.DataFrame, alarm: Alarm) -> pl.DataFrame:
    """Return the rows at which a condition has held, or not held, for as long as the rule wants."""
    level, limit = pl.col("level"), pl.col("limit")
    decided = (
        pl.when(level > limit)
        .then(pl.lit(value=True))
        .when(level <= limit - alarm.hysteresis)
        .then(pl.lit(value=False))
    )
    held = decided.forward_fill().fill_null(value=False).over(_ASSET)
    rows = known.with_columns(held=held)
    starts = pl.col("held") != pl.col("held").shift(1).over(_ASSET)
    rows = rows.with_columns(run=starts.fill_null(value=True).cum_sum())
    since = pl.col(_TIME) - pl.col(_TIME).first().over("run")
    wait = pl.when("held").then(pl.lit(alarm.after)).otherwise(pl.lit(alarm.clear_after))
    return rows.filter(since >= wait).unique("run", keep="first", maintain_order=True)


def leads(fired: pl.DataFrame, failures: pl.DataFrame, *, within: timedelta) -> pl.DataFrame:
    """Return how long before each failure an alarm fired first, after the failure before.

    Args:
        fired: firings of one alarm, columns of `FIRINGS`.
        failures: `asset` and `happened_at`.
        within: a firing longer than this before a failure is not counted as its warning.

    Returns:
        Columns of `LEADS`, one row a failure; without `kind`, `fired_at` and `hours` where no firing warned of it.
    """
    ordered = (
        failures.select(_ASSET, failed_at="happened_at").unique().sort(_ASSET, "failed_at").with_row_index("failure")
    )
    since = pl.max_horizontal(pl.col("failed_at").shift(1).over(_ASSET), pl.col("failed_at") - within)
    # An alarm that has not cleared warns as well, from where the interval begins.
    ordered = ordered.with_columns(since=since.fill_null(pl.col("failed_at") - within))
    pairs = ordered.join(fired.select(_ASSET, "kind", "happened_at", "end"), on=_ASSET)
    active = pl.col("end").is_null() | (pl.col("end") > pl.col("since"))
    warned = pairs.filter(pl.col("happened_at") <= pl.col("failed_at"), active)
    first = warned.with_columns(fired_at=pl.max_horizontal("happened_at", "since"))
    first = first.sort("fired_at").unique("failure", keep="first").select("failure", "kind", "fired_at")
    hours = (pl.col("failed_at") - pl.col("fired_at")).dt.total_microseconds() / 3.6e9
    found = ordered.join(first, on="failure", how="left").sort("failure").with_columns(hours=hours)
    return found.select(LEADS.names()).cast(LEADS)


def false_alarms(fired: pl.DataFrame, failures: pl.DataFrame, *, within: timedelta) -> int:
    """Return how many firings no failure of the asset follows within a time of their beginning or before their end."""
    ordered = failures.select(_ASSET, failed_at="happened_at").sort("failed_at")
    next_ones = fired.sort("happened_at").join_asof(
        ordered, left_on="happened_at", right_on="failed_at", by=_ASSET, strategy="forward", check_sortedness=False
    )
    until = pl.max_horizontal(pl.col("happened_at") + within, pl.col("end"))
    followed = pl.col("failed_at") <= until
    return next_ones.filter(~followed.fill_null(value=False)).height
