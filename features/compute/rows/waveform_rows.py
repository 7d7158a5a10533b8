"""Samples of one vibration tag -> its windows and what their features come to, in batches that stay in the caches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from threading import local
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view

from features.compute.rows.missing import Values, is_extreme, is_missing, missing_flags, spread
from features.compute.rows.point_windows import WaveformWindows
from features.compute.rows.speed import Speeds
from features.define.catalogue import DEFAULT_GROUPS, point_groups, tells_speed
from features.define.reasons import Flags, reason_texts
from features.define.spec import FeatureGroup, FeatureSpec, Floats, computed
from features.kernels.bearing import misfits
from features.kernels.diagnosis import Diagnosis
from features.kernels.scratch import Scratch
from features.kernels.spectrum import ACCELERATION, Spectra, spectra
from features.kernels.vibration import Waveforms
from features.windows.tiling import Booleans, Integers, Span, Tiling, burst_windows, epoch_windows, microseconds
from historian.plant.connections import Tag
from historian.plant.model import Bearing
from historian.plant.plant import View
from historian.quality import is_good

_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Of samples per call of the kernels: in smaller batches the calls cost more than the arithmetic."""
_OF_THREAD: Final = local()
_CLIPPED: Final = 0.01
"""Of full scale."""


class Machine(NamedTuple):
    """What is known of the machine in each window."""

    shaft: Floats
    """[windows] Hz, NaN where unknown."""
    bearing: Bearing | None


@dataclass(frozen=True)
class _Batch:
    """What the groups' kernels take, made when the first one asks."""

    waveforms: Waveforms
    machine: Machine

    @cached_property
    def spectra(self) -> Spectra:
        return spectra(self.waveforms)

    @cached_property
    def diagnosis(self) -> Diagnosis:
        return Diagnosis(self.waveforms, self.spectra, *self.machine)


def waveform_values(
    values: Floats,
    first: Integers,
    tiling: Tiling,
    unit: str,
    groups: Iterable[FeatureGroup] = DEFAULT_GROUPS,
    machine: Machine | None = None,
) -> Values:
    """The features of the windows that start at the indices `first` of `values`.

    Args:
        values: [samples] of one channel.
        first: [windows]
        tiling: how long windows are, and the sample rate.
        unit: of the values.
        groups: what to compute.
        machine: what groups that take a diagnosis need to know.
    """
    specs = [(group.takes, spec) for group in groups for spec in group.specs]
    result = {spec.name: np.empty(len(first)) for _, spec in specs}
    shaft, bearing = machine or Machine(np.full(len(first), np.nan), None)
    scratch, size = _scratch(), max(1, _BATCH_BYTES // (8 * tiling.samples))
    for start in range(0, len(first), size):
        place = slice(start, start + size)
        samples = _waveforms(values, first[place], tiling.samples)
        batch = _Batch(Waveforms(samples, tiling.sample_rate, unit, scratch), Machine(shaft[place], bearing))
        for takes, spec in specs:
            result[spec.name][place] = computed(spec, getattr(batch, takes), len(samples))
    return result


def _scratch() -> Scratch:
    """This thread's, kept from call to call: the first batch in new memory takes more than twice as long."""
    if not hasattr(_OF_THREAD, "scratch"):
        _OF_THREAD.scratch = Scratch()
    found: Scratch = _OF_THREAD.scratch
    return found


def waveform_rows(
    samples: pl.DataFrame, tag: Tag, view: View, span: Span, speeds_at: Callable[[Integers], Speeds]
) -> tuple[WaveformWindows, Values]:
    """The windows of a vibration tag that end in the span, and their features.

    Args:
        samples: of that tag, timestamp ascending, value and quality; all from `Windows.resume` of the span before.
        tag: whose samples.
        view: what to compute.
        span: which windows.
        speeds_at: ends of windows -> their speeds.
    """
    times, values = samples["timestamp"].to_physical().to_numpy(), samples["value"].to_numpy()
    usable = _usable(samples)
    tiling = Tiling(microseconds(view.window), microseconds(view.hop), tag.sample_rate or 0.0)
    windows = (epoch_windows if view.align == "epoch" else burst_windows)(times, usable, tiling, span)
    speeds, valid = speeds_at(windows.end), windows.valid
    groups, first = point_groups(view, tag).values(), windows.first[valid]
    machine = Machine(speeds.shaft[valid], tag.bearing)
    found = waveform_values(values, first, tiling, tag.unit, (*groups, _remarks(tag)), machine)
    specs = [spec for group in groups for spec in group.specs]
    extreme = found["extreme"] == 1
    if extreme.any():
        for spec in specs:
            found[spec.name][extreme] = np.nan
    flags: Flags = {}
    if any(is_missing(each).any() for each in found.values()):
        known: Flags = {
            **{code: holds[valid] for code, holds in speeds.faults.items()},
            "geometry": np.full(len(first), tag.bearing is None or bool(misfits(tag.bearing))),
            "unit": np.full(len(first), tag.unit not in ACCELERATION),
            "constant": found["constant"] == 1,
            "magnitude": extreme,
        }
        flags = missing_flags(specs, found, known, len(first))
    told = speeds.faults if tells_speed(view, tag) else {}
    reason = reason_texts({**windows.faults, **spread(flags, valid, otherwise=False), **told}, len(valid))
    features = spread(found, valid, np.nan)
    return WaveformWindows(windows, reason, tiling, features["clipped"], speeds), features


def _usable(samples: pl.DataFrame) -> Booleans:
    """[samples] whether each is Good and has a value. Mostly all are, which is told by the worst."""
    good, known = is_good(pl.col("quality").max()), pl.col("value").null_count() == 0
    if samples.select(good & known).item():
        return np.ones(samples.height, dtype=bool)
    return samples.select(is_good(pl.col("quality")) & pl.col("value").is_not_null()).to_series().to_numpy()


def _waveforms(values: Floats, first: Integers, size: int) -> Floats:
    """[samples] -> [windows, size]; windows that follow each other without overlap need no copy."""
    if np.all(np.diff(first) == size):
        return values[first[0] : first[-1] + size].reshape(-1, size)
    return sliding_window_view(values, size)[first]


def _remarks(tag: Tag) -> FeatureGroup:
    """What is told of a window besides its features."""
    clipped = partial(_clipped, limits=tag.range)
    return FeatureGroup(
        "waveforms",
        (
            FeatureSpec("clipped", "", "as in", "features.compute.rows.point_windows", clipped),
            FeatureSpec("constant", "", "max v = min v", "features.define.reasons", _constant),
            FeatureSpec("extreme", "", "as in", "features.define.reasons", _extreme),
        ),
    )


def _clipped(batch: Waveforms, *, limits: tuple[float, float] | None) -> Floats:
    """The share of samples that are no further than 1 % of full scale from one of the limits."""
    low, high = limits or (np.nan, np.nan)
    margin = _CLIPPED * max(abs(low), abs(high))
    share = np.full(len(batch.samples), 0.0 if limits else np.nan)
    near = (batch.highest >= high - margin) | (batch.lowest <= low + margin)
    if near.any():
        samples = batch.samples[near]
        share[near] = np.mean((samples >= high - margin) | (samples <= low + margin), axis=1)
    return share


def _constant(batch: Waveforms) -> Booleans:
    """[windows] whether all samples of each are equal."""
    return np.equal(batch.highest, batch.lowest)


def _extreme(batch: Waveforms) -> Booleans:
    """[windows] whether the samples of each are too large or too small to be computed with."""
    return is_extreme(batch.lowest, batch.highest)
