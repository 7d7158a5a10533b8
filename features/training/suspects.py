"""Columns that predict the target too well to be true: often something a person wrote down knowing the outcome. Pure.

`days until the next repair` predicts failures very well, but is not available when a prediction is needed. A high value
is no proof: a good feature of an easy problem has one too. The user of the training set has to decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from features.tables.labels import EVENT_TIMESTAMP, RESERVED
from features.training.classes import is_classes

Measure = Literal["auc", "spearman", "auc of missing"]
_FEWEST_ROWS: Final = 8


@dataclass(frozen=True)
class Suspect:
    """How well one column by itself predicts the target."""

    column: str
    measure: Measure
    """`auc` (for a target of few values, of the value best separated from the rest), `spearman`, or the auc of the
    column being missing.

    A word counts as the mean target of other rows with it."""
    value: float
    """The better of both directions: 0.5 to 1 for an auc, 0 to 1 for a correlation."""


def label_columns(labels: pl.DataFrame, target: str) -> pl.DataFrame:
    """Return the columns that a person wrote in addition to the target, without the `RESERVED` ones.

    Times, also as text, become seconds after the label's: what was written later is greater than zero.

    Args:
        labels: event_timestamp and any other columns.
        target: Name of the column to be predicted.
    """
    others = labels.drop(target, *RESERVED, strict=False)
    return others.with_columns(_seconds_after(column, labels[EVENT_TIMESTAMP]) for column in others)


def association(columns: pl.DataFrame, target: pl.Series) -> list[Suspect]:
    """Return the strongest measure of each column, or of its being missing, in the columns' order.

    A target that neither is numbers nor takes few values yields none; a column with fewer than eight rows yields 0.5.

    Args:
        columns: Numbers, flags or words; a row for each label.
        target: The label column to be predicted.
    """
    if is_classes(target):
        flags = [(target == value).cast(pl.Float64) for value in target.drop_nulls().unique().sort()]
        return [_strongest([each for flag in flags for each in _of_class(column, flag)], column) for column in columns]
    if not target.dtype.is_numeric():
        return []
    return [_strongest(_of_quantity(column, target.cast(pl.Float64).fill_nan(None)), column) for column in columns]


def suspects(columns: pl.DataFrame, target: pl.Series, *, threshold: float) -> list[Suspect]:
    """Return those of `association` at or above the threshold, strongest first.

    Args:
        columns: Numbers, flags or words; a row for each label.
        target: The label column to be predicted.
        threshold: An AUC; a correlation counts as (1 + |rho|)/2.
    """
    found = [suspect for suspect in association(columns, target) if _as_auc(suspect) >= threshold]
    return sorted(found, key=lambda suspect: (-_as_auc(suspect), suspect.column))


def _as_auc(suspect: Suspect) -> float:
    return (1 + suspect.value) / 2 if suspect.measure == "spearman" else suspect.value


def _strongest(found: Sequence[Suspect], column: pl.Series) -> Suspect:
    return max(found, key=_as_auc, default=Suspect(column.name, "auc", 0.5))


def _of_class(column: pl.Series, flag: pl.Series) -> list[Suspect]:
    number = _as_number(column)
    area = max(0.5, _area(_target_mean_by_word(column, flag), flag)) if number is None else auc(number, flag)
    missing = auc(column.is_null().cast(pl.Float64), flag)
    return [Suspect(column.name, "auc", area), Suspect(column.name, "auc of missing", missing)]


def _of_quantity(column: pl.Series, target: pl.Series) -> list[Suspect]:
    number = _as_number(column)
    rho = _spearman(_target_mean_by_word(column, target), target) if number is None else abs(_spearman(number, target))
    missing = auc(target, column.is_null().cast(pl.Float64))
    return [Suspect(column.name, "spearman", max(0.0, rho)), Suspect(column.name, "auc of missing", missing)]


def _as_number(column: pl.Series) -> pl.Series | None:
    """Return the column as numbers: None for words, null for other types such as lists."""
    if isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum):
        return None
    physical = column.to_physical()
    if physical.dtype.is_numeric() or physical.dtype == pl.Boolean():
        return physical.cast(pl.Float64)
    return pl.Series(column.name, [None] * len(column), dtype=pl.Float64)


def _target_mean_by_word(column: pl.Series, target: pl.Series) -> pl.Series:
    """Return the mean target of rows with the same word in the other half of the rows, or of all rows if there is none.

    If a row counted towards its own number, words that hardly ever occur would predict everything. Rows go to the two
    halves in turn, in order of their target, so that both have the same targets. Only a greater number for a greater
    target counts.
    """
    rows = pl.DataFrame({"word": column, "target": target})
    halves = rows.with_columns(half=pl.col("target").rank("ordinal") % 2)
    total, count = (
        each.over("word") - each.over("word", "half") for each in (pl.col("target").sum(), pl.count("target"))
    )
    mean = pl.when(count > 0).then(total / count).otherwise(pl.col("target").mean())
    return halves.select(pl.when(pl.col("word").is_not_null()).then(mean)).to_series()


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
    """Return the area under the ROC curve of separating flag 1 from 0 by the column, without nulls; ties count half.

    Args:
        column: Numbers.
        flag: 0 and 1.

    Returns:
        The better of both directions, 0.5 to 1; 0.5 where one of the two flags has fewer than eight rows.
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
