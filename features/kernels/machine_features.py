"""The features an analyst of machines expects besides orders and envelopes: tracked orders, gears, peak hold, cepstrum,
and vibration as velocity and displacement. The kernels are in the modules named in their sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import numpy as np

from features.define.reasons import Reason
from features.define.spec import FeatureSpec, Floats
from features.kernels.angles import sideband_index, synchronous_average
from features.kernels.cepstrum import cepstral_peak
from features.kernels.diagnosis import LINES, MULTIPLES, Diagnosis
from features.kernels.spectrum import Spectra, displacement, velocity_rms

_TRACKED: Final = "Fyfe and Munck, MSSP 11 (1997) 187"
_AVERAGED: Final = "McFadden and Toozhy, MSSP 14 (2000) 891"
_UNTRACKED: Final = "no speed, or fewer than 5 whole turns"


def _each(batch: Diagnosis, kernel: Callable[[Floats], float]) -> Floats:
    """Return [windows] what a kernel gives for each window over angle, NaN where there is none."""
    return np.array([np.nan if each is None else kernel(each) for each in batch.tracked])


def _order(batch: Diagnosis, *, place: int) -> Floats:
    return batch.tracked_orders[:, place]


def _tracked_specs() -> Iterator[FeatureSpec[Diagnosis]]:
    for place, order in enumerate(MULTIPLES):
        yield FeatureSpec(
            f"track_{order:g}x".replace("0.5", "05"),
            "{unit}",
            f"sqrt(2·ΣP_k), five lines around order {order:g} of the signal over the shaft's angle",
            _TRACKED,
            partial(_order, place=place),
            f"{_UNTRACKED}, or fewer than 5 periods",
            reasons=("no_speed", "resolution"),
            what="the order's amplitude, also where the speed varies",
        )


TRACKING: Final = tuple(_tracked_specs())


def _average(batch: Diagnosis, *, measure: Callable[[Floats], float]) -> Floats:
    return _each(batch, lambda tracked: measure(synchronous_average(tracked)))


def _kurtosis(values: Floats) -> float:
    centred = values - values.mean()
    power = float(np.mean(centred**2))
    return float(np.mean(centred**4)) / power**2 if power > 0 else float("nan")


def _mesh(batch: Diagnosis, *, teeth: int, part: int) -> Floats:
    return _each(batch, lambda tracked: sideband_index(tracked, teeth)[part])


def gear_specs(teeth: Sequence[int]) -> tuple[FeatureSpec[Diagnosis], ...]:
    """Return the features of gears with these numbers of teeth on the shaft whose speed is known."""
    averages = (
        (
            "tsa_rms",
            "{unit}",
            "std of the synchronous average",
            lambda each: float(each.std()),
            "what repeats each turn",
        ),
        ("tsa_p2p", "{unit}", "max - min of the synchronous average", lambda each: float(np.ptp(each)), "its extent"),
        ("tsa_kurtosis", "", "m4/m2² of the synchronous average", _kurtosis, "a single damaged tooth; 1.5 for a sine"),
    )
    found = [
        _gear(name, unit, formula, partial(_average, measure=measure), what)
        for name, unit, formula, measure, what in averages
    ]
    for number in teeth:
        name = f"gear_{number}"
        formula = f"amplitude at order {number} of the signal over angle"
        found.append(_gear(f"{name}_mesh", "{unit}", formula, partial(_mesh, teeth=number, part=0), "load and wear"))
        formula = f"Σ amplitudes at orders {number} ± 1, 2, 3 / that at {number}"
        kernel = partial(_mesh, teeth=number, part=1)
        found.append(_gear(f"{name}_sidebands", "", formula, kernel, "modulation by the shaft: eccentricity, damage"))
    return tuple(found)


def _gear(
    name: str, unit: str, formula: str, kernel: Callable[[Diagnosis], Floats], what: str
) -> FeatureSpec[Diagnosis]:
    undefined = f"{_UNTRACKED}, no vibration, or orders above 0.45 of the points of a turn"
    reasons: tuple[Reason, ...] = ("no_speed", "constant", "resolution")
    return FeatureSpec(name, unit, formula, _AVERAGED, kernel, undefined, reasons=reasons, what=what)


def _cepstral(batch: Spectra, *, part: int) -> Floats:
    return cepstral_peak(batch)[part]


def _cepstrum_spec(part: int, name: str, unit: str, formula: str, what: str) -> FeatureSpec[Spectra]:
    return FeatureSpec(
        name,
        unit,
        formula,
        "Randall, MSSP 97 (2017) 3",
        partial(_cepstral, part=part),
        "constant signal, or window shorter than 8 ms",
        reasons=("constant", "resolution"),
        what=what,
    )


CEPSTRUM: Final = (
    _cepstrum_spec(
        0, "cepstrum_peak", "", "largest irfft(ln P_k), 2 ms <= τ < window/4", "how regular a line family is"
    ),
    _cepstrum_spec(1, "cepstrum_quefrency", "s", "τ of that peak", "1/τ is the spacing of the lines"),
)


def _held(batch: Diagnosis, *, measure: Callable[[Floats], Floats]) -> Floats:
    return np.where(batch.waveforms.rms > 0, measure(batch.held_peaks), np.nan)


def _held_line(batch: Diagnosis, *, fault: int) -> Floats:
    return batch.held_lines.amplitude[:, fault]


def _peak_hold_specs() -> Iterator[FeatureSpec[Diagnosis]]:
    source = "Robinson, Peak-based demodulation, 2001"
    measures = (
        ("peakhold_max", "max of the held peaks", lambda held: held.max(axis=1), "the hardest shock"),
        ("peakhold_mean", "mean of the held peaks", lambda held: held.mean(axis=1), "what is always there: friction"),
    )
    for name, formula, measure, what in measures:
        kernel = partial(_held, measure=measure)
        yield FeatureSpec(name, "{unit}", formula, source, kernel, "constant signal", reasons=("constant",), what=what)
    for fault, line in enumerate(LINES):
        yield FeatureSpec(
            f"peakhold_{line}_amp",
            "{unit}",
            f"largest line of the held peaks' spectrum near {line.removesuffix('2').upper()}",
            source,
            partial(_held_line, fault=fault),
            "as ses_*_amp",
            reasons=("no_speed", "speed_varies", "geometry", "constant", "resolution"),
            what="shocks at the fault's frequency",
        )


PEAK_HOLD: Final = tuple(_peak_hold_specs())

_SLOW: Final = "df > 0.2 Hz, hi > 0.45 fs, or unit is neither g nor m/s²"
_QUICK: Final = "df > 1 Hz, hi > 0.45 fs, or unit is neither g nor m/s²"
INTEGRATED: Final = (
    FeatureSpec(
        "vel_rms_2_1000",
        "mm/s",
        "sqrt(ΣP_k (1000 a/(2π f_k))²), 2 <= f_k <= 1000 Hz, a = m/s² per unit",
        "ISO 20816-1, shafts below 600 rpm",
        partial(velocity_rms, low=2, high=1000, coarsest=0.2),
        _SLOW,
        reasons=("unit", "resolution"),
        what="severity of a slow machine",
    ),
    FeatureSpec(
        "disp_p2p_2_1000",
        "µm",
        "2 sqrt(2 ΣP_k (1e6 a/(2π f_k)²)²), 2 <= f_k <= 1000 Hz",
        "ISO 20816-1; of a tone the peak to peak value",
        partial(displacement, low=2, high=1000, coarsest=0.2),
        _SLOW,
        reasons=("unit", "resolution"),
        what="displacement of a slow machine",
    ),
    FeatureSpec(
        "disp_p2p_10_1000",
        "µm",
        "2 sqrt(2 ΣP_k (1e6 a/(2π f_k)²)²), 10 <= f_k <= 1000 Hz",
        "ISO 20816-1; of a tone the peak to peak value",
        partial(displacement, low=10, high=1000, coarsest=1.0),
        _QUICK,
        reasons=("unit", "resolution"),
        what="displacement",
    ),
)
