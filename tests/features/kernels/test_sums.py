"""Sums over windows are right, and their bits depend only on the window."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from features.kernels.sums import dot, total

SIZES = [1, 2048, 8192, 8193, 25_600]


@pytest.mark.parametrize("size", SIZES)
def test_sums_are_those_of_exact_arithmetic(size: int) -> None:
    """To 1e-12 of the sum of magnitudes; the second factor may be one for all windows."""
    one, other = np.random.default_rng(size).normal(size=(2, 3, size))
    np.testing.assert_allclose(total(np.abs(one)), np.abs(one).astype(np.longdouble).sum(axis=1), rtol=1e-12)
    products = one.astype(np.longdouble) * other
    np.testing.assert_allclose(dot(one, other), products.sum(axis=1), atol=1e-12 * size)
    np.testing.assert_allclose(
        dot(one, other[0]), (one.astype(np.longdouble) * other[0]).sum(axis=1), atol=1e-12 * size
    )


@pytest.mark.parametrize("size", SIZES)
def test_a_window_has_the_same_sum_at_any_place_in_memory(size: int) -> None:
    """It is computed alone, in a batch, and off the alignment of a cache line."""
    crowd = np.random.default_rng(size).normal(size=(5, size + 1))
    alone = crowd[2:3, 1:].copy()
    assert dot(crowd[:, 1:], crowd[:, 1:])[2].tobytes() == dot(alone, alone)[0].tobytes()
    assert total(crowd[:, 1:])[2].tobytes() == total(alone)[0].tobytes()


def test_the_number_of_threads_does_not_matter() -> None:
    """BLAS with one thread and with two gives the same bits."""
    program = """
import numpy as np
from features.kernels.sums import dot
values = np.random.default_rng(0).normal(size=(2, 100_000))
print(dot(values, values).tobytes().hex())
"""
    results = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(results) == 1
