"""Columns that know the outcome are found, and told with a number that a reference gives too."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from features.training.suspects import Suspect, association, auc, suspects

ROWS = 200
RNG = np.random.default_rng(5)
FAILS = RNG.random(ROWS) < 0.3


@settings(max_examples=100)
@given(st.lists(st.tuples(st.none() | st.integers(-3, 3), st.booleans()), min_size=1, max_size=60))
def test_the_area_is_that_of_all_pairs(rows: list[tuple[int | None, bool]]) -> None:
    """The share of pairs told right, ties half; by going through the pairs."""
    ones = [value for value, flag in rows if flag and value is not None]
    zeros = [value for value, flag in rows if not flag and value is not None]
    found = auc(
        pl.Series([value for value, _ in rows], dtype=pl.Float64),
        pl.Series([flag for _, flag in rows], dtype=pl.Boolean).cast(pl.Float64),
    )
    if min(len(ones), len(zeros)) < 8:
        assert found == 0.5
    else:
        area = np.mean([(one > zero) + (one == zero) / 2 for one in ones for zero in zeros])
        assert found == pytest.approx(max(area, 1 - area))


def test_what_was_written_with_hindsight_is_named_with_its_number() -> None:
    """A column that gives the outcome away, one that is filled in only afterwards, and an innocent one."""
    columns = pl.DataFrame(
        {
            "days_left": np.where(FAILS, 1.0, 9.0),
            "repaired_by": pl.Series([7 if fails else None for fails in FAILS]),
            "noise": RNG.normal(size=ROWS),
            "note": ["x"] * ROWS,
        }
    )
    found = suspects(columns, pl.Series("fails", FAILS), threshold=0.95)
    assert found == [Suspect("days_left", "auc", 1.0), Suspect("repaired_by", "auc of missing", 1.0)]


def test_a_quantity_is_told_by_rank_correlation() -> None:
    """As scipy gives it; NaN and nulls left out."""
    life, near = RNG.random(ROWS), RNG.random(ROWS)
    near[:5] = np.nan
    [found] = association(pl.DataFrame({"near": near}), pl.Series("life", life))
    reference = stats.spearmanr(near[5:], life[5:]).statistic
    assert found.measure == "spearman"
    assert found.value == pytest.approx(abs(reference))


@pytest.mark.parametrize(
    "target", [pl.Series(["seal", "ok"] * 100), pl.Series([1, 0] * 100), pl.Series([True, False] * 100)]
)
def test_a_target_of_few_values_is_told_class_by_class(target: pl.Series) -> None:
    """Whether it is written as words, numbers or flags."""
    columns = pl.DataFrame({"tells": [1, 0] * 100})
    assert association(columns, target) == [Suspect("tells", "auc", 1.0)]


def test_a_target_of_many_words_tells_nothing() -> None:
    """Work order numbers, say."""
    assert association(pl.DataFrame({"n": range(100)}), pl.Series([f"W{number}" for number in range(100)])) == []


def test_a_constant_column_is_innocent() -> None:
    """It has no rank correlation at all."""
    [found] = association(pl.DataFrame({"n": [1.0] * ROWS}), pl.Series(RNG.random(ROWS)))
    assert found.value == 0.0
