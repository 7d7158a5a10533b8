"""What the kernels of several points compute, those of vibration points that differ only by name in common batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from features.compute.rows.kernel_values import Values, waveform_values
from features.compute.rows.page_arrays import PageArrays
from features.compute.rows.point_windows import WaveformPoint
from features.compute.rows.vibration_batches import Machine, Signal
from features.windows.stretches import Integers
from historian.plant.model import Bearing


def waveform_point_values(page: PageArrays, points: Sequence[WaveformPoint]) -> dict[str, Values]:
    """Run the kernels of vibration points.

    Args:
        page: has the values of their waveforms.
        points: their windows.

    Returns:
        Point -> feature name -> [valid windows].
    """
    return {name: values for alike in _alike(points) for name, values in _values_of_alike(page.values, alike)}


def _alike(points: Sequence[WaveformPoint]) -> Iterator[list[WaveformPoint]]:
    """Group points whose kernels are the same."""
    left = list(points)
    while left:
        alike = [each.plan.point == left[0].plan.point for each in left]
        yield [each for each, same in zip(left, alike, strict=True) if same]
        left = [each for each, same in zip(left, alike, strict=True) if not same]


def _values_of_alike(samples: Signal, points: Sequence[WaveformPoint]) -> Iterator[tuple[str, Values]]:
    plan, tiling, valid = points[0].plan, points[0].tiling, [point.windows.valid for point in points]
    groups = (*plan.groups.values(), *plan.checks)
    first, shaft, mean, end, bearing, courses = (
        np.concatenate([each[which] for each, which in zip(arrays, valid, strict=True)])
        for arrays in zip(*map(_known, points), strict=True)
    )
    parts = list(_by_bearing(bearing)) if any(each.takes == "diagnosis" for each in groups) else []
    parts = parts if len(parts) > 1 else [(bearing[0] if parts else None, np.arange(len(first)))]
    found = []
    for each, which in parts:
        machine = Machine(shaft[which], each, mean[which], end[which], courses[which])
        found.append(waveform_values(samples, first[which], tiling, plan.point.unit, groups, machine))
    order = np.argsort(np.concatenate([which for _, which in parts]))
    values = {name: np.concatenate([each[name] for each in found])[order] for name in found[0]}
    edges = accumulate((int(which.sum()) for which in valid), initial=0)
    for point, (begin, stop) in zip(points, pairwise(edges), strict=True):
        yield point.plan.name, {name: each[begin:stop] for name, each in values.items()}


def _known(point: WaveformPoint) -> tuple[npt.NDArray[Any], ...]:
    """Return [windows] each: where windows begin, and what is known of their machines."""
    speeds, windows = point.speeds, point.windows
    return windows.first, speeds.shaft, speeds.mean / 60, windows.end, point.bearing, point.courses


def _by_bearing(bearing: npt.NDArray[np.object_]) -> Iterator[tuple[Bearing | None, Integers]]:
    """Yield each bearing with the windows that have it: a batch has one."""
    kinds: dict[Bearing | None, int] = {each: number for number, each in enumerate(dict.fromkeys(bearing.tolist()))}
    kind = np.array([kinds[each] for each in bearing.tolist()])
    yield from ((each, np.flatnonzero(kind == number)) for each, number in kinds.items())
