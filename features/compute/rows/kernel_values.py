"""Batches of windows -> what the kernels of a point compute of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from features.compute.rows.point_windows import HeldBatch
from features.compute.rows.vibration_batches import Machine, Signal, VibrationBatch, waveform_batches
from features.define.catalogue import DEFAULT_GROUPS
from features.define.spec import Batch, FeatureGroup, FeatureSpec
from features.windows.stretches import Integers
from features.windows.tiling import Tiling
from historian.errors import FeatureError

Values = dict[str, npt.NDArray[Any]]
"""Feature name -> [windows]."""


def kernel_values(batches: Iterable[VibrationBatch | HeldBatch], groups: Iterable[FeatureGroup]) -> Values:
    """Run the kernels of groups over batches of windows.

    Args:
        batches: what the kernels take, in the order of the windows.
        groups: whose kernels.

    Returns:
        Feature name -> [windows]; empty arrays where there is no batch.

    Raises:
        FeatureError: a kernel does not return one value per window.
    """
    specs = [(group.takes, spec) for group in groups for spec in group.specs]
    parts: dict[str, list[npt.NDArray[Any]]] = {spec.name: [] for _, spec in specs}
    for batch in batches:
        for takes, spec in specs:
            parts[spec.name].append(_computed(spec, getattr(batch, takes), len(batch)))
    return {name: np.concatenate(found) if found else np.empty(0) for name, found in parts.items()}


def waveform_values(
    samples: Signal,
    first: Integers,
    tiling: Tiling,
    unit: str,
    groups: Iterable[FeatureGroup] = DEFAULT_GROUPS,
    machine: Machine | None = None,
) -> Values:
    """Compute the features of complete windows of a waveform.

    Args:
        samples: [samples] of one channel, or of several with the same rate and unit, one after the other.
        first: [windows] index of each window's first sample.
        tiling: how long windows are, and the sample rate.
        unit: of the samples.
        groups: what to compute.
        machine: what groups that take a diagnosis need to know.

    Returns:
        Feature name -> [windows].

    Raises:
        FeatureError: a kernel does not return one value per window.
    """
    machine = machine or Machine(np.full(len(first), np.nan), None)
    return kernel_values(waveform_batches(samples, first, tiling, unit, machine), groups)


def _computed(spec: FeatureSpec[Batch], batch: Batch, count: int) -> npt.NDArray[Any]:
    """Return [windows] what the spec's kernel computes of a batch of `count` windows, in memory of its own."""
    values = spec.kernel(batch)
    if values.shape != (count,):
        raise FeatureError(
            f"the kernel of {spec.name} made {values.shape} of {count} windows; it must return an array [windows]"
        )
    return values.copy()  # it may be part of scratch memory, which the next batch overwrites
