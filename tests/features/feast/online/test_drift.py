"""PSI against values worked out by hand, KS against scipy, and no alarm for differences explained by chance."""

from __future__ import annotations

from math import log

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from features.feast.online.drift import Drift, drift, ks, number_counts, psi, word_counts

FLOATS = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60)  # scipy warns of samples of one


@given(FLOATS, FLOATS)
@settings(max_examples=30)
def test_ks_is_scipys(one: list[float], two: list[float]) -> None:
    """The statistic is the same, ties included."""
    assert ks(np.array(one), np.array(two)) == pytest.approx(ks_2samp(one, two, method="asymp").statistic, abs=1e-12)


def test_psi_by_hand() -> None:
    """Ten bins have a tenth each before; then half of the values are in the first and half in the last."""
    training = np.arange(100.0)
    live = np.array([0.0] * 50 + [99.0] * 50)
    expected = 2 * (0.5 - 0.1) * log(0.5 / 0.1) + 8 * (0.005 - 0.1) * log(0.005 / 0.1)
    assert psi(number_counts(training, live)) == pytest.approx(expected)
    assert psi(number_counts(training, training)) == 0


def test_psi_counts_missing_values_as_a_bin() -> None:
    """A sensor that is dead half of the time has drifted although the values it gives are the same."""
    training = np.arange(100.0)
    live = np.concatenate([training, np.full(100, np.nan)])
    tenths = 10 * (0.05 - 0.1) * log(0.05 / 0.1)
    assert psi(number_counts(training, live)) == pytest.approx(tenths + (0.5 - 0.005) * log(0.5 / 0.005))


def test_psi_of_text_by_hand() -> None:
    """Each word is a bin, as are missing values; a word that training did not have counts as half."""
    training = pl.Series(["a"] * 60 + ["b"] * 30 + [None] * 10)
    live = pl.Series([None] * 20 + ["c"] * 20 + ["a"] * 160)
    shares = [(0.6, 0.8), (0.3, 0.5 / 200), (0.1, 0.1), (0.5 / 100, 0.1)]
    expected = sum((actual - expected) * log(actual / expected) for expected, actual in shares)
    assert psi(word_counts(training, live)) == pytest.approx(expected)
    assert psi(word_counts(training, training)) == 0


def test_text_drifts_as_numbers_do() -> None:
    """A new reason and a moved zone have drifted; a constant and an unused one have not."""
    training: dict[str, list[str | None]] = {
        "moved": ["A", "B"] * 150,
        "new": [None] * 300,
        "same": ["A", "B", None] * 100,
        "silent": [None] * 300,
    }
    live: dict[str, list[str | None]] = {
        "moved": ["B", "C"] * 50,
        "new": [None, "gap"] * 50,
        "same": [None, "B", "A"] * 50,
        "silent": [None] * 100,
    }
    sides = [{name: pl.Series(texts, dtype=pl.String) for name, texts in side.items()} for side in (training, live)]
    found = drift(*sides)
    assert {each.feature: each.drifted for each in found} == {
        "moved": True,
        "new": True,
        "same": False,
        "silent": False,
    }
    assert [each.ks for each in found] == [None] * 4
    assert found[-1] == Drift("silent", 300, 100, 0.0, None, drifted=False)
    assert [each.drifted for each in drift(*sides, most_psi=99)] == [False] * 4


def test_a_threshold_decides_between_drift_and_none() -> None:
    """Each threshold counts at exactly its value, but not below what chance explains."""
    sides = {"x": pl.Series(np.arange(300) % 10 + 3.0)}, {"x": pl.Series(np.arange(100) % 10 + 0.0)}
    [found] = drift(*sides)
    assert found.psi is not None
    assert found.ks is not None
    assert found.psi > 0.5
    assert found.ks == pytest.approx(0.3)
    off = 99.0
    for most_psi, most_ks, drifted in (
        (found.psi * 0.999, off, True),
        (found.psi, off, False),
        (off, found.ks * 0.999, True),
        (off, found.ks, False),
    ):
        assert drift(*sides, most_psi=most_psi, most_ks=most_ks)[0].drifted is drifted
    [near] = drift(sides[0], {"x": sides[0]["x"].head(100) - 0.5}, most_psi=off, most_ks=0.05)
    assert near.ks == pytest.approx(0.1)
    assert not near.drifted  # chance alone gives up to 1.628 / sqrt(75) = 0.188


def test_a_moved_feature_has_drifted_and_others_have_not() -> None:
    """A shifted and an always missing feature have drifted; equal, constant and boolean ones have not."""
    random = np.random.default_rng(1)
    same, moved = random.normal(size=3000), random.normal(size=3000) + 1
    training = {
        "moved": pl.Series(random.normal(size=3000)),
        "same": pl.Series(random.normal(size=3000)),
        "constant": pl.Series([1.0] * 3000),
        "flag": pl.Series([True, False] * 1500),
        "dead": pl.Series([1.0, 2.0] * 1500),
        "gone": pl.Series([1.0]),
    }
    live = {
        "moved": pl.Series(moved),
        "same": pl.Series(same),
        "constant": pl.Series([1.0] * 300),
        "flag": pl.Series([True, False] * 150),
        "dead": pl.Series([None] * 300, dtype=pl.Float64()),
    }
    found = {each.feature: each for each in drift(training, live)}
    assert {name: each.drifted for name, each in found.items()} == {
        "moved": True,
        "same": False,
        "constant": False,
        "flag": False,
        "dead": True,
    }
    assert found["dead"].ks is None
    assert found["constant"] == Drift("constant", 3000, 300, 0.0, 0.0, drifted=False)


def test_small_samples_of_one_distribution_raise_no_alarm() -> None:
    """Of 200 pairs, whose PSI is often above 0.25 by chance, hardly any is reported as drifted."""
    random = np.random.default_rng(2)
    pairs = [(random.normal(size=200), random.normal(size=40)) for _ in range(200)]
    reports = [drift({"x": pl.Series(one)}, {"x": pl.Series(two)})[0] for one, two in pairs]
    assert sum(report.psi is not None and report.psi > 0.25 for report in reports) > 40
    assert sum(report.drifted for report in reports) <= 20


def test_missing_live_values_are_reported_and_are_no_drift() -> None:
    """There is nothing to compare."""
    found = drift({"x": pl.Series([1.0, 2.0])}, {"x": pl.Series([], dtype=pl.Float64())})
    assert found == [Drift("x", 2, 0, None, None, drifted=False)]
