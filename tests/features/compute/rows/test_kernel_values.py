"""Kernels run over batches of windows; each window's values are independent of memory and of the others."""

from __future__ import annotations

import numpy as np
import pytest

from features.compute.rows.kernel_values import waveform_values
from features.define.catalogue import DEFAULT_GROUPS
from features.define.spec import FeatureGroup, FeatureSpec, Floats
from features.kernels.vibration import Waveforms
from features.windows.tiling import Tiling
from historian.errors import FeatureError

TILING = Tiling(1_000_000, 1_000_000, 25_600.0)
WINDOWS = 50
"""Of 200 KiB each: three batches."""


def noise() -> Floats:
    """[samples] of all windows, each louder than the previous one."""
    loudness = np.repeat(np.arange(1, WINDOWS + 1), TILING.samples)
    return np.random.default_rng(0).normal(size=WINDOWS * TILING.samples) * loudness


def test_batches_give_what_each_window_gives_by_itself() -> None:
    """All features of the default groups agree to the last bit."""
    samples, first = noise(), np.arange(WINDOWS) * TILING.samples
    together = waveform_values(samples, first, TILING, "g")
    alone = [waveform_values(samples, start, TILING, "g") for start in first[:, None]]
    assert together.keys() == {spec.name for group in DEFAULT_GROUPS for spec in group.specs}
    for name, values in together.items():
        assert values.tolist() == [each[name][0] for each in alone], name


def test_windows_far_apart_and_in_any_order_are_taken_one_by_one() -> None:
    """As of many assets: a batch must not take all samples between its first and its last window."""
    samples, size = np.random.default_rng(0).normal(size=4096), 16
    first, tiling = np.array([4000, 7, 2048, 100]), Tiling(size * 1000, size * 1000, 1000.0)

    class Counted:
        taken = 0

        def __getitem__(self, place: slice) -> Floats:
            self.taken += place.stop - place.start
            return samples[place]

    signal = Counted()
    found = waveform_values(signal, first, tiling, "g")
    assert signal.taken == len(first) * size
    assert found["p2p"].tolist() == [np.ptp(samples[start : start + size]) for start in first]


def test_a_kernel_may_return_memory_that_it_uses_again() -> None:
    """The values are copied before the memory is reused."""
    memory = np.empty(WINDOWS)

    def loudness(batch: Waveforms) -> Floats:
        memory[: len(batch.samples)] = np.abs(batch.samples).max(axis=1)
        return memory[: len(batch.samples)]

    samples, first = noise(), np.arange(WINDOWS) * TILING.samples
    group = FeatureGroup("waveforms", (FeatureSpec("loudness", "g", "max|x|", "this test", loudness),))
    found = waveform_values(samples, first, TILING, "g", [group])["loudness"]
    assert found.tolist() == np.abs(samples).reshape(WINDOWS, -1).max(axis=1).tolist()


def test_without_windows_there_are_no_values() -> None:
    """There is one empty array per feature."""
    found = waveform_values(np.zeros(0), np.zeros(0, np.int64), TILING, "g")
    assert {len(values) for values in found.values()} == {0}


@pytest.mark.parametrize("shape", [(0,), (WINDOWS, 1), ()])
def test_a_kernel_must_return_one_value_per_window(shape: tuple[int, ...]) -> None:
    """Otherwise rows would get the values of other windows."""
    spec: FeatureSpec[Waveforms] = FeatureSpec("shapeless", "", "x", "this test", lambda _: np.zeros(shape))
    first = np.arange(WINDOWS) * TILING.samples
    with pytest.raises(FeatureError, match=r"the kernel of shapeless made \(.*\) of 20 windows"):
        waveform_values(noise(), first, TILING, "g", [FeatureGroup("waveforms", (spec,))])
