"""An independent audit of every value of a training set, with statistics of the feature rows it uses.

It shares nothing with the point-in-time join: NumPy's binary search on each asset's sorted rows, a step back at a time
where the newest row had not been created yet. It then reads the rows it finds and compares every column with the
training set. Keys and times are held for as many assets at a time as the memory limit allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.feast.offline.join_executor import LOCAL
from features.feast.offline.point_in_time import ROW
from features.tables.labels import ASSET, EVENT_TIMESTAMP
from features.training.pinned import CREATED_TIMESTAMP, PinnedTable
from features.training.splits import SPLIT

Integers = npt.NDArray[np.int64]

_NONE: Final = -1
_BLOCK: Final = 512
_AT: Final = "__at"
_PART: Final = "__part"
_NEWEST: Final = "__newest"
_ROW_BYTES: Final = 128
"""Upper bound on the bytes of a feature row's keys and times, with its place in the order of its asset."""


@dataclass(frozen=True)
class ViewAudit:
    """The expected contents of one view's columns, for each row of the training set."""

    used: pl.DataFrame
    """event_timestamp, created_timestamp of the feature row that serves the label; null where none does."""
    age_s: pl.Series
    """Age of each label's feature row in seconds; null where there is none."""
    expired: pl.Series
    """Whether there was a row for the label, but older than the view's ttl."""
    wrong: dict[str, int]
    """Column -> number of values other than what was known at the label's time: from its future, outdated, or wrong."""
    invalid: dict[str, dict[str, int]]
    """Point -> reason -> number of label rows whose feature row was excluded for its quality."""
    shared: int | None
    """Number of label rows whose feature row also serves another split; None if the labels have no split."""
    beyond_s: pl.Series
    """Seconds by which each label that has features is later than the newest row of its asset; null where it is later
    by no more than a window and a hop, which is how far the newest row is behind anyway."""


def audit_view(
    labels: pl.DataFrame,
    values: pl.DataFrame,
    table: PinnedTable,
    columns: Mapping[str, str],
    *,
    created_by_label_time: bool,
    memory_limit: int = LOCAL.memory_limit,
) -> ViewAudit:
    """Audit the columns of one view.

    Args:
        labels: asset, event_timestamp and perhaps `split`, a row for each of `values`.
        values: The training set's columns `view__feature`.
        table: The view's feature table.
        columns: Column of the training set -> column of the feature table.
        created_by_label_time: Whether a feature row counts only if it had been created by the label's time.
        memory_limit: Bytes that keys and times may take; those of one asset are never divided.
    """
    rows = table.rows([*columns.values()]).filter(_of_assets(labels))
    found = pl.concat(
        _found(part, rows, created_by_label_time=created_by_label_time) for part in _parts(labels, rows, memory_limit)
    ).sort(_AT)
    age = labels[EVENT_TIMESTAMP] - found[EVENT_TIMESTAMP]
    expired = (age > table.ttl).fill_null(value=False) if table.ttl else pl.repeat(value=False, n=len(age), eager=True)
    used = found.with_columns(pl.when(~expired).then(pl.all()).name.keep())
    return ViewAudit(
        used=used.select(EVENT_TIMESTAMP, CREATED_TIMESTAMP),
        age_s=_age_s(labels, used),
        expired=expired.alias("expired"),
        wrong=_wrong(values, used, rows, columns),
        invalid=_invalid(used, table),
        shared=_shared(labels, used) if SPLIT in labels.columns else None,
        beyond_s=_beyond_s(labels, used, table),
    )


def _parts(labels: pl.DataFrame, rows: pl.LazyFrame, memory_limit: int) -> list[pl.DataFrame]:
    """The labels, numbered, in parts of as many assets as fit into memory together."""
    counts = rows.group_by(ASSET).len().collect(engine="streaming").sort(ASSET)
    taken = pl.col("len").cast(pl.Int64).cum_sum() * _ROW_BYTES
    parts = counts.select(ASSET, (taken // memory_limit).alias(_PART))
    numbered = labels.select(ASSET, EVENT_TIMESTAMP).with_row_index(_AT).join(parts, on=ASSET, how="left")
    return numbered.partition_by(_PART) or [numbered]


def _found(labels: pl.DataFrame, rows: pl.LazyFrame, *, created_by_label_time: bool) -> pl.DataFrame:
    """`_AT` of each label, the newest row known at its time (times and number), and the newest of its asset."""
    keys = rows.filter(_of_assets(labels)).select(ASSET, EVENT_TIMESTAMP, CREATED_TIMESTAMP, ROW).collect()
    place = known_rows(labels, keys, created_by_label_time=created_by_label_time)
    times = keys.drop(ASSET)
    found = times[np.where(place == _NONE, 0, place)] if keys.height else times.clear(labels.height)
    known = found.with_columns(pl.when(pl.Series(place != _NONE)).then(pl.all()).name.keep())
    newest = keys.group_by(ASSET).agg(pl.col(EVENT_TIMESTAMP).max().alias(_NEWEST))
    return known.with_columns(labels[_AT], labels.join(newest, on=ASSET, how="left", maintain_order="left")[_NEWEST])


def _of_assets(labels: pl.DataFrame) -> pl.Expr:
    return pl.col(ASSET).is_in(labels[ASSET].unique().implode())


def known_rows(labels: pl.DataFrame, keys: pl.DataFrame, *, created_by_label_time: bool) -> Integers:
    """Return for each label the place in `keys` of the newest row known at its time; -1 where there is none.

    Args:
        labels: asset, event_timestamp.
        keys: asset, event_timestamp, created_timestamp of the feature rows.
        created_by_label_time: Whether rows created after the label's time are left out.
    """
    events, created = (keys[name].to_physical().to_numpy() for name in (EVENT_TIMESTAMP, CREATED_TIMESTAMP))
    instants = labels[EVENT_TIMESTAMP].to_physical().to_numpy()
    known = np.full(labels.height, _NONE, np.int64)
    places = _by_asset(keys)
    for asset, rows in _by_asset(labels).items():
        if asset in places:
            mine = places[asset]
            mine = mine[np.lexsort((created[mine], events[mine]))]
            last = _last_known(events[mine], created[mine] if created_by_label_time else None, instants[rows])
            known[rows] = np.where(last == _NONE, _NONE, mine[np.maximum(last, 0)])
    return known


def _last_known(events: Integers, created: Integers | None, instants: Integers) -> Integers:
    """Return the place of the last row known at each instant, -1 for none; by event time alone without `created`."""
    last: Integers = np.searchsorted(events, instants, side="right") - 1
    return last if created is None else _step_back(created, last, instants)


def _by_asset(frame: pl.DataFrame) -> dict[str, Integers]:
    groups = frame.select(ASSET).with_row_index("place").group_by(ASSET).agg(pl.col("place").cast(pl.Int64))
    return {asset: places.to_numpy() for asset, places in zip(groups[ASSET], groups["place"], strict=True)}


def _step_back(created: Integers, last: Integers, instants: Integers) -> Integers:
    """From each place in `last` back to the first that was created by then; blocks that were not are skipped whole."""
    first_made = np.minimum.reduceat(created, np.arange(0, len(created), _BLOCK))
    open_ = np.flatnonzero((last != _NONE) & (created[last] > instants))
    while len(open_):
        at = last[open_]
        whole = (at % _BLOCK == _BLOCK - 1) & (first_made[at // _BLOCK] > instants[open_])
        last[open_] = at - np.where(whole, _BLOCK, 1)
        at = last[open_]
        open_ = open_[(at != _NONE) & (created[at] > instants[open_])]
    return last


def _wrong(values: pl.DataFrame, used: pl.DataFrame, rows: pl.LazyFrame, columns: Mapping[str, str]) -> dict[str, int]:
    wanted = used[ROW].drop_nulls().unique()
    held = rows.filter(pl.col(ROW).is_in(wanted.implode())).select(ROW, *columns.values()).collect()
    expected = used.select(ROW).join(held, on=ROW, how="left", maintain_order="left")
    counts = {column: int(values[column].ne_missing(expected[feature]).sum()) for column, feature in columns.items()}
    return {column: count for column, count in counts.items() if count}


def _invalid(used: pl.DataFrame, table: PinnedTable) -> dict[str, dict[str, int]]:
    """Label rows whose feature row is not valid, by point and the reason the table gives."""
    schema = table.frame.collect_schema()
    points = [name.removesuffix("_valid") for name in schema if name.endswith("_valid")]
    numbers = used.select(ROW).drop_nulls()
    flags = [f"{point}_{flag}" for point in points for flag in ("valid", "reason") if f"{point}_{flag}" in schema]
    wanted = pl.col(ROW).is_in(numbers[ROW].unique().implode())
    held = numbers.join(table.frame.filter(wanted).select(ROW, *flags).collect(), on=ROW, how="left")
    found = {}
    for point in points:
        reason = pl.col(f"{point}_reason") if f"{point}_reason" in schema else pl.lit(None, pl.String)
        excluded = held.filter(~pl.col(f"{point}_valid")).select(reason.fill_null("not valid").alias("reason"))
        found[point] = dict(excluded["reason"].value_counts().sort("reason").iter_rows())
    return {point: reasons for point, reasons in found.items() if reasons}


def _age_s(labels: pl.DataFrame, used: pl.DataFrame) -> pl.Series:
    age = labels[EVENT_TIMESTAMP] - used[EVENT_TIMESTAMP]
    return (age.dt.total_microseconds() / 1e6).alias("age_s")


def _beyond_s(labels: pl.DataFrame, used: pl.DataFrame, table: PinnedTable) -> pl.Series:
    beyond = labels[EVENT_TIMESTAMP] - used[_NEWEST]
    counts = (beyond > table.window + table.hop) & used[EVENT_TIMESTAMP].is_not_null()
    seconds = (beyond.dt.total_microseconds() / 1e6).alias("beyond_s")
    return pl.select(pl.when(counts).then(seconds)).to_series()


def _shared(labels: pl.DataFrame, used: pl.DataFrame) -> int:
    rows = labels.select(ASSET, SPLIT).with_columns(used[EVENT_TIMESTAMP].alias("used"))
    return rows.drop_nulls().filter(pl.col(SPLIT).n_unique().over(ASSET, "used") > 1).height
