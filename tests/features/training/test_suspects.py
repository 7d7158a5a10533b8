"""Columns that reveal the target are found, with a measure that a reference implementation confirms."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from features.training.suspects import Suspect, association, auc, label_columns, suspects

ROWS = 200
RNG = np.random.default_rng(5)
FAILS = RNG.random(ROWS) < 0.3
LOTS = RNG.random(ROWS)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.none() | st.integers(-3, 3), st.booleans()), min_size=1, max_size=60))
def test_the_area_is_that_of_all_pairs(rows: list[tuple[int | None, bool]]) -> None:
    """It is the share of pairs in the right order, ties half, compared with a loop over the pairs."""
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
    """A revealing column and one filled in only afterwards are found; an unrelated one is not."""
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


def test_a_quantity_is_measured_by_rank_correlation() -> None:
    """It is that of scipy; NaN and nulls are left out."""
    life, near = RNG.random(ROWS), RNG.random(ROWS)
    near[:5] = np.nan
    [found] = association(pl.DataFrame({"near": near}), pl.Series("life", life))
    reference = stats.spearmanr(near[5:], life[5:]).statistic
    assert found.measure == "spearman"
    assert found.value == pytest.approx(abs(reference))


@pytest.mark.parametrize(
    "target", [pl.Series(["seal", "ok"] * 100), pl.Series([1, 0] * 100), pl.Series([True, False] * 100)]
)
def test_a_target_of_few_values_is_measured_per_class(target: pl.Series) -> None:
    """It may be text, numbers or flags."""
    columns = pl.DataFrame({"revealing": [1, 0] * 100})
    assert association(columns, target) == [Suspect("revealing", "auc", 1.0)]


def test_a_target_of_many_words_is_not_measured() -> None:
    """Work order numbers are an example."""
    assert association(pl.DataFrame({"n": range(100)}), pl.Series([f"W{number}" for number in range(100)])) == []


def test_a_constant_column_is_no_suspect() -> None:
    """It has no rank correlation."""
    [found] = association(pl.DataFrame({"n": [1.0] * ROWS}), pl.Series(RNG.random(ROWS)))
    assert found.value == 0.0


def test_a_correlation_is_compared_on_the_scale_of_an_area() -> None:
    """(1 + |rho|)/2 of a threshold of 0.95 is |rho| 0.9, whatever its sign."""
    life = RNG.random(ROWS)
    columns = pl.DataFrame({"near": life + 0.1 * RNG.normal(size=ROWS), "far": -life + 0.2 * RNG.normal(size=ROWS)})
    rho = {found.column: found.value for found in association(columns, pl.Series(life))}
    assert 0.9 < rho["near"] < 0.95
    assert 0.6 < rho["far"] < 0.9
    assert [found.column for found in suspects(columns, pl.Series(life), threshold=0.95)] == ["near"]
    assert [found.column for found in suspects(columns, pl.Series(life), threshold=0.8)] == ["near", "far"]


@pytest.mark.parametrize("dtype", [pl.String(), pl.Categorical(), pl.Enum(["burst", "seal", "sound", "well"])])
def test_words_that_are_the_target_are_suspects(dtype: pl.DataType) -> None:
    """A class may have several words, and words may occur only with failures."""
    outcome = np.where(FAILS, np.where(RNG.random(ROWS) < 0.5, "seal", "burst"), np.where(LOTS < 0.5, "sound", "well"))
    only_failures = [str(word) if fails else None for word, fails in zip(outcome, FAILS, strict=True)]
    columns = pl.DataFrame({"outcome": pl.Series(outcome, dtype=dtype), "found": pl.Series(only_failures, dtype=dtype)})
    assert suspects(columns, pl.Series(FAILS), threshold=0.95) == [
        Suspect("found", "auc of missing", 1.0),
        Suspect("outcome", "auc", 1.0),
    ]


@pytest.mark.parametrize("share", [0.5, 0.3, 0.05])
@pytest.mark.parametrize("rows", [400, 401])
@pytest.mark.parametrize("words", [1, 2, 20, 100, 200, 400])
def test_words_unrelated_to_the_target_are_no_suspects(share: float, rows: int, words: int) -> None:
    """From one word for all rows to a few rows per word, for a target of classes and for a quantity."""
    rng = np.random.default_rng(words)
    note = pl.DataFrame({"note": [f"w{number}" for number in rng.permutation(rows) % words]})
    targets = pl.Series(rng.permutation(rows) < share * rows), pl.Series(rng.random(rows))
    assert all(not suspects(note, target, threshold=0.8) for target in targets)


@pytest.mark.parametrize("positives", [40, 41])
def test_names_are_no_suspects_for_being_rare(positives: int) -> None:
    """One for each row, and one for each pair of a failure with a sound row, in whatever halves the two fall."""
    numbers = np.arange(2 * positives)
    columns = pl.DataFrame(
        {"order": [f"W{number}" for number in numbers], "pair": [f"P{number % positives}" for number in numbers]}
    )
    assert [found.value for found in association(columns, pl.Series(numbers < positives))] == [0.5, 0.5]


def test_words_that_are_nearly_right_are_measured_exactly() -> None:
    """Every 21st is wrong: as an area of all pairs, ties half, this is 20/21."""
    fails = np.arange(420) < 210
    word = pl.Series("word", np.where(fails ^ (np.arange(420) % 21 == 0), "worn", "well"))
    [found] = association(word.to_frame(), pl.Series(fails))
    assert found.value == pytest.approx(20 / 21, abs=0.005)


def test_words_and_gaps_can_reveal_a_quantity_too() -> None:
    """A word for each tenth of life, or a finding that is written down only near its end."""
    life = RNG.random(ROWS)
    columns = pl.DataFrame(
        {
            "wear": [f"{tenth}/10" for tenth in (life * 10).astype(int)],
            "finding": [None if left > 0.1 else "pitting" for left in life],
            "note": [str(lot) for lot in LOTS],
        }
    )
    found = suspects(columns, pl.Series(life), threshold=0.95)
    assert [(each.column, each.measure) for each in found] == [("finding", "auc of missing"), ("wear", "spearman")]


def test_times_are_measured_from_their_label() -> None:
    """Times, days or text: a repair after each failure is a suspect, a time that all rows have is not."""
    at = [datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=number) for number in range(ROWS)]
    repair = [time + timedelta(days=2 if fails else 40) for time, fails in zip(at, FAILS, strict=True)]
    labels = pl.DataFrame(
        {
            "asset": "c101",
            "event_timestamp": pl.Series(at, dtype=pl.Datetime("us", "UTC")),
            "fails": FAILS,
            "repair": repair,
            "naive": pl.Series(repair).dt.replace_time_zone(None),
            "day": [time.date() for time in repair],
            "text": [time.isoformat() for time in repair],
            "repaired": [time if fails else None for time, fails in zip(repair, FAILS, strict=True)],
            "built": date(2020, 1, 1),
        }
    )
    columns = label_columns(labels, "fails")
    soon = np.where(FAILS, 2 * 86400.0, 40 * 86400.0).tolist()
    assert [columns[name].to_list() for name in ("repair", "naive", "day", "text")] == [soon] * 4
    found = {each.column: each.measure for each in suspects(columns, labels["fails"], threshold=0.95)}
    assert found == {**dict.fromkeys(("repair", "naive", "day", "text"), "auc"), "repaired": "auc of missing"}


def test_what_a_label_consists_of_is_no_suspect() -> None:
    """Columns added by a rule or a split are excluded, others are not."""
    own = ("asset", "event_timestamp", "fails", "episode", "split", "censored", "at_least_s")
    labels = pl.DataFrame([dict.fromkeys((*own, "note"), 1)])
    assert label_columns(labels, "fails").columns == ["note"]
    assert label_columns(labels.drop("note"), "fails").shape == (1, 0)


def test_columns_of_other_types_may_reveal_the_target_by_being_present() -> None:
    """A list of parts or the bytes of a picture; the duration of a repair is a number."""
    columns = pl.DataFrame(
        {
            "parts": [["seal"] if fails else None for fails in FAILS],
            "picture": [b"\xff" if fails else b"\xfe" for fails in FAILS],
            "took": [timedelta(hours=5 if fails else 1) for fails in FAILS],
        }
    )
    found = [(each.column, each.value) for each in association(columns, pl.Series(FAILS))]
    assert found == [("parts", 1.0), ("picture", 0.5), ("took", 1.0)]
