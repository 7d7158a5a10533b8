"""The features of a vibration window that depend on the machine: its shaft's speed and its bearing.

Without them they are undefined, never guessed. Conventions are in `features.kernels.vibration`; a line, its floor and
the demodulated band are defined in `features.kernels.envelope`; `features.kernels.verdict` draws the conclusion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.define.spec import FeatureSpec, Floats
from features.kernels.angles import order_lines, over_angle, shaft_at
from features.kernels.bearing import FaultOrders, fault_orders, misfits
from features.kernels.envelope import Envelopes, Line, envelopes, fault_lines
from features.kernels.kurtogram import Kurtogram, kurtogram
from features.kernels.orders import order_amplitudes
from features.kernels.peak_hold import held_peaks, held_spectra
from features.kernels.spectrum import Spectra
from features.kernels.vibration import Waveforms
from features.kernels.window_verdict import Texts, WindowVerdicts, window_verdicts
from features.windows.stretches import Booleans, Integers
from historian.plant.model import Bearing

LINES: Final = ("bpfo", "bpfi", "bsf2", "ftf")
"""Fields of `FaultOrders`; the features of the lines are named after them."""

MULTIPLES: Final = (0.5, 1.0, 2.0, 3.0)


@dataclass(frozen=True)
class Diagnosis:
    """A batch of complete windows with speed and bearing, and intermediate results of several kernels."""

    waveforms: Waveforms
    power: Spectra
    """Power spectra of the waveforms."""
    shaft: Floats
    """[windows] mean speed of the shaft in Hz; NaN where unknown, not steady, or contradicted."""
    bearing: Bearing | None
    """Geometry of the bearing; None if unknown."""
    mean: Floats | None = None
    """[windows] mean speed in Hz, also where it is not steady; None: as `shaft`."""
    end: Integers | None = None
    """[windows] in microseconds since the epoch."""
    courses: npt.NDArray[np.object_] | None = None
    """[windows] the `SpeedCourse` of each one's machine; None where the speed is fixed."""
    contradicted: Booleans | None = None
    """[windows] whether the spectrum contradicts the speed that is given; None if that was not looked for."""

    @cached_property
    def tracked(self) -> list[Floats | None]:
        """[windows] each window over the shaft's angle, [turns, points]; None where that is undefined."""
        waves, mean = self.waveforms, self.shaft if self.mean is None else self.mean
        end = np.zeros(len(mean), np.int64) if self.end is None else self.end
        shaft = shaft_at(self.courses, mean, end, waves.size, waves.sample_rate)
        pairs = zip(waves.centred, shaft, strict=True)
        return [over_angle(samples, speed, waves.sample_rate) for samples, speed in pairs]

    @cached_property
    def tracked_orders(self) -> Floats:
        """[windows, 4] amplitudes at half, one, two and three times the shaft's speed, over its angle."""
        orders, unknown = np.array(MULTIPLES), np.full(len(MULTIPLES), np.nan)
        return np.stack([unknown if each is None else order_lines(each, orders) for each in self.tracked])

    @cached_property
    def held_peaks(self) -> Floats:
        """[windows, blocks] the held peaks of the high-passed windows."""
        return held_peaks(self.waveforms.transform, self.waveforms.size, self.waveforms.sample_rate, self.shaft)

    @cached_property
    def held_lines(self) -> Line:
        """[windows, faults] the line of each fault in the spectrum of the held peaks, in the order of `LINES`."""
        return self._fault_lines(held_spectra(self.held_peaks, self.waveforms.sample_rate))

    @cached_property
    def orders(self) -> FaultOrders | None:
        """The bearing's fault frequencies; None without a bearing, or with an impossible one."""
        return None if self.bearing is None or misfits(self.bearing) else fault_orders(self.bearing)

    @cached_property
    def envelopes(self) -> Envelopes:
        """The squared-envelope spectra of the windows."""
        return envelopes(self.waveforms.transform, self.waveforms.size, self.waveforms.sample_rate, self.shaft)

    @cached_property
    def lines(self) -> Line:
        """[windows, faults] the line of each fault, in the order of `LINES`."""
        return self._fault_lines(self.envelopes)

    def _fault_lines(self, spectra: Envelopes) -> Line:
        if self.orders is None:
            return Line(*np.full((len(Line._fields), len(self.shaft), len(LINES)), np.nan))
        orders = np.array([getattr(self.orders, name) for name in LINES])
        return fault_lines(spectra, self.shaft[:, None] * orders)

    @cached_property
    def order_amplitudes(self) -> Floats:
        """[windows, 4] amplitudes at half, one, two and three times the shaft's speed."""
        return order_amplitudes(self.power, self.shaft, np.array(MULTIPLES))

    @cached_property
    def kurtogram(self) -> Kurtogram:
        """The most impulsive band of each window."""
        return kurtogram(self.waveforms.transform, self.waveforms.size, self.waveforms.sample_rate)

    @cached_property
    def verdicts(self) -> WindowVerdicts:
        """The verdict of each window."""
        return window_verdicts(self.waveforms.centred, self.waveforms.sample_rate, self.shaft, self.orders)


def _order(place: int, name: str, what: str) -> FeatureSpec[Diagnosis]:
    def kernel(batch: Diagnosis) -> Floats:
        return batch.order_amplitudes[:, place]

    return FeatureSpec(
        name,
        "{unit}",
        f"sqrt(2·ΣP_k), five lines around the largest in {MULTIPLES[place]:g} f_r ± max(2 %, 1.5 df)",
        "ISO 13373-2; peak amplitude",
        kernel,
        "no steady speed, fewer than 5 shaft turns or 5 periods of the line, or above 0.45 fs",
        reasons=("no_speed", "speed_varies", "resolution"),
        what=what,
    )


ORDERS: Final = (
    _order(0, "order_05x", "half the shaft's speed: looseness, rub"),
    _order(1, "order_1x", "the shaft's speed: imbalance"),
    _order(2, "order_2x", "twice the shaft's speed: misalignment"),
    _order(3, "order_3x", "three times the shaft's speed: misalignment, looseness"),
)

_RANDALL: Final = "Randall, Modern envelope analysis for bearing diagnostics, CMD 2015"


def _part(batch: Diagnosis, *, fault: int, part: int) -> Floats:
    return batch.lines[part][:, fault]


def _line_specs(fault: int, title: str, damaged: str) -> Iterator[FeatureSpec[Diagnosis]]:
    near = f"{title} ± max(2 %, 1.5 df)"
    parts = (
        ("amp", "{unit}²", f"A(f): largest A_k, f_k in {near}", "how strong"),
        ("snr", "", f"A(f)/median A_k from 0.7 to 1.3 {title}", "how far above the floor; noise seldom exceeds 5"),
        ("freq", "Hz", f"f of the largest A_k in {near}, interpolated", "where; off by the bearing's slip"),
        ("h2", "{unit}²", "largest A_k, f_k in 2f ± 1.5 df", "how strong its second harmonic"),
    )
    for part, (name, unit, formula, what) in enumerate(parts):
        yield FeatureSpec(
            f"ses_{LINES[fault]}_{name}",
            unit,
            formula,
            _RANDALL,
            partial(_part, fault=fault, part=part),
            "no steady speed, no bearing or one that cannot be, fewer than 10 periods, constant signal, "
            "or the second harmonic not within half the band's width",
            reasons=("no_speed", "speed_varies", "geometry", "constant", "resolution"),
            what=f"{damaged}: {what}",
        )


def _mean(batch: Diagnosis) -> Floats:
    known = (batch.envelopes.mean > 0) & np.isfinite(batch.shaft)
    return np.where(known, batch.envelopes.mean, np.nan)


ENVELOPE: Final = (
    FeatureSpec(
        "ses_mean",
        "{unit}²",
        "mean of |z|² from max(1 kHz, 10 f_r) to 0.4 fs, Hann weighted",
        _RANDALL,
        _mean,
        "no steady speed, constant signal, or no band",
        reasons=("no_speed", "speed_varies", "constant", "resolution"),
        what="what the lines' amplitudes are measured against: a quarter of it is a deep modulation",
    ),
    *_line_specs(0, "BPFO", "outer race"),
    *_line_specs(1, "BPFI", "inner race"),
    *_line_specs(2, "2xBSF", "rolling element"),
    *_line_specs(3, "FTF", "cage"),
)


def _most_impulsive(batch: Diagnosis, *, part: int) -> Floats:
    return batch.kurtogram[part]


def _band_spec(part: int, name: str, unit: str, formula: str, what: str) -> FeatureSpec[Diagnosis]:
    return FeatureSpec(
        name,
        unit,
        formula,
        "kurtogram; Antoni 2007, doi 10.1016/j.ymssp.2005.12.002",
        partial(_most_impulsive, part=part),
        "fewer than 256 lines below 0.45 fs, or constant signal",
        reasons=("constant", "resolution"),
        what=what,
    )


_LARGEST: Final = "largest <|z|⁴>/<|z|²>² - 2 of 1, 2, 3, 4, 6, 8, 12 … bands below 0.45 fs"
KURTOGRAM: Final = (
    _band_spec(0, "sk_max", "", _LARGEST, "impacts in their best band; noise stays below 1"),
    _band_spec(1, "kurtogram_fc", "Hz", "centre of that band", "where the impacts ring"),
    _band_spec(2, "kurtogram_bw", "Hz", "width of that band", "how sharply the impacts ring"),
)


def _verdict(batch: Diagnosis, *, part: str) -> Floats | Texts:
    found: Floats | Texts = getattr(batch.verdicts, part)
    return found


def _verdict_spec(name: str, dtype: pl.DataType, formula: str, what: str) -> FeatureSpec[Diagnosis]:
    return FeatureSpec(
        name,
        "",
        formula,
        _RANDALL,
        partial(_verdict, part=name),
        "no steady speed, no bearing or one that cannot be, constant signal, or parts too short for any line",
        dtype=dtype,
        reasons=("no_speed", "speed_varies", "geometry", "constant", "resolution"),
        what=what,
    )


VERDICT: Final = (
    _verdict_spec(
        "fault", pl.String(), "the fault that most of three parts or more support", "what an analyst would say"
    ),
    _verdict_spec(
        "severity", pl.Float64(), "A(f)/(2 ses_mean), 0 without a fault", "share of the band's power in its impacts"
    ),
    _verdict_spec(
        "confidence", pl.Float64(), "supporting share of parts - half the strongest rival's", "how sure the verdict is"
    ),
    _verdict_spec("why", pl.String(), "votes, line, height and depth in words", "the evidence"),
)
