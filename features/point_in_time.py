"""Which feature row was known at a label's time: the join that decides whether a training set leaks.

Both sides are narrow: keys, times and a row number. The features themselves are gathered afterwards by row number, so a
wide table costs no more to join than a small one. Pure: frames in, row numbers out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import polars as pl

EVENT: Final = "__event"
"""Datetime with zone: a label's time; a feature row's event timestamp."""
CREATED: Final = "__created"
"""Datetime with zone, may be null: when a feature row was computed."""
ROW: Final = "__row"
"""UInt32: a feature row's number in its table."""

_LABEL: Final = "__label"
_KNOWN: Final = "__known"
_RANK: Final = "__rank"


def as_of_rows(
    labels: pl.DataFrame, rows: pl.DataFrame, keys: Sequence[str], *, ttl: timedelta | None, known_then: bool
) -> pl.Series:
    """The number of the newest feature row with T - ttl <= event timestamp <= T for each label's time T.

    Of rows with the same event timestamp the one created last counts, a null created timestamp first of all. With
    `known_then` only rows created at or before T count, so that a correction made later changes nothing.

    Args:
        labels: `keys` and `EVENT`, any order, repeats allowed.
        rows: `keys`, `EVENT`, `CREATED` and `ROW`, any order.
        keys: Columns that must be equal; a null equals nothing. Without keys every row may serve every label.
        ttl: None or zero for unlimited.
        known_then: Leave out what was computed after T.

    Returns:
        One number of `ROW` a label, in the labels' order; null where no row qualifies.
    """
    unit = pl.Datetime("ns" if "ns" in (_unit(labels), _unit(rows)) else "us", "UTC")
    known = _by_known_time(rows.with_columns(pl.col(EVENT, CREATED).cast(unit)), keys, known_then=known_then)
    asked = labels.select(*keys, pl.col(EVENT).cast(unit).alias(_KNOWN)).with_row_index(_LABEL).drop_nulls()
    found = asked.sort(_KNOWN).join_asof(known, on=_KNOWN, by=list(keys) or None, check_sortedness=False)
    if ttl:
        found = found.filter(pl.col(_KNOWN) - pl.col(EVENT) <= ttl)
    every = labels.with_row_index(_LABEL).select(_LABEL)
    return every.join(found.select(_LABEL, ROW), on=_LABEL, how="left", maintain_order="left")[ROW]


def newest_rows(rows: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """The `ROW` numbers of the newest row of each key, ascending; ties go to the row created last."""
    complete = rows.drop_nulls([*keys, EVENT])
    newest = pl.col(EVENT).max().over(keys) if keys else pl.col(EVENT).max()
    last = _in_order(complete.filter(pl.col(EVENT) == newest))
    return (last.group_by(keys).last() if keys else last.tail(1))[ROW].sort()


def _unit(frame: pl.DataFrame) -> str | None:
    dtype = frame.schema[EVENT]
    return dtype.time_unit if isinstance(dtype, pl.Datetime) else None


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort(EVENT, CREATED, nulls_last=False, maintain_order=True)


def _by_known_time(rows: pl.DataFrame, keys: Sequence[str], *, known_then: bool) -> pl.DataFrame:
    """`keys`, `_KNOWN`, `EVENT`, `ROW`, sorted by `_KNOWN`: from that instant on, this is the newest row known."""
    ordered = _in_order(rows.drop_nulls([*keys, EVENT]))
    if not known_then:
        return ordered.select(*keys, EVENT, ROW, pl.col(EVENT).alias(_KNOWN))
    # A row becomes known at the later of its two times. Once a newer row is known, one that arrives late is not used
    # any more: a running maximum over the rank in time says which row holds from each arrival on.
    ranked = ordered.with_row_index(_RANK).filter(pl.col(CREATED).is_not_null())
    arrivals = ranked.select(*keys, _RANK, pl.max_horizontal(EVENT, CREATED).alias(_KNOWN)).sort(_KNOWN, _RANK)
    running = pl.col(_RANK).cum_max().over(keys) if keys else pl.col(_RANK).cum_max()
    holding = arrivals.with_columns(running)
    return holding.join(ranked.select(_RANK, EVENT, ROW), on=_RANK, how="left", maintain_order="left")
