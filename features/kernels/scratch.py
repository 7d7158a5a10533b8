"""Arrays that are reused from batch to batch: new memory from the system costs more than the arithmetic in it."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Scalar = TypeVar("Scalar", bound=np.generic)


class Scratch:
    """Reusable arrays by name. One batch at a time may use them; the next batch overwrites their contents."""

    def __init__(self) -> None:
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, int], dtype: type[Scalar]) -> npt.NDArray[Scalar]:
        """Return an array [rows, columns] with undefined contents.

        Args:
            name: name of the array; the same name may return the same memory.
            shape: rows and columns.
            dtype: type of the numbers.
        """
        rows, columns = shape
        known = self._arrays.get(name)
        if known is None or known.shape[1] != columns or len(known) < rows:
            known = self._arrays[name] = np.empty(shape, dtype)
        return known[:rows]
