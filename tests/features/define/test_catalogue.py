"""The catalogue has the documented features, agrees with the plant file's checks, and includes other packages."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from features.compute.rows.kernel_values import waveform_values
from features.define.catalogue import DEFAULT_GROUPS, GROUPS, PROCESS, SPECTRAL, TIME, find_group
from features.define.reasons import REASONS
from features.define.spec import FeatureGroup, FeatureSpec
from features.windows.tiling import Tiling
from historian.errors import ConfigError, FeatureError
from historian.plant.feature_groups import BUILT_IN, DEFAULTS, needs_of
from historian.plant.model import FeatureSet


def test_has_the_registered_features() -> None:
    """There are twelve of the time domain, ten of the spectrum, nine of process tags, and the machine's."""
    assert " ".join(spec.name for spec in TIME) == (
        "mean std rms_ac peak p2p crest skewness kurtosis shape impulse clearance zero_crossing_rate"
    )
    assert " ".join(spec.name for spec in SPECTRAL) == (
        "band_rms_10_1000 band_rms_1000_2000 band_rms_2000_5000 band_rms_5000_10000 vel_rms_10_1000 "
        "centroid spread entropy flatness peak_freq"
    )
    assert (
        " ".join(spec.name for spec in PROCESS) == "mean min max std last slope count good_share seconds_since_change"
    )
    assert list(GROUPS) == [
        "time",
        "spectrum",
        "orders",
        "envelope",
        "kurtogram",
        "verdict",
        "tracking",
        "gears",
        "peakhold",
        "cepstrum",
        "integrated",
        "process",
        "states",
    ]


def test_the_plant_file_is_checked_by_what_the_groups_need() -> None:
    """`penstock check` uses the needs stated in the specs; every kind of point has its defaults."""
    assert {name: group.needs for name, group in GROUPS.items()} == BUILT_IN
    assert all(kind in needs_of(group).kinds for kind, groups in DEFAULTS.items() for group in groups)
    assert tuple(GROUPS[name] for name in DEFAULTS["vibration"]) == DEFAULT_GROUPS
    described = FeatureSet.model_fields["features"].description
    assert described is not None
    assert [name for name in BUILT_IN if name not in described] == []


def test_a_plant_file_is_checked_without_kernels() -> None:
    """`penstock check` starts quickly: it does not import the kernels' libraries."""
    code = "import sys, historian.plant.load; print(sorted({'numba', 'scipy', 'numpy', 'polars'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_every_feature_that_can_be_missing_says_by_which_code() -> None:
    """Other packages may leave this to `other`; built-in features may not."""
    for group in GROUPS.values():
        for spec in group.specs:
            assert bool(spec.undefined) == bool(spec.reasons), spec.name
            assert set(spec.reasons) <= set(REASONS) - {"other"}


@pytest.mark.usefixtures("_plugins")
@pytest.mark.parametrize(
    ("group", "words"),
    [
        ("acme_copy", "group acme_copy: there is a feature constant, rms_ac already"),
        ("acme_spelling", "Sixth-Moment stands in its group 2 times"),
        ("acme_spelling", "'Sixth-Moment' cannot name a column; use lower-case letters"),
        ("acme_spelling", "Sixth-Moment has no formula"),
        ("acme_spelling", "Sixth-Moment has version 0; the first one is 1"),
        ("acme_spelling", "Sixth-Moment gives reasons but does not say what makes it undefined"),
        ("acme_list", "'acme_list' is no FeatureGroup but a list"),
        ("acme_gone", "'acme_gone' cannot be loaded: there is no removed"),
        ("acm", "unknown group of features 'acm'; did you mean acme"),
    ],
)
def test_a_group_that_cannot_be_used_is_refused(group: str, words: str) -> None:
    """The error says what is wrong and with which group."""
    with pytest.raises(ConfigError, match=words):
        find_group(group)


@pytest.mark.usefixtures("_plugins")
def test_a_kernel_must_return_one_value_per_window() -> None:
    """Otherwise rows would get the values of other windows."""
    with pytest.raises(FeatureError, match=r"kernel of shapeless made \(0,\) of 2 windows"):
        waveform_values(np.zeros(128), np.array([0, 64]), Tiling(64, 64, 1e6), "g", [find_group("acme_shape")])


def test_a_reason_must_be_one_of_the_table() -> None:
    """The set of codes is closed."""
    spec = FeatureSpec("x", "", "x", "own", len, reasons=("weather",))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="feature x gives the unknown reason weather; use absent, changed, gap"):
        FeatureGroup("waveforms", (spec,))
