"""Reused memory does not affect results."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from features.define.catalogue import SPECTRAL, TIME
from features.kernels.scratch import Scratch
from features.kernels.spectrum import spectra
from features.kernels.vibration import Waveforms


def rows(windows: np.ndarray[tuple[int, int], np.dtype[np.float64]], scratch: Scratch) -> bytes:
    """The bits of all features."""
    batch = Waveforms(windows, 25_600.0, "g", scratch)
    power = spectra(batch)
    found = [spec.kernel(batch) for spec in TIME] + [spec.kernel(power) for spec in SPECTRAL]
    return np.vstack(found).tobytes()


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from([31, 64, 1000])), min_size=2, max_size=5))
@settings(max_examples=30)
def test_batches_of_any_sizes_share_it(shapes: list[tuple[int, int]]) -> None:
    """A batch with more, fewer, longer or shorter windows than the one before gives the bits of fresh memory."""
    shared = Scratch()
    for seed, shape in enumerate(shapes):
        windows = np.random.default_rng(seed).normal(size=shape)
        assert rows(windows, shared) == rows(windows, Scratch())
