"""Loops are compiled when they are first called, and importing them costs nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from features.define.spec import Floats
from features.kernels.compiled import compiled


@compiled
def sum_of_squares(values: Floats) -> float:
    """Σv²."""
    squares = 0.0
    for value in values:
        squares += value * value
    return squares


def test_gives_what_the_loop_gives() -> None:
    """Compiled or not, the result is the same to the last bit."""
    values = np.random.default_rng(0).normal(size=1000)
    np.testing.assert_allclose(sum_of_squares(values), np.sum(values**2), rtol=1e-14)


def test_threads_may_call_it_first() -> None:
    """Two threads that both find it not yet compiled get the same answer."""
    values = np.arange(100.0)
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(sum_of_squares, [values] * 8)) == {328350.0}


def test_a_loop_that_cannot_be_cached_is_compiled_all_the_same() -> None:
    """Neither the source's directory nor the user's cache may be writable."""
    made: dict[str, Callable[[float], float]] = {}
    exec("def twice(value: float) -> float:\n    return 2 * value", made)  # noqa: S102 - it has no source file
    assert compiled(made["twice"])(21.0) == 42.0


def test_listing_features_does_not_import_the_compiler() -> None:
    """It imports every kernel, and not numba."""
    code = "import sys, features.define.catalogue; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
