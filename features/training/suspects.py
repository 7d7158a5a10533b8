"""Columns that tell the target too well to be true: often something a person wrote down knowing the outcome. Pure.

`days until the next repair` predicts failures splendidly, and will not be there when it is needed. A high number is no
proof: a good feature of an easy problem has one too. It is a question to be answered by whoever uses the set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

Measure = Literal["auc", "spearman", "auc of missing"]
_MOST_CLASSES: Final = 20
_FEWEST_ROWS: Final = 8


@dataclass(frozen=True)
class Suspect:
    """How well one column by itself tells the target."""

    column: str
    measure: Measure
    """`auc` (for a target of few values, the best told from the rest), `spearman`, or the auc of its being missing."""
    value: float
    """The better of both directions: 0.5 to 1 for an auc, 0 to 1 for a correlation."""


def is_classes(target: pl.Series) -> bool:
    """Whether the target is one of a few things rather than a quantity."""
    return not target.dtype.is_float() and target.drop_nulls().n_unique() <= _MOST_CLASSES


def association(columns: pl.DataFrame, target: pl.Series) -> list[Suspect]:
    """The strongest measure of each numeric or Boolean column, in the columns' order.

    A target that is neither numbers nor of few values tells nothing; neither does a column with hardly any rows.
    """
    numeric = columns.select((pl.selectors.numeric() | pl.selectors.boolean()).cast(pl.Float64))
    if is_classes(target):
        classes = target.drop_nulls().unique().sort()
        flags = {f"__{number}": (target == value).cast(pl.Float64) for number, value in enumerate(classes)}
        return [_strongest(column, flags) for column in numeric]
    if not target.dtype.is_numeric():
        return []
    return [Suspect(column.name, "spearman", _spearman(column, target)) for column in numeric]


def suspects(columns: pl.DataFrame, target: pl.Series, *, threshold: float) -> list[Suspect]:
    """Those of `association` at or above the threshold, strongest first; a correlation counts as (1 + |rho|)/2."""
    found = [suspect for suspect in association(columns, target) if _as_auc(suspect) >= threshold]
    return sorted(found, key=lambda suspect: (-_as_auc(suspect), suspect.column))


def _as_auc(suspect: Suspect) -> float:
    return (1 + suspect.value) / 2 if suspect.measure == "spearman" else suspect.value


def _strongest(column: pl.Series, flags: dict[str, pl.Series]) -> Suspect:
    missing = column.is_null().cast(pl.Float64)
    found = [Suspect(column.name, "auc", auc(column, flag)) for flag in flags.values()]
    found += [Suspect(column.name, "auc of missing", auc(missing, flag)) for flag in flags.values()]
    return max(found, key=lambda suspect: suspect.value, default=Suspect(column.name, "auc", 0.5))


def auc(column: pl.Series, flag: pl.Series) -> float:
    """The area under the ROC curve of telling flag 1 from 0 by the column, nulls left out; ties count half.

    The better of both directions; 0.5 where one of the two hardly occurs.
    """
    both = pl.DataFrame({"column": column.fill_nan(None), "flag": flag}).drop_nulls()
    ones = both.filter(pl.col("flag") == 1).height
    zeros = both.height - ones
    if min(ones, zeros) < _FEWEST_ROWS:
        return 0.5
    ranks = float(both.select(pl.col("column").rank("average").filter(pl.col("flag") == 1).sum()).item())
    area = (ranks - ones * (ones + 1) / 2) / (ones * zeros)
    return float(max(area, 1 - area))


def _spearman(column: pl.Series, target: pl.Series) -> float:
    both = pl.DataFrame({"column": column.fill_nan(None), "target": target.cast(pl.Float64)}).drop_nulls()
    if both.height < _FEWEST_ROWS or both["column"].n_unique() == 1 or both["target"].n_unique() == 1:
        return 0.0
    return abs(float(both.select(pl.corr("column", "target", method="spearman")).item()))
