"""Compares tsfel and tsfresh with ours on real windows: equal where conventions agree, else by a relation.

docs/comparison-with-other-libraries.md documents these relations; its tables have a row for each of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from scipy.fft import irfft
from scipy.io import loadmat
from tsfel.feature_extraction import features as tsfel
from tsfresh.feature_extraction import feature_calculators as tsfresh

from features.define.catalogue import SPECTRAL, TIME
from features.define.spec import Floats
from features.kernels.spectrum import spectra
from features.kernels.vibration import Waveforms

PAGE: Final = Path(__file__).parents[2] / "docs" / "comparison-with-other-libraries.md"
RECORDS: Final = {"12k_DE_IR007_105_0": 12_000, "97_Normal_0": 48_000}
WINDOWS: Final = 20
N: Final = 2048


def shaped(power: Floats) -> Floats:
    """A signal [N] whose amplitudes, which are what both weigh frequencies by, are our powers [N/2 + 1]."""
    return np.asarray(irfft(power, n=N))


def fisher(adjusted: float) -> float:
    """Excess kurtosis of the sample, from the estimate for the population that pandas gives."""
    return ((N - 2) * (N - 3) / (N - 1) * adjusted - 6) / (N + 1)


def of_lines(signal: Floats, what: str) -> float:
    """A moment of the amplitudes over the number of the line, by tsfresh."""
    return float(dict(tsfresh.fft_aggregated(signal, [{"aggtype": what}]))[f'aggtype_"{what}"'])


Relation = Callable[[Floats, Floats, float], float]
"""Of a window [N], its powers [N/2 + 1] without DC, and fs: our figure, out of theirs."""

TSFEL: Final[dict[tuple[str, str], Relation]] = {
    ("mean", "calc_mean"): lambda x, _p, _fs: tsfel.calc_mean(x),
    ("std", "calc_std"): lambda x, _p, _fs: tsfel.calc_std(x),
    ("rms_ac", "rms"): lambda x, _p, _fs: np.sqrt(tsfel.rms(x) ** 2 - tsfel.calc_mean(x) ** 2),
    ("peak", "calc_max"): lambda x, _p, _fs: max(tsfel.calc_max(x - x.mean()), tsfel.calc_max(x.mean() - x)),
    ("p2p", "pk_pk_distance"): lambda x, _p, _fs: tsfel.pk_pk_distance(x),
    ("skewness", "skewness"): lambda x, _p, _fs: tsfel.skewness(x),
    ("kurtosis", "kurtosis"): lambda x, _p, _fs: tsfel.kurtosis(x) + 3,
    ("zero_crossing_rate", "zero_cross"): lambda x, _p, fs: tsfel.zero_cross(x - x.mean()) * fs / (N - 1),
    ("centroid", "spectral_centroid"): lambda _x, p, fs: tsfel.spectral_centroid(shaped(p), fs),
    ("spread", "spectral_spread"): lambda _x, p, fs: tsfel.spectral_spread(shaped(p), fs),
    ("entropy", "spectral_entropy"): lambda _x, p, fs: tsfel.spectral_entropy(shaped(np.sqrt(p)), fs),
}
TSFRESH: Final[dict[tuple[str, str], Relation]] = {
    ("mean", "mean"): lambda x, _p, _fs: tsfresh.mean(x),
    ("std", "standard_deviation"): lambda x, _p, _fs: tsfresh.standard_deviation(x),
    ("rms_ac", "root_mean_square"): lambda x, _p, _fs: np.sqrt(tsfresh.root_mean_square(x) ** 2 - tsfresh.mean(x) ** 2),
    ("peak", "absolute_maximum"): lambda x, _p, _fs: tsfresh.absolute_maximum(x - x.mean()),
    ("skewness", "skewness"): lambda x, _p, _fs: tsfresh.skewness(x) * (N - 2) / np.sqrt(N * (N - 1)),
    ("kurtosis", "kurtosis"): lambda x, _p, _fs: fisher(tsfresh.kurtosis(x)) + 3,
    ("zero_crossing_rate", "number_crossing_m"): lambda x, _p, fs: (
        tsfresh.number_crossing_m(x, x.mean()) * fs / (N - 1)
    ),
    ("centroid", "fft_aggregated"): lambda _x, p, fs: of_lines(shaped(p), "centroid") * fs / N,
    ("spread", "fft_aggregated"): lambda _x, p, fs: np.sqrt(of_lines(shaped(p), "variance")) * fs / N,
}
SAME: Final = {"tsfel": {"mean", "std", "p2p", "skewness"}, "tsfresh": {"mean", "std"}}
"""What needs no relation."""


@pytest.fixture(scope="module", params=RECORDS.items(), ids=list(RECORDS))
def batch(shared_data: Path, request: pytest.FixtureRequest) -> Waveforms:
    """Windows of a seeded fault, and of a healthy bearing at another rate."""
    name, sample_rate = request.param
    record = loadmat(shared_data / "cwru" / f"{name}.mat")
    signal = next(value for key, value in record.items() if key.endswith("_DE_time")).ravel()
    return Waveforms(signal[: WINDOWS * N].reshape(-1, N), sample_rate, "g")


def figures(batch: Waveforms) -> dict[str, Floats]:
    """Name -> our [windows]."""
    power = spectra(batch)
    return {spec.name: spec.kernel(batch) for spec in TIME} | {spec.name: spec.kernel(power) for spec in SPECTRAL}


def assert_agrees(batch: Waveforms, ours: str, relation: Relation) -> None:
    """Entropy to 2e-4, since tsfel counts DC, which is empty, as one more line."""
    theirs = [relation(*each, batch.sample_rate) for each in zip(batch.samples, spectra(batch).power, strict=True)]
    np.testing.assert_allclose(figures(batch)[ours], theirs, rtol=2e-4 if ours == "entropy" else 1e-9, atol=1e-12)


@pytest.mark.parametrize("pair", TSFEL, ids="-".join)
def test_agrees_with_tsfel_by_the_stated_relation(batch: Waveforms, pair: tuple[str, str]) -> None:
    """The relation holds on every window."""
    assert_agrees(batch, pair[0], TSFEL[pair])


@pytest.mark.parametrize("pair", TSFRESH, ids="-".join)
def test_agrees_with_tsfresh_by_the_stated_relation(batch: Waveforms, pair: tuple[str, str]) -> None:
    """The relation holds on every window."""
    assert_agrees(batch, pair[0], TSFRESH[pair])


def test_power_is_tsfels_power(batch: Waveforms) -> None:
    """Its largest power is a density of the signal over its standard deviation."""
    found = spectra(batch)
    density = found.lines.max(axis=1) / (batch.sample_rate / N) / np.var(batch.samples, axis=1)
    theirs = [tsfel.max_power_spectrum(window, batch.sample_rate) for window in batch.samples]
    np.testing.assert_allclose(density, theirs, rtol=1e-9)


@pytest.mark.parametrize("name", ["centroid", "spread", "entropy"])
def test_spectral_features_differ_without_the_relation(batch: Waveforms, name: str) -> None:
    """Their medians differ by 1.5 to 120 %, as the page says, so that they are not interchangeable."""
    function = getattr(tsfel, f"spectral_{name}")
    theirs = np.array([function(window, batch.sample_rate) for window in batch.samples])
    assert 0.015 < np.median(np.abs(theirs / figures(batch)[name] - 1)) < 1.2


@pytest.mark.parametrize(("library", "relations"), [("tsfel", TSFEL), ("tsfresh", TSFRESH)])
def test_the_page_states_every_relation(library: str, relations: dict[tuple[str, str], Relation]) -> None:
    """It states no other relation, and says so for features that need none."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {library}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.*?) \|$", section, re.MULTILINE)
    assert {(ours, theirs) for ours, theirs, _ in rows} == set(relations)
    assert {ours for ours, _, relation in rows if relation == "the same"} == SAME[library]
