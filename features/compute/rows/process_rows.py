"""Samples of one slow tag, a number or a state -> its windows and what their features come to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.compute.rows.missing import Values, is_extreme, missing_flags, spread
from features.compute.rows.point_windows import PointWindows
from features.define.catalogue import point_groups
from features.define.reasons import Flags, Texts, reason_texts
from features.define.spec import FeatureGroup, FeatureSpec, Takes, computed
from features.kernels.slow import HeldWindows, Holds, held_windows, holds, maximum, minimum, slow_windows
from features.kernels.states import StateWindows, coded
from features.windows.tiling import Booleans, Span, Windows, microseconds
from historian.plant.connections import Tag
from historian.plant.plant import View
from historian.quality import is_good

_BATCH_WINDOWS: Final = 1024
"""Windows per call of the kernels: overlapping ones use each sample many times."""


def slow_rows(samples: pl.DataFrame, tag: Tag, view: View, span: Span) -> tuple[PointWindows, Values]:
    """The windows of a slow tag that end in the span, and their features.

    Args:
        samples: of that tag, timestamp ascending, value, quality, and text if it is a state; all from `Windows.resume`
            of the span before.
        tag: whose samples.
        view: what to compute.
        span: which windows.
    """
    times, values = samples["timestamp"].to_physical().to_numpy(), samples["value"].to_numpy()
    codes, names = (values, ()) if "text" not in samples.columns else coded(samples, tag.states)
    told = codes if tag.kind == "state" else values
    usable = ~np.isnan(told) & samples.select(is_good(pl.col("quality"))).to_series().to_numpy()
    staleness, length, hop = (microseconds(each) for each in (tag.max_staleness, view.window, view.hop))
    held, lost = (holds(times, values, which, staleness=staleness) for which in (usable, ~usable))
    windows = slow_windows(times, held, lost, length=length, hop=hop, staleness=staleness, span=span)
    states = replace(held, values=codes[usable])
    groups = point_groups(view, tag).values()
    found = _values(groups, held, states, names, windows, length)
    return PointWindows(windows, _reason(groups, found, windows)), found


def _reason(groups: Iterable[FeatureGroup], found: Values, windows: Windows) -> Texts:
    specs = (spec for group in groups for spec in group.specs)
    valid = {name: values[windows.valid] for name, values in found.items()}
    known: Flags = {
        **{code: holds[windows.valid] for code, holds in windows.faults.items()},
        "magnitude": valid["extreme"],
    }
    flags = missing_flags(specs, valid, known, int(windows.valid.sum()))
    flags = spread(flags, windows.valid, otherwise=False)
    return reason_texts({**windows.faults, **flags}, len(windows.end))


def _values(
    groups: Iterable[FeatureGroup],
    held: Holds,
    states: Holds,
    names: tuple[str, ...],
    windows: Windows,
    length: int,
) -> Values:
    groups = (*groups, _REMARKS)
    parts: dict[str, list[npt.NDArray[Any]]] = {spec.name: [] for group in groups for spec in group.specs}
    for start in range(0, max(1, len(windows.end)), _BATCH_WINDOWS):
        place = slice(start, start + _BATCH_WINDOWS)
        end, valid = windows.end[place], windows.valid[place]
        batches: dict[Takes, Any] = {
            "holds": held_windows(held, end, valid, length=length),
            "states": StateWindows(held_windows(states, end, valid, length=length), names),
        }
        for group in groups:
            for spec in group.specs:
                parts[spec.name].append(computed(spec, batches[group.takes], len(end)))
    return {name: np.concatenate(values) for name, values in parts.items()}


def _extreme(batch: HeldWindows) -> Booleans:
    """[windows] whether the values of each are too large or too small to be computed with."""
    return is_extreme(minimum(batch), maximum(batch))


_REMARKS: Final = FeatureGroup("holds", (FeatureSpec("extreme", "", "as in", "features.define.reasons", _extreme),))
"""What is told of a window besides its features."""
