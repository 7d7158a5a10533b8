"""Loops compiled to machine code: several sums in one pass over a window, where NumPy needs one pass for each.

numba compiles a loop at its first call, and keeps the machine code next to the source or in the user's cache. It is
imported only then, because that takes half a second, and most commands compute nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from importlib import import_module
from typing import Final, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_REORDERED: Final = frozenset({"reassoc", "contract", "nsz"})
"""LLVM's permitted optimisations: sums may be reordered and products fused; NaN and infinity are preserved."""


def compiled(loop: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return the loop, to be compiled at its first call; it releases the interpreter's lock while it runs.

    The same window gives the same bits at any memory address: the lanes of a sum start at its first sample.
    """

    @cache
    def machine_code() -> Callable[Arguments, Result]:
        njit = import_module("numba").njit
        options = {"nogil": True, "error_model": "numpy", "fastmath": set(_REORDERED)}
        try:
            made: Callable[Arguments, Result] = njit(loop, cache=True, **options)
        except RuntimeError:  # no cache directory is writable
            made = njit(loop, **options)
        return made

    @wraps(loop)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return machine_code()(*args, **kwargs)

    return call
