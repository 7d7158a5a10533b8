"""Batches of windows of waveforms, which kernels take; they stay in the caches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from features.compute.rows.page_arrays import scratch
from features.define.spec import Floats
from features.kernels.diagnosis import Diagnosis
from features.kernels.spectrum import Spectra, spectra
from features.kernels.turning import contradicted
from features.kernels.vibration import Waveforms
from features.windows.stretches import Integers
from features.windows.tiling import Tiling
from historian.plant.model import Bearing

_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Samples of a batch, in bytes: in smaller ones the calls of kernels cost more than the arithmetic."""
_SPARSE: Final = 2
"""Samples from a batch's first to its last, in those of its windows, above which windows are taken one by one."""


class Signal(Protocol):
    """Samples of which a part is taken at a time: an array, or values that are not decoded yet."""

    def __getitem__(self, place: slice, /) -> Floats:
        """Return the samples from `place.start` to `place.stop` - 1."""
        ...


class Machine(NamedTuple):
    """What is known of the machine in each window."""

    shaft: Floats
    """[windows] Hz, NaN where unknown."""
    bearing: Bearing | None
    mean: Floats | None = None
    """[windows] mean speed in Hz, also where it varies; NaN where unknown. None: as `shaft`."""
    end: Integers | None = None
    """[windows] in microseconds since the epoch; for the course of the speed."""
    courses: npt.NDArray[np.object_] | None = None
    """[windows] the `SpeedCourse` of each one's machine; None where the speed is fixed."""

    def part(self, place: slice) -> Machine:
        """Return what is known in some of the windows."""
        return Machine(
            self.shaft[place],
            self.bearing,
            None if self.mean is None else self.mean[place],
            None if self.end is None else self.end[place],
            None if self.courses is None else self.courses[place],
        )


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


def waveform_batches(
    samples: Signal, first: Integers, tiling: Tiling, unit: str, machine: Machine
) -> Iterator[VibrationBatch]:
    """Yield complete windows in batches that stay in the caches.

    Args:
        samples: [samples] of one channel, or of several with the same rate and unit, one after the other.
        first: [windows] index of each window's first sample.
        tiling: how long windows are, and the sample rate.
        unit: of the samples.
        machine: what is known of the machine in each window.
    """
    size = max(1, _BATCH_BYTES // (8 * tiling.samples))
    for start in range(0, len(first), size):
        place = slice(start, start + size)
        windows = _waveforms(samples, first[place], tiling.samples)
        waveforms = Waveforms(windows, tiling.sample_rate, unit, scratch())
        yield VibrationBatch(waveforms, machine.part(place))


def _waveforms(samples: Signal, first: Integers, size: int) -> Floats:
    """[samples] -> [windows, size]; windows that follow each other without overlap need no copy."""
    begin, stop = int(first.min()), int(first.max()) + size
    if stop - begin > _SPARSE * len(first) * size:
        windows = np.empty((len(first), size))
        for window, start in zip(windows, first.tolist(), strict=True):
            window[:] = samples[start : start + size]
        return windows
    part = samples[begin:stop]
    return part.reshape(-1, size) if np.all(np.diff(first) == size) else sliding_window_view(part, size)[first - begin]
