"""What tsfel says of the same real windows: the same number where conventions agree, else by the stated relation.

docs/beside-tsfel.md tells these relations to the reader; its table has a row for each pair here.
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

from features.kernels.spectrum import spectra
from features.kernels.vibration import Waveforms
from features.rows.catalogue import SPECTRAL, TIME
from features.spec import Floats

PAGE: Final = Path(__file__).parents[3] / "docs" / "beside-tsfel.md"
RECORDS: Final = {"12k_DE_IR007_105_0": 12_000, "97_Normal_0": 48_000}
WINDOWS: Final = 20


def shaped(window: Floats, power: Floats) -> Floats:
    """A signal [N] whose amplitudes, which are what tsfel weighs frequencies by, are our powers [N/2 + 1]."""
    return np.asarray(irfft(power, n=len(window)))


Relation = Callable[[Floats, Floats, float], float]
"""Of a window [N], its powers [N/2 + 1] without DC, and fs: our figure, out of tsfel's."""

RELATIONS: Final[dict[tuple[str, str], Relation]] = {
    ("mean", "calc_mean"): lambda x, _p, _fs: tsfel.calc_mean(x),
    ("std", "calc_std"): lambda x, _p, _fs: tsfel.calc_std(x),
    ("rms_ac", "rms"): lambda x, _p, _fs: np.sqrt(tsfel.rms(x) ** 2 - tsfel.calc_mean(x) ** 2),
    ("peak", "calc_max"): lambda x, _p, _fs: max(tsfel.calc_max(x - x.mean()), tsfel.calc_max(x.mean() - x)),
    ("p2p", "pk_pk_distance"): lambda x, _p, _fs: tsfel.pk_pk_distance(x),
    ("skewness", "skewness"): lambda x, _p, _fs: tsfel.skewness(x),
    ("kurtosis", "kurtosis"): lambda x, _p, _fs: tsfel.kurtosis(x) + 3,
    ("zero_crossing_rate", "zero_cross"): lambda x, _p, fs: tsfel.zero_cross(x - x.mean()) * fs / (len(x) - 1),
    ("centroid", "spectral_centroid"): lambda x, p, fs: tsfel.spectral_centroid(shaped(x, p), fs),
    ("spread", "spectral_spread"): lambda x, p, fs: tsfel.spectral_spread(shaped(x, p), fs),
    ("entropy", "spectral_entropy"): lambda x, p, fs: tsfel.spectral_entropy(shaped(x, np.sqrt(p)), fs),
}
SAME: Final = ("mean", "std", "p2p", "skewness")
"""Which need no relation."""


@pytest.fixture(scope="module", params=RECORDS.items(), ids=list(RECORDS))
def batch(shared_data: Path, request: pytest.FixtureRequest) -> Waveforms:
    """Windows of a seeded fault, and of a healthy bearing at another rate."""
    name, sample_rate = request.param
    record = loadmat(shared_data / "cwru" / f"{name}.mat")
    signal = next(value for key, value in record.items() if key.endswith("_DE_time")).ravel()
    return Waveforms(signal[: WINDOWS * 2048].reshape(-1, 2048), sample_rate, "g")


def figures(batch: Waveforms) -> dict[str, Floats]:
    """Name -> our [windows]."""
    power = spectra(batch)
    return {spec.name: spec.kernel(batch) for spec in TIME} | {spec.name: spec.kernel(power) for spec in SPECTRAL}


@pytest.mark.parametrize("pair", RELATIONS, ids="-".join)
def test_agrees_with_tsfel_by_the_stated_relation(batch: Waveforms, pair: tuple[str, str]) -> None:
    """Entropy to 2e-4, since tsfel counts DC, which is empty, as one more line."""
    ours, _ = pair
    power = spectra(batch).power
    theirs = [RELATIONS[pair](*each, batch.sample_rate) for each in zip(batch.samples, power, strict=True)]
    np.testing.assert_allclose(figures(batch)[ours], theirs, rtol=2e-4 if ours == "entropy" else 1e-9, atol=1e-12)


def test_power_is_tsfels_power(batch: Waveforms) -> None:
    """Its largest power is a density of the signal over its standard deviation."""
    found = spectra(batch)
    density = found.lines.max(axis=1) / (batch.sample_rate / 2048) / np.var(batch.samples, axis=1)
    theirs = [tsfel.max_power_spectrum(window, batch.sample_rate) for window in batch.samples]
    np.testing.assert_allclose(density, theirs, rtol=1e-9)


@pytest.mark.parametrize("name", ["centroid", "spread", "entropy"])
def test_spectral_figures_differ_as_they_come(batch: Waveforms, name: str) -> None:
    """In the median by 1.5 to 120 %, as the page says: nobody may take one for the other."""
    function = getattr(tsfel, f"spectral_{name}")
    theirs = np.array([function(window, batch.sample_rate) for window in batch.samples])
    assert 0.015 < np.median(np.abs(theirs / figures(batch)[name] - 1)) < 1.2


def test_the_page_tells_every_relation() -> None:
    """And no other; those that need none say so."""
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.*?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {(ours, theirs) for ours, theirs, _ in rows} == set(RELATIONS)
    assert {ours for ours, _, relation in rows if relation == "the same"} == set(SAME)
