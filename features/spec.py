"""What a feature is: a name, a definition people can check, and the kernel that computes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]
Batch = TypeVar("Batch")


@dataclass(frozen=True)
class FeatureSpec(Generic[Batch]):
    """One feature. A function and one of these in `features.catalogue` add a feature to every view of its kind."""

    name: str
    unit: str
    """`{unit}` stands for the unit of the point; empty for a pure number."""
    formula: str
    source: str
    """Where the definition can be looked up."""
    kernel: Callable[[Batch], npt.NDArray[Any]]
    """A pure function of a batch of windows -> one value per window, NaN where undefined."""
    undefined: str = ""
    """When the value is missing, besides in a window that is not valid."""
    version: int = 1
    """Goes up whenever the same window gives another value than before."""
    dtype: pl.DataType = field(default=pl.Float64())


def each_window(ufunc: np.ufunc, values: Floats) -> Floats:
    """[windows, samples] -> [windows]: the ufunc over the samples of each window by itself."""
    reduced: Floats = ufunc.reduce(values, axis=1)
    return reduced


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """numerator / denominator; NaN where the denominator is not positive."""
    undefined = np.full_like(denominator, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)
