"""Drift of a feature's distribution since a training set was made, by PSI and KS. Pure.

Population stability index (Siddiqi 2006, Credit Risk Scorecards): PSI = sum over bins of (a - e) ln(a / e), e and a the
shares of training and live values in a bin. Bins are the training set's deciles (for words: each word of either side),
and one for missing values, so that a dead sensor is noticed. Without drift, n PSI is about chi-squared with bins - 1
degrees of freedom and 1/n = 1/training + 1/live (Yurdakul and Naranjo 2020, doi 10.21314/JRMV.2020.227): small
samples may differ by chance, and do not count as drifted below its 99 % quantile.

Kolmogorov-Smirnov: D = sup |F(training) - F(live)|, over present values; undefined for words, which have no
order. Its 99 %
quantile without drift is about 1.628 / sqrt(n) (Smirnov 1948), n as above.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import chi2

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
"""[2, bins] the numbers of training and of live values in each bin."""

_BINS: Final = 10
_QUANTILE: Final = 0.99
_KS_QUANTILE: Final = 1.628
_LEAST: Final = 0.5
"""Number of values assumed in an empty bin, because ln 0 is infinite; a bin empty on both sides is left out."""


@dataclass(frozen=True)
class Drift:
    """The difference between a feature's live values and its training values."""

    feature: str
    training: int
    """Number of training values, missing ones included; `live` is that of live values."""
    live: int
    psi: float | None
    """Population stability index; None if one side has no values."""
    ks: float | None
    """Kolmogorov-Smirnov distance; None for words, and if one side has no present values."""
    drifted: bool


def drift(
    training: Mapping[str, pl.Series], live: Mapping[str, pl.Series], *, most_psi: float = 0.25, most_ks: float = 0.2
) -> list[Drift]:
    """Compare the features that both sides have.

    A feature has drifted if its PSI or KS is above both its threshold and the 99 % quantile of chance.

    Args:
        training: Training values by feature; numbers, flags or words.
        live: Live values by feature, in the same types.
        most_psi: Threshold of PSI; 0.1 is commonly read as some, 0.25 as much drift.
        most_ks: Threshold of KS, between 0 and 1.
    """
    return [_drift(name, values, live[name], most_psi, most_ks) for name, values in training.items() if name in live]


def psi(counts: Counts) -> float:
    """Return the population stability index (Siddiqi 2006); both sides must have values.

    Args:
        counts: [2, bins]
    """
    used = counts[:, counts.any(axis=0)]
    expected, actual = np.maximum(used, _LEAST) / counts.sum(axis=1, keepdims=True)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def number_counts(training: Floats, live: Floats) -> Counts:
    """Count numbers in the training set's deciles, (low, high], and in a last bin for missing values, NaN.

    Args:
        training: Training values.
        live: Live values.
    """
    edges = _edges(training)
    return np.stack([_counts(training, edges), _counts(live, edges)])


def word_counts(training: pl.Series, live: pl.Series) -> Counts:
    """Count words: a bin for missing values, and one for each word of either side.

    Args:
        training: Training values.
        live: Live values.
    """
    places = pl.concat([training, live]).rank("dense").fill_null(0).to_numpy()
    bins = int(places.max(initial=1)) + 1
    return np.stack([np.bincount(side, minlength=bins) for side in np.split(places, [len(training)])])


def ks(training: Floats, live: Floats) -> float:
    """Return Kolmogorov-Smirnov's D of two samples without NaN; equals `scipy.stats.ks_2samp(...).statistic`.

    Args:
        training: Training values.
        live: Live values.
    """
    first, second = np.sort(training), np.sort(live)
    every = np.concatenate([first, second])
    shares = [np.searchsorted(side, every, side="right") / len(side) for side in (first, second)]
    return float(np.max(np.abs(shares[0] - shares[1])))


def _drift(name: str, training: pl.Series, live: pl.Series, most_psi: float, most_ks: float) -> Drift:
    if live.dtype == pl.String():
        counts, distance, chance = word_counts(training, live), None, 0.0
    else:
        one, two = _floats(training), _floats(live)
        counts = number_counts(one, two)
        distance, chance = _ks_and_chance(one[~np.isnan(one)], two[~np.isnan(two)])
    index = psi(counts) if counts.any(axis=1).all() else None
    drifted = index is not None and index > max(most_psi, _chance_psi(counts))
    drifted = drifted or (distance is not None and distance > max(most_ks, chance))
    return Drift(name, len(training), len(live), index, distance, drifted)


def _ks_and_chance(one: Floats, two: Floats) -> tuple[float | None, float]:
    """Return KS and its 99 % quantile for two samples of one distribution."""
    if not (len(one) and len(two)):
        return None, 0.0
    return ks(one, two), _KS_QUANTILE / sqrt(_effective_size(len(one), len(two)))


def _chance_psi(counts: Counts) -> float:
    """Return the 99 % quantile of PSI for two samples of one distribution."""
    return float(chi2.ppf(_QUANTILE, counts.shape[1] - 1)) / _effective_size(*counts.sum(axis=1).tolist())


def _effective_size(one: int, two: int) -> float:
    return one * two / (one + two)


def _edges(training: Floats) -> Floats:
    """Return the inner edges of the training set's deciles: fewer if many values are equal, none if all are missing."""
    present = training[~np.isnan(training)]
    shares = np.arange(1, _BINS) / _BINS
    edges: Floats = np.unique(np.quantile(present, shares)) if len(present) else np.empty(0)
    return edges


def _counts(values: Floats, edges: Floats) -> npt.NDArray[np.int64]:
    present = values[~np.isnan(values)]
    counts = np.bincount(np.searchsorted(edges, present, side="left"), minlength=len(edges) + 1)
    return np.append(counts, len(values) - len(present))


def _floats(values: pl.Series) -> Floats:
    floats: Floats = values.cast(pl.Float64()).to_numpy()
    return floats
