"""Memory that batch after batch computes in: fresh memory from the system costs more than the arithmetic done in it."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Scalar = TypeVar("Scalar", bound=np.generic)


class Scratch:
    """Arrays by name. One batch at a time computes in them: the next one overwrites what this one left."""

    def __init__(self) -> None:
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, int], dtype: type[Scalar]) -> npt.NDArray[Scalar]:
        """[rows, columns] with whatever it held before."""
        rows, columns = shape
        known = self._arrays.get(name)
        if known is None or known.shape[1] != columns or len(known) < rows:
            known = self._arrays[name] = np.empty(shape, dtype)
        return known[:rows]
