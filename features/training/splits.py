"""Splits without leakage: by time, by asset or by episode, never by row unless forced. Pure.

Two rows overlap if one's label looks into the time that another's features were computed from. Of two rows on either
side of a border the earlier is left out ("purged") if the end of its label plus the longest feature window lies after
the time of the later one: a gap of at least window + horizon. Features may be older than their label, so a row is also
purged if its label ends after the start of any window that a later row of the same asset was computed from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from math import inf
from typing import Final, Literal

import numpy as np
import polars as pl

from features.tables.labels import ASSET, EPISODE, EVENT_TIMESTAMP
from features.training.seeded import name_lots, row_lots
from historian.errors import InvalidInput, near_misses

SPLIT: Final = "split"
NAMES: Final = ("train", "validation", "test")
_T: Final = pl.col(EVENT_TIMESTAMP)
By = Literal["time", "asset", "episode", "random"]

WHY_NOT_RANDOM: Final = (
    "a random split puts rows of one run, even of one window, on both sides, and the scores it gives do not come true: "
    "bearing by bearing they fall sharply (arXiv 2509.22267), the usual split of CWRU's data leaks (arXiv 2407.14625, "
    "Hendriks 2022), and the same bearing in several splits is over-optimistic (arXiv 2309.17001). Split by asset, "
    "episode or time, or add --force-random"
)


@dataclass(frozen=True)
class SplitSpec:
    """How a training set is to be split."""

    by: By
    shares: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Shares of train, validation and test in the rows, as closely as whole groups allow."""
    hold_out: tuple[str, ...] = ()
    """Assets or episodes that are the test set; the other two shares apply to the rest."""
    seed: int = 0
    forced: bool = False
    """Whether a random split is wanted although it leaks."""


@dataclass(frozen=True)
class Split:
    """The assignment of rows to splits."""

    names: pl.Series
    """Split of each row: train, validation or test; null where the row is purged."""
    purged: Mapping[str, int]
    """Number of purged rows, by the split they would have been in."""
    purged_for_age: Mapping[str, int]
    """Number of rows purged only because the features of a later row are old, by split."""


def split(labels: pl.DataFrame, spec: SplitSpec, *, label_end: pl.Series, window: timedelta, began: pl.Series) -> Split:
    """Assign every label row to a split.

    Args:
        labels: asset, event_timestamp, and `episode` to split by it.
        spec: The way to split.
        label_end: The instant up to which each row's label looks.
        window: The longest window of the features used.
        began: The start of the earliest window that each row's features were computed from; null if it has none.

    Raises:
        InvalidInput: a random split that is not forced, too few groups, or nothing to hold out.
    """
    _check(labels, spec)
    if spec.by == "time":
        names, border = _by_time(labels, spec)
    elif spec.by == "random":  # nothing would be left
        return Split(_by_row(labels, spec), dict.fromkeys(NAMES, 0), dict.fromkeys(NAMES, 0))
    else:
        names = _by_group(labels, spec)
        border = _first_elsewhere(labels, names, labels[EVENT_TIMESTAMP])
    near = (label_end + window > border).fill_null(value=False)
    aged = (label_end > _first_elsewhere(labels, names, began)).fill_null(value=False) & ~near
    return Split(names.set(near | aged, None), _counts(names, near | aged), _counts(names, aged))


def _counts(names: pl.Series, purged: pl.Series) -> dict[str, int]:
    return {name: int(((names == name) & purged).sum()) for name in NAMES}


def _check(labels: pl.DataFrame, spec: SplitSpec) -> None:
    if spec.by == "random" and not spec.forced:
        raise InvalidInput(WHY_NOT_RANDOM)
    if not all(0 <= share < inf for share in spec.shares) or sum(spec.shares) <= 0:
        raise InvalidInput(f"the shares {', '.join(f'{share:g}' for share in spec.shares)} leave no rows")
    if spec.hold_out and spec.by not in ("asset", "episode"):
        raise InvalidInput("only assets and episodes can be held out; split by asset or episode")
    if SPLIT in labels.columns:
        raise InvalidInput(f"the labels have a column {SPLIT!r} already; rename it, or leave out --split")
    if spec.by == "episode" and EPISODE not in labels.columns:
        raise InvalidInput(f"the labels have no column {EPISODE!r}; make them by a rule, or split by asset or time")


def _bounds(spec: SplitSpec) -> tuple[float, float]:
    """The cumulative shares at which validation and test begin."""
    train, validation, _ = (share / sum(spec.shares) for share in spec.shares)
    return train, train + validation


def _by_time(labels: pl.DataFrame, spec: SplitSpec) -> tuple[pl.Series, pl.Series]:
    """The splits in order of time; and for each row where the next split that has a share begins."""
    ordered = labels[EVENT_TIMESTAMP].sort()
    places = [round(bound * len(ordered)) for bound in _bounds(spec)]
    borders = [pl.lit(ordered[place], ordered.dtype) for place in places if place < len(ordered)]
    number = pl.sum_horizontal(pl.lit(0), *((border <= _T).cast(pl.Int32) for border in borders))
    following = pl.coalesce(*(pl.when(border > _T).then(border) for border in borders), pl.lit(None, ordered.dtype))
    found = labels.select(number=number, border=following)
    return _named(found["number"]), found["border"]


def _named(number: pl.Series) -> pl.Series:
    return number.replace_strict(list(range(len(NAMES))), list(NAMES), return_dtype=pl.String).alias(SPLIT)


def _by_row(labels: pl.DataFrame, spec: SplitSpec) -> pl.Series:
    place = np.argsort(np.argsort(row_lots(labels, spec.seed), kind="stable")) / max(1, labels.height)
    return _named(pl.Series(np.searchsorted(_bounds(spec), place, side="right"), dtype=pl.Int32))


def _group_sizes(column: pl.Series, spec: SplitSpec) -> dict[str, int]:
    """Return the number of labels of each asset or episode, sorted by name."""
    if column.null_count():
        raise InvalidInput(
            f"{column.null_count()} labels have no {spec.by}; give each its own, or split by asset or time"
        )
    rows = dict(column.value_counts().sort(column.name).iter_rows())
    if unknown := [name for name in spec.hold_out if name not in rows]:
        raise InvalidInput(
            "\n".join(f"no label is of the {spec.by} {name!r}{near_misses(name, rows)}" for name in unknown)
        )
    return rows


def _by_group(labels: pl.DataFrame, spec: SplitSpec) -> pl.Series:
    """Whole assets or episodes, drawn in an order that follows from the seed."""
    column = labels[ASSET if spec.by == "asset" else EPISODE].cast(pl.String)
    rows = _group_sizes(column, spec)
    free = [name for name in rows if name not in spec.hold_out]
    drawn = [free[place] for place in np.argsort(name_lots(free, spec.seed), kind="stable")]
    shares = dict(zip(NAMES, spec.shares, strict=True))
    wanted = {name: share for name, share in shares.items() if share and not (spec.hold_out and name == "test")}
    if len(drawn) < len(wanted):
        raise InvalidInput(
            f"{len(drawn)} {spec.by}s cannot be split into {', '.join(wanted)}; "
            f"give one a share of 0, or hold some out as the test set"
        )
    group = dict(_filled(drawn, [rows[name] for name in drawn], wanted)) | dict.fromkeys(spec.hold_out, "test")
    return column.replace_strict(group, return_dtype=pl.String).alias(SPLIT)


def _filled(names: Sequence[str], rows: Sequence[int], wanted: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Each name with its split: in turn, as many rows as its share, but at least one name a split."""
    total, splits = sum(rows), list(wanted)
    ends = [total * share / sum(wanted.values()) for share in accumulate(wanted.values())]
    current, taken = 0, 0
    for number, (name, before, count) in enumerate(zip(names, accumulate([0, *rows]), rows, strict=False)):
        full = before + count / 2 >= ends[current] and taken > 0
        needed = len(names) - number == len(splits) - 1 - current  # one name is left for each split still empty
        if current < len(splits) - 1 and (full or needed):
            current, taken = current + 1, 0
        taken += 1
        yield name, splits[current]


def _first_elsewhere(labels: pl.DataFrame, names: pl.Series, instants: pl.Series) -> pl.Series:
    """For each row the least instant of the asset's rows from its time on that are in another split; null if none."""
    rows = labels.select(ASSET, EVENT_TIMESTAMP).with_columns(names.alias(SPLIT), instants.alias("instant"))
    ordered = rows.with_row_index("row").sort(EVENT_TIMESTAMP)
    # Windows differ and rows expire: a later row's features may begin earlier, so the nearest row is not enough.
    least = pl.col("instant").cum_min(reverse=True).over(ASSET)
    found = pl.lit(None, instants.dtype)
    for name in NAMES:
        there = ordered.filter(pl.col(SPLIT) == name, pl.col("instant").is_not_null())
        there = there.select(ASSET, EVENT_TIMESTAMP, least.alias(name))
        there = there.unique([ASSET, EVENT_TIMESTAMP], keep="first", maintain_order=True)
        ordered = ordered.join_asof(there, on=EVENT_TIMESTAMP, by=ASSET, strategy="forward", check_sortedness=False)
        found = pl.min_horizontal(found, pl.when(pl.col(SPLIT) != name).then(name))
    return ordered.sort("row").select(found.alias("border")).to_series()
