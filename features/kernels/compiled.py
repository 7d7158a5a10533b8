"""Loops as machine code: several sums in one pass over a window, where NumPy would go through memory once for each.

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
"""Sums may be split into lanes and products fused into them; NaN and infinity stay what they are."""


def compiled(loop: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return the loop, compiled at its first call; it lets other threads run meanwhile.

    The same window gives the same bits at any place in memory: the lanes of a sum start at its first sample.
    """

    @cache
    def machine_code() -> Callable[Arguments, Result]:
        njit = import_module("numba").njit
        options = {"nogil": True, "error_model": "numpy", "fastmath": set(_REORDERED)}
        try:
            made: Callable[Arguments, Result] = njit(loop, cache=True, **options)
        except RuntimeError:  # there is no place this user may write to
            made = njit(loop, **options)
        return made

    @wraps(loop)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return machine_code()(*args, **kwargs)

    return call
