"""Samples or stretches of the tag that fills a point -> its windows, and the batches of them that kernels take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from threading import local
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view

from features.compute.rows.speed import ShaftSpeed, Speeds
from features.define.reasons import Reason
from features.define.spec import Floats
from features.define.view_plan import PointTag
from features.kernels.angles import SpeedCourse
from features.kernels.diagnosis import Diagnosis
from features.kernels.process import HeldWindows, Holds, held_windows, holds, process_windows
from features.kernels.scratch import Scratch
from features.kernels.spectrum import Spectra, spectra
from features.kernels.states import StateWindows, coded
from features.kernels.turning import contradicted
from features.kernels.vibration import Waveforms
from features.windows.stretches import Integers, Stretches
from features.windows.tiling import EndRange, Tiling, Windows, burst_windows, epoch_windows, touched_ends
from historian.plant.model import Bearing
from historian.quality import is_good
from historian.stated import RATE_TOLERANCE
from historian.waveforms.encoding import decode

_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Samples of a batch, in bytes: in smaller ones the calls of kernels cost more than the arithmetic."""
_BATCH_WINDOWS: Final = 1024
"""Windows of a batch of held values: overlapping windows use each sample many times."""
_OF_THREAD: Final = local()
_EXPLAINED: Final[tuple[Reason, Reason]] = ("gap", "length")
"""What windows seem to lack where a stretch has another rate."""


class Machine(NamedTuple):
    """What is known of the machine in each window."""

    shaft: Floats
    """[windows] Hz, NaN where unknown."""
    bearing: Bearing | None
    mean: Floats | None = None
    """[windows] mean speed in Hz, also where it varies; NaN where unknown. None: as `shaft`."""
    end: Integers | None = None
    """[windows] in microseconds since the epoch; for the course of the speed."""
    course: SpeedCourse | None = None
    """Measured speeds; None if the speed is fixed."""

    def part(self, place: slice) -> Machine:
        """Return what is known in some of the windows."""
        mean = None if self.mean is None else self.mean[place]
        return self._replace(shaft=self.shaft[place], mean=mean, end=None if self.end is None else self.end[place])


@dataclass(frozen=True)
class VibrationBatch:
    """What the kernels of waveforms take, made when the first one needs it."""

    waveforms: Waveforms
    machine: Machine

    @cached_property
    def spectra(self) -> Spectra:
        """Power spectra of the windows."""
        return spectra(self.waveforms)

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """The windows, their spectra, and the machine, without a speed that the spectrum contradicts."""
        wrong = contradicted(self.spectra, self.machine.shaft)
        shaft, mean = np.where(wrong, np.nan, self.machine.shaft), self.machine.mean
        machine = self.machine._replace(shaft=shaft, mean=None if mean is None else np.where(wrong, np.nan, mean))
        return Diagnosis(self.waveforms, self.spectra, *machine, wrong)

    def __len__(self) -> int:
        return len(self.waveforms.samples)


@dataclass(frozen=True)
class HeldBatch:
    """What the kernels of process and state points take."""

    holds: HeldWindows
    states: StateWindows

    def __len__(self) -> int:
        return len(self.holds.count)


@dataclass(frozen=True)
class PointWindows:
    """The windows of a point, and the batches its kernels take."""

    windows: Windows
    batches: Iterator[VibrationBatch | HeldBatch]
    """Of a vibration point the valid windows, of any other all windows; to be taken once, before another point's."""


@dataclass(frozen=True)
class WaveformWindows(PointWindows):
    """The same of a vibration point."""

    tiling: Tiling
    speeds: Speeds
    """[windows]"""


def point_windows(held: pl.DataFrame, tag: PointTag, wanted: EndRange, speed: ShaftSpeed) -> PointWindows:
    """Find the windows of a point.

    Args:
        held: samples of the tag, or its stretches, timestamp ascending; all from `Windows.resume` of the range before.
        tag: the tag that fills the point.
        wanted: which windows.
        speed: where the shaft's speed comes from.
    """
    if tag.sample_rate is None:
        return _held_windows(held, tag, wanted)
    return _waveform_windows(held, tag, wanted, speed)


def _of_one_tag(windows: Windows, tag: PointTag) -> Windows:
    """Return the windows, not valid if another tag fills the point from some instant in them on."""
    if "tag" not in tag.changed:
        return windows
    return replace(windows, faults={**windows.faults, "changed": np.ones(len(windows.end), np.bool_)})


def _of_its_rate(windows: Windows, signal: Stretches, tiling: Tiling, *, by_bursts: bool) -> Windows:
    """Return the windows, not valid where a stretch has a rate that contradicts the plant file's.

    Of bursts, such a stretch has at most the window at its beginning: else each of its samples would have one.
    """
    other = np.abs(signal.rate - tiling.sample_rate) > RATE_TOLERANCE * tiling.sample_rate
    if not other.any():
        return windows
    touched = signal.touches(other, windows.first, windows.first + windows.found)
    gap, length = (windows.faults[code] & ~touched for code in _EXPLAINED)
    marked = replace(windows, faults={**windows.faults, "gap": gap, "length": length, "rate": touched})
    begins = signal.offsets[:-1][signal.first == 0]
    return marked.only(~touched | np.isin(windows.first, begins)) if by_bursts else marked


def _held_windows(samples: pl.DataFrame, tag: PointTag, wanted: EndRange) -> PointWindows:
    plan = tag.plan
    times, values = samples["timestamp"].to_physical().to_numpy(), samples["value"].to_numpy()
    lookback, known = plan.length + plan.max_staleness, wanted.without_pending
    end = touched_ends(times, times, hop=plan.hop, lookback=lookback, wanted=known)
    codes, names = (values, ()) if "text" not in samples.columns else coded(samples, plan.point.states)
    needed = codes if plan.kind == "state" else values
    usable = ~np.isnan(needed) & samples.select(is_good(pl.col("quality"))).to_series().to_numpy()
    held, lost = (holds(times, values, which, staleness=plan.max_staleness) for which in (usable, ~usable))
    windows = process_windows(times, held, lost, end, length=plan.length, resume=known.until - lookback)
    windows = _of_one_tag(windows, tag)
    states = replace(held, values=codes[usable])
    return PointWindows(windows, _held_batches(windows, held, states, names, plan.length))


def _held_batches(
    windows: Windows, held: Holds, states: Holds, names: tuple[str, ...], length: int
) -> Iterator[HeldBatch]:
    for start in range(0, max(1, len(windows.end)), _BATCH_WINDOWS):
        place = slice(start, start + _BATCH_WINDOWS)
        end, valid = windows.end[place], windows.valid[place]
        numbers, coded_states = (held_windows(each, end, valid, length=length) for each in (held, states))
        yield HeldBatch(numbers, StateWindows(coded_states, names))


def _waveform_windows(stretches: pl.DataFrame, tag: PointTag, wanted: EndRange, speed: ShaftSpeed) -> WaveformWindows:
    plan, samples = tag.plan, int(stretches["count"].sum())
    values = decode(stretches, _scratch().array("samples of a page", (samples, 1), np.float64)[:, 0]).values
    tiling = Tiling(plan.length, plan.hop, plan.point.sample_rate or 0.0)
    by_bursts = plan.settings.align == "burst"
    tile = burst_windows if by_bursts else epoch_windows
    signal = Stretches.of(stretches, values)
    windows = _of_its_rate(_of_one_tag(tile(signal, tiling, wanted), tag), signal, tiling, by_bursts=by_bursts)
    speeds, valid = speed.at(windows.end), windows.valid
    mean, end = speeds.mean[valid] / 60, windows.end[valid]
    machine = Machine(speeds.shaft[valid], tag.bearing, mean, end, speed.course)
    batches = waveform_batches(values, windows.first[valid], tiling, plan.point.unit, machine)
    return WaveformWindows(windows, batches, tiling, speeds)


def waveform_batches(
    samples: Floats, first: Integers, tiling: Tiling, unit: str, machine: Machine
) -> Iterator[VibrationBatch]:
    """Yield complete windows in batches that stay in the caches.

    Args:
        samples: [samples] of one channel.
        first: [windows] index of each window's first sample.
        tiling: how long windows are, and the sample rate.
        unit: of the samples.
        machine: what is known of the machine in each window.
    """
    size, scratch = max(1, _BATCH_BYTES // (8 * tiling.samples)), _scratch()
    for start in range(0, len(first), size):
        place = slice(start, start + size)
        windows = _waveforms(samples, first[place], tiling.samples)
        waveforms = Waveforms(windows, tiling.sample_rate, unit, scratch)
        yield VibrationBatch(waveforms, machine.part(place))


def _scratch() -> Scratch:
    """Return this thread's scratch memory, kept between calls: a first batch in new memory takes twice as long."""
    if not hasattr(_OF_THREAD, "scratch"):
        _OF_THREAD.scratch = Scratch()
    found: Scratch = _OF_THREAD.scratch
    return found


def _waveforms(samples: Floats, first: Integers, size: int) -> Floats:
    """[samples] -> [windows, size]; windows that follow each other without overlap need no copy."""
    if np.all(np.diff(first) == size):
        return samples[first[0] : first[-1] + size].reshape(-1, size)
    return sliding_window_view(samples, size)[first]
