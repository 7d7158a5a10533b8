"""Which feature row was known at a label's time: the join that decides whether a training set leaks.

Both sides are narrow: keys, times and a row number. The features themselves are gathered afterwards by row number, so a
wide table costs no more to join than a small one. Pure: frames in, row numbers out.

Polars' own as-of join supports neither ties nor a second time axis, and needs both sides fully sorted by time. Here
rows are sorted by time, unless they are already, and then by key with a counting sort; each label finds its row by
bisection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csc_array

EVENT: Final = "__event"
"""Column (Datetime with zone) with a label's time, or a feature row's event timestamp."""
CREATED: Final = "__created"
"""Column (Datetime with zone, may be null) with the time at which a feature row was computed."""
ROW: Final = "__row"
"""Column (UInt32) with a feature row's number in its table."""

_GROUP: Final = "__group"
_EARLIEST: Final = np.iinfo(np.int64).min
_LONGEST: Final = np.iinfo(np.int64).max

_Whole = npt.NDArray[np.int64]
_Unit = Literal["us", "ns"]


@dataclass(frozen=True)
class _Timeline:
    """The newest known row of each group over time: from each of `times` on, it is the row at `place` of its table."""

    first: _Whole
    """Index at which each group starts, and the end of the last one. A group is in order of time."""
    times: _Whole
    place: npt.NDArray[Any]


def as_of_rows(
    labels: pl.DataFrame,
    rows: pl.DataFrame | pl.LazyFrame,
    keys: Sequence[str],
    *,
    ttl: timedelta | None,
    created_by_label_time: bool,
) -> pl.Series:
    """Return the number of the newest feature row with T - ttl <= event timestamp <= T for each label's time T.

    Of rows with the same event timestamp the one created last counts; a null created timestamp comes before all others.
    If these are equal too, the later row in `rows` counts.

    Args:
        labels: `keys` and `EVENT`, any order, repeats allowed.
        rows: `keys`, `EVENT`, `CREATED` and `ROW`, any order. Of a lazy frame only rows of the labels' keys are held,
            without these keys.
        keys: Columns that must be equal; a null equals nothing. Without keys every row may serve every label.
        ttl: None or zero for unlimited.
        created_by_label_time: Whether only rows created at or before T count, so that a correction made later changes
            nothing.

    Returns:
        One number of `ROW` per label, in the labels' order; null where no row qualifies.
    """
    schema = rows.lazy().collect_schema()
    unit: _Unit = "ns" if "ns" in (_unit(labels.schema), _unit(schema)) else "us"
    groups = labels.select(keys).unique().drop_nulls().with_row_index(_GROUP) if keys else None
    known = _grouped(rows.lazy(), groups, keys, unit)
    timeline = _timeline(known, 1 if groups is None else groups.height, created_by_label_time=created_by_label_time)
    wanted = _grouped(labels.lazy().with_row_index(ROW), groups, keys, unit)
    times = _whole(wanted[EVENT])
    at, valid = _last_before(timeline, times, wanted[_GROUP].to_numpy())
    place = timeline.place[at] if len(timeline.place) else at
    if ttl and len(timeline.place):
        longest = min(ttl // timedelta(microseconds=1) * (1000 if unit == "ns" else 1), _LONGEST)
        valid &= times - _whole(known[EVENT])[place] <= longest
    found = np.full(labels.height, -1, np.int64)
    found[wanted[ROW].to_numpy()[valid]] = known[ROW].gather(place[valid]).to_numpy()
    return pl.select(pl.when(pl.lit(found >= 0)).then(pl.lit(found)).cast(schema[ROW]).alias(ROW)).to_series()


def newest_rows(rows: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """Return the `ROW` numbers of the newest row of each key, ascending; ties go to the row created last.

    Args:
        rows: `keys`, `EVENT`, `CREATED` and `ROW`, any order.
        keys: Columns that identify an entity; without any, all rows are one entity's.
    """
    complete = rows.drop_nulls([*keys, EVENT])
    newest = pl.col(EVENT).max().over(keys) if keys else pl.col(EVENT).max()
    last = complete.filter(pl.col(EVENT) == newest).sort(CREATED, nulls_last=False, maintain_order=True)
    return (last.group_by(keys).last() if keys else last.tail(1))[ROW].sort()


def _unit(schema: pl.Schema) -> str | None:
    dtype = schema[EVENT]
    return dtype.time_unit if isinstance(dtype, pl.Datetime) else None


def _grouped(frame: pl.LazyFrame, groups: pl.DataFrame | None, keys: Sequence[str], unit: _Unit) -> pl.DataFrame:
    """Return rows with a time and keys among `groups`, in order, with times in `unit` and `_GROUP` for the keys."""
    times = pl.col(EVENT, CREATED) if CREATED in frame.collect_schema() else pl.col(EVENT)
    complete = _numbered(frame, groups, keys).drop_nulls([EVENT, _GROUP])
    found = complete.with_columns(times.cast(pl.Datetime(unit, "UTC"))).collect(engine="streaming")
    return found.with_columns(found[name].rechunk() for name in (EVENT, _GROUP))


def _numbered(frame: pl.LazyFrame, groups: pl.DataFrame | None, keys: Sequence[str]) -> pl.LazyFrame:
    if groups is None:
        return frame.with_columns(pl.lit(0, pl.UInt32).alias(_GROUP))
    if groups.schema[keys[0]] == pl.String and len(keys) == 1:  # a join takes twice as long
        place = pl.col(keys[0]).cast(pl.Enum(groups[keys[0]]), strict=False).to_physical()
        return frame.with_columns(place.alias(_GROUP)).drop(keys)
    return frame.join(groups.lazy(), on=keys, how="inner", maintain_order="left").drop(keys)


def _whole(times: pl.Series) -> _Whole:
    return times.to_physical().fill_null(_EARLIEST).to_numpy()


def _by_group_and_event(rows: pl.DataFrame, groups: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the rows in order of group, then event timestamp, and the first place of each group."""
    group = rows[_GROUP].to_numpy()
    if rows[EVENT].is_sorted():
        return _by_group(group, groups)
    by_event = np.argsort(_whole(rows[EVENT]), kind="stable")
    order, first = _by_group(group[by_event], groups)
    return by_event[order], first


def _timeline(rows: pl.DataFrame, groups: int, *, created_by_label_time: bool) -> _Timeline:
    event, group = _whole(rows[EVENT]), rows[_GROUP].to_numpy()
    order, first = _by_group_and_event(rows, groups)
    times = _taken(event, order)
    order = _by_created(order, times, rows[CREATED], first)
    if not created_by_label_time:
        return _Timeline(first, times, order)
    created = _whole(rows[CREATED])
    # A row becomes known at the later of its two times. Once a newer row is known, one that arrives late is not used
    # any more: a running maximum over the place in order gives the valid row from each arrival on. Groups follow one
    # another, so the maximum restarts with each.
    order = order[created[order] != _EARLIEST]
    known = np.maximum(event, created)[order]
    arrivals = np.lexsort((known, group[order]))
    first = np.append([0], np.cumsum(np.bincount(group[order], minlength=groups)))
    return _Timeline(first, known[arrivals], order[np.maximum.accumulate(arrivals)])


def _by_group(group: npt.NDArray[Any], groups: int) -> tuple[npt.NDArray[Any], _Whole]:
    """Return a stable order by group, the start of each group in it, and the end of the last one.

    SciPy transposes a matrix with one entry a row by a counting sort, many times faster than NumPy's sorts.
    """
    places = np.arange(len(group) + 1, dtype=np.int32)
    marks = csc_array((np.ones(len(group), np.int8), group.astype(np.int32), places), (groups, len(group))).tocsr()
    return marks.indices.view(np.uint32), marks.indptr.astype(np.int64)


def _taken(values: _Whole, order: npt.NDArray[Any]) -> _Whole:
    """Return `values[order]`, computed on all cores."""
    return pl.Series(values).gather(pl.Series(order)).to_numpy()


def _by_created(order: npt.NDArray[Any], times: _Whole, created: pl.Series, first: _Whole) -> npt.NDArray[Any]:
    """Return the order with rows of equal group and event timestamp sorted by created timestamp."""
    same = times[1:] == times[:-1]
    same[first[(first > 0) & (first < len(times))] - 1] = False
    if not same.any():
        return order
    places = np.flatnonzero(np.append(same, [False]) | np.append([False], same))
    run = np.cumsum(np.append([True], ~same))[places]
    sorted_order = order.copy()
    sorted_order[places] = order[places][np.lexsort((_whole(created)[order[places]], run))]
    return sorted_order


def _last_before(timeline: _Timeline, times: _Whole, group: npt.NDArray[Any]) -> tuple[_Whole, npt.NDArray[np.bool_]]:
    """Return for each time and group the last entry of the timeline at or before it, and whether there is one."""
    if not len(timeline.times) or not len(times):
        return np.zeros(len(times), np.int64), np.zeros(len(times), np.bool_)
    known, sought = timeline.times, times
    if (int(known.max()) - int(known.min()) + 2) * len(timeline.first) > _LONGEST:
        order = np.unique(times)  # ranks compare as the times do, and need fewer bits
        known, sought = np.searchsorted(order, known), np.searchsorted(order, times)
    # Group and time as one number, so that all groups are searched together.
    start = known.min() - 1
    span = known.max() - start + 1
    of_group = np.arange(len(timeline.first)) * span
    marks = np.repeat(of_group[:-1] - start, np.diff(timeline.first))
    marks += known
    wanted = of_group[group] + (np.clip(sought, start, start + span - 1) - start)
    order = np.argsort(wanted)  # searching in order is fast, since neighbours share cache lines
    at = np.empty(len(wanted), np.int64)
    at[order] = np.searchsorted(marks, wanted[order], side="right") - 1
    return at, at >= timeline.first[group]
