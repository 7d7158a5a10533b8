"""Columns that tell the target too well to be true: often something a person wrote down knowing the outcome. Pure.

`days until the next repair` predicts failures splendidly, and will not be there when it is needed. A high number is no
proof: a good feature of an easy problem has one too. It is a question to be answered by whoever uses the set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from features.tables.labels import EVENT_TIMESTAMP, OWN

Measure = Literal["auc", "spearman", "auc of missing"]
_MOST_CLASSES: Final = 20
_FEWEST_ROWS: Final = 8


@dataclass(frozen=True)
class Suspect:
    """How well one column by itself tells the target."""

    column: str
    measure: Measure
    """`auc` (for a target of few values, the best told from the rest), `spearman`, or the auc of its being missing.

    A word counts as the mean target of other rows with it."""
    value: float
    """The better of both directions: 0.5 to 1 for an auc, 0 to 1 for a correlation."""


def is_classes(target: pl.Series) -> bool:
    """Whether the target is one of a few things rather than a quantity."""
    return not target.dtype.is_float() and target.drop_nulls().n_unique() <= _MOST_CLASSES


def beside(labels: pl.DataFrame, target: str) -> pl.DataFrame:
    """What a person wrote beside the target, without what a label itself consists of (`OWN`).

    Times, also as text, become seconds after the label's: what was written later is greater than zero.
    """
    others = labels.drop(target, *OWN, strict=False)
    return others.with_columns(_seconds_after(column, labels[EVENT_TIMESTAMP]) for column in others)


def association(columns: pl.DataFrame, target: pl.Series) -> list[Suspect]:
    """The strongest measure of each column, numbers, flags or words, or of its being missing, in the columns' order.

    A target that is neither numbers nor of few values tells nothing; neither does a column with hardly any rows.
    """
    if is_classes(target):
        flags = [(target == value).cast(pl.Float64) for value in target.drop_nulls().unique().sort()]
        return [_strongest([each for flag in flags for each in _of_class(column, flag)], column) for column in columns]
    if not target.dtype.is_numeric():
        return []
    return [_strongest(_of_quantity(column, target.cast(pl.Float64).fill_nan(None)), column) for column in columns]


def suspects(columns: pl.DataFrame, target: pl.Series, *, threshold: float) -> list[Suspect]:
    """Those of `association` at or above the threshold, strongest first; a correlation counts as (1 + |rho|)/2."""
    found = [suspect for suspect in association(columns, target) if _as_auc(suspect) >= threshold]
    return sorted(found, key=lambda suspect: (-_as_auc(suspect), suspect.column))


def _as_auc(suspect: Suspect) -> float:
    return (1 + suspect.value) / 2 if suspect.measure == "spearman" else suspect.value


def _strongest(found: Sequence[Suspect], column: pl.Series) -> Suspect:
    return max(found, key=_as_auc, default=Suspect(column.name, "auc", 0.5))


def _of_class(column: pl.Series, flag: pl.Series) -> list[Suspect]:
    number = _as_number(column)
    area = max(0.5, _area(_told_by_words(column, flag), flag)) if number is None else auc(number, flag)
    missing = auc(column.is_null().cast(pl.Float64), flag)
    return [Suspect(column.name, "auc", area), Suspect(column.name, "auc of missing", missing)]


def _of_quantity(column: pl.Series, target: pl.Series) -> list[Suspect]:
    number = _as_number(column)
    rho = _spearman(_told_by_words(column, target), target) if number is None else abs(_spearman(number, target))
    missing = auc(target, column.is_null().cast(pl.Float64))
    return [Suspect(column.name, "spearman", max(0.0, rho)), Suspect(column.name, "auc of missing", missing)]


def _as_number(column: pl.Series) -> pl.Series | None:
    """None for words; what is neither, such as lists, is no number but null."""
    if isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum):
        return None
    physical = column.to_physical()
    if physical.dtype.is_numeric() or physical.dtype == pl.Boolean():
        return physical.cast(pl.Float64)
    return pl.Series(column.name, [None] * len(column), dtype=pl.Float64)


def _told_by_words(column: pl.Series, target: pl.Series) -> pl.Series:
    """The mean target of the rows with the same word in the other half of the rows; where it has none, of all rows.

    Had a row a say in its own number, words that hardly ever occur would tell everything. A row's half is by its
    target's rank in turn, so that both halves have the same targets. Only a greater number for a greater target counts.
    """
    rows = pl.DataFrame({"word": column, "target": target})
    halves = rows.with_columns(half=pl.col("target").rank("ordinal") % 2)
    total, count = (
        each.over("word") - each.over("word", "half") for each in (pl.col("target").sum(), pl.count("target"))
    )
    told = pl.when(count > 0).then(total / count).otherwise(pl.col("target").mean())
    return halves.select(pl.when(pl.col("word").is_not_null()).then(told)).to_series()


def _seconds_after(column: pl.Series, instant: pl.Series) -> pl.Series:
    times = column
    if column.dtype == pl.String():
        times = column.str.to_datetime(strict=False, time_unit="us", time_zone="UTC")
        if times.null_count() > column.null_count():
            return column
    elif column.dtype == pl.Date():
        times = column.cast(pl.Datetime("us", "UTC"))
    elif isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is None:
        times = column.dt.replace_time_zone("UTC")
    return (times - instant).dt.total_microseconds() / 1e6 if isinstance(times.dtype, pl.Datetime) else column


def auc(column: pl.Series, flag: pl.Series) -> float:
    """The area under the ROC curve of telling flag 1 from 0 by the column, nulls left out; ties count half.

    The better of both directions; 0.5 where one of the two hardly occurs.
    """
    area = _area(column, flag)
    return max(area, 1 - area)


def _area(column: pl.Series, flag: pl.Series) -> float:
    both = pl.DataFrame({"column": column.fill_nan(None), "flag": flag}).drop_nulls()
    ones = both.filter(pl.col("flag") == 1).height
    zeros = both.height - ones
    if min(ones, zeros) < _FEWEST_ROWS:
        return 0.5
    ranks = float(both.select(pl.col("column").rank("average").filter(pl.col("flag") == 1).sum()).item())
    return (ranks - ones * (ones + 1) / 2) / (ones * zeros)


def _spearman(column: pl.Series, target: pl.Series) -> float:
    both = pl.DataFrame({"column": column.fill_nan(None), "target": target}).drop_nulls()
    if both.height < _FEWEST_ROWS or both["column"].n_unique() == 1 or both["target"].n_unique() == 1:
        return 0.0
    return float(both.select(pl.corr("column", "target", method="spearman")).item())
