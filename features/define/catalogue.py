"""Every feature Penstock computes, in groups, and the groups other packages add.

What a view computes of them is resolved by `features.define.view_plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final

import polars as pl

from features.define import quality_columns
from features.define.spec import FeatureGroup, FeatureSpec
from features.kernels import diagnosis, machine_features, process, spectrum, vibration
from features.kernels.process import HeldWindows
from features.kernels.spectrum import Spectra
from features.kernels.states import state_specs
from features.kernels.vibration import Waveforms
from features.kernels.window_checks import HELD_CHECKS, SPEED_CHECKS, waveform_checks
from historian.errors import ConfigError
from historian.plant.feature_groups import BUILT_IN, DEFAULTS, load_group, needs_of, other_groups
from historian.plant.model import BANDS, Band

_KINDS: Final = "Kim et al. 2020, doi 10.3390/app10207302"
_ISO: Final = "ISO 20816-1"
_FLAT: Final[Any] = {"undefined": "signal is constant", "reasons": ("constant",)}
_SILENT: Final[Any] = {"undefined": "no power outside DC", "reasons": ("constant",)}
_UNRESOLVED: Final = "lo < 3 df or hi > 0.45 fs"

TIME: Final[tuple[FeatureSpec[Waveforms], ...]] = (
    FeatureSpec("mean", "{unit}", "Σx/N", "arithmetic mean", vibration.mean, what="sensor bias, not vibration"),
    FeatureSpec("std", "{unit}", "sqrt(Σc²/N)", "numpy.std", vibration.rms_ac, what="equals rms_ac"),
    FeatureSpec("rms_ac", "{unit}", "sqrt(Σc²/N)", _ISO, vibration.rms_ac, what="overall level"),
    FeatureSpec("peak", "{unit}", "max|c|", _ISO, vibration.peak, version=2, what="largest excursion"),
    FeatureSpec("p2p", "{unit}", "max x - min x", _ISO, vibration.peak_to_peak, what="peak to peak"),
    FeatureSpec(
        "crest",
        "",
        "peak/rms_ac",
        _KINDS,
        vibration.crest,
        version=2,
        **_FLAT,
        what="impacts; falls again in late damage",
    ),
    FeatureSpec(
        "skewness", "", "m3/m2^1.5", "scipy.stats.skew", vibration.skewness, version=2, **_FLAT, what="lopsidedness"
    ),
    FeatureSpec(
        "kurtosis",
        "",
        "m4/m2²",
        "scipy.stats.kurtosis(fisher=False)",
        vibration.kurtosis,
        **_FLAT,
        what="impacts; 3 for a healthy bearing",
    ),
    FeatureSpec(
        "shape", "", "rms_ac/mean|c|", _KINDS, vibration.shape, **_FLAT, what="1.11 for a sine, 1.25 for noise"
    ),
    FeatureSpec(
        "impulse", "", "peak/mean|c|", _KINDS, vibration.impulse, version=2, **_FLAT, what="impacts, like crest"
    ),
    FeatureSpec(
        "clearance",
        "",
        "peak/(mean sqrt|c|)²",
        _KINDS,
        vibration.clearance,
        version=2,
        **_FLAT,
        what="impacts, the earliest to rise",
    ),
    FeatureSpec(
        "zero_crossing_rate",
        "1/s",
        "sign changes of c · fs/(N-1), zero being positive",
        "Rice, BSTJ 24 (1945) 46",
        vibration.crossing_rate,
        what="twice the frequency of a tone; of noise, about where its power lies",
    ),
)


def spectral(bands: tuple[Band, ...]) -> tuple[FeatureSpec[Spectra], ...]:
    """Return the spectral features, with the RMS of each of these bands, from and up to in Hz."""
    return (*(_band(low, high) for low, high in bands), *_SPECTRAL)


def _band(low: float, high: float) -> FeatureSpec[Spectra]:
    kernel = partial(spectrum.band_rms, low=low, high=high)
    return FeatureSpec(
        f"band_rms_{_hertz(low)}_{_hertz(high)}",
        "{unit}",
        f"sqrt(ΣP_k), {low:g} <= f_k < {high:g} Hz",
        "scipy.signal.welch",
        kernel,
        _UNRESOLVED,
        reasons=("resolution",),
        what="level in a band",
    )


def _hertz(frequency: float) -> str:
    """Return a frequency as it stands in the name of a column: 10, 2p5."""
    return f"{frequency:.3f}".rstrip("0").rstrip(".").replace(".", "p")


def zone_specs(
    limits: Sequence[float], written: str, source: str, machine: str
) -> tuple[FeatureSpec[Spectra], FeatureSpec[Spectra], FeatureSpec[Spectra]]:
    """Return the features that say in which evaluation zone the velocity RMS lies, and by whose limits.

    Args:
        limits: A/B, B/C and C/D in mm/s.
        written: the limits as the zone's formula shows them.
        source: the standard and edition they are from.
        machine: the class of machine they are for.
    """
    zone: FeatureSpec[Spectra] = FeatureSpec(
        "zone",
        "",
        f"1 (A) to 4 (D): 1 + how many of {written} vel_rms_10_1000 exceeds",
        source,
        partial(spectrum.zone, limits=limits),
        f"df > 1 Hz, {_UNRESOLVED}, or unit is neither g nor m/s²",
        reasons=("unit", "resolution"),
        version=2,
        what="severity by the limits of the point",
    )
    return (
        zone,
        _written("zone_standard", source, "the edition of the limits"),
        _written("zone_machine", machine, "whose limits they are"),
    )


def _written(name: str, text: str, what: str) -> FeatureSpec[Spectra]:
    """Return a column that repeats a text of the plant file, so that a row can be read without it."""
    kernel = partial(spectrum.repeated, text=text)
    return FeatureSpec(name, "", "as in plant.toml", "zones of the point", kernel, dtype=pl.String(), what=what)


_SPECTRAL: Final[tuple[FeatureSpec[Spectra], ...]] = (
    FeatureSpec(
        "vel_rms_10_1000",
        "mm/s",
        "sqrt(ΣP_k (1000 a/(2π f_k))²), 10 <= f_k <= 1000 Hz, a = m/s² per unit",
        "ISO 20816-3",
        partial(spectrum.velocity_rms, low=10, high=1000),
        f"df > 1 Hz, {_UNRESOLVED}, or unit is neither g nor m/s²",
        reasons=("unit", "resolution"),
        version=2,
        what="severity, to compare with ISO zones",
    ),
    FeatureSpec(
        "centroid",
        "Hz",
        "Σf q, q = p/Σp, p = P_k without DC",
        _KINDS,
        spectrum.centroid,
        **_SILENT,
        what="centre of power",
    ),
    FeatureSpec("spread", "Hz", "sqrt(Σ(f - centroid)² q)", _KINDS, spectrum.spread, **_SILENT, what="width around it"),
    FeatureSpec(
        "entropy",
        "",
        "-Σ q ln q/ln K, K lines",
        _KINDS,
        spectrum.entropy,
        **_SILENT,
        what="0 for one line, 0.94 to 0.96 for white noise",
    ),
    FeatureSpec(
        "flatness",
        "",
        "exp(mean ln p)/mean p",
        "librosa.feature.spectral_flatness",
        spectrum.flatness,
        **_SILENT,
        what="0 for lines, 0.56 for white noise",
    ),
    FeatureSpec(
        "peak_freq", "Hz", "f_k of the largest p", _KINDS, spectrum.peak_frequency, **_SILENT, what="the strongest line"
    ),
)
SPECTRAL: Final = spectral(BANDS)


_HELD: Final = "time-weighted, stepped"
_UNKNOWN: Final = process.UNKNOWN

PROCESS: Final[tuple[FeatureSpec[HeldWindows], ...]] = (
    FeatureSpec("mean", "{unit}", "∫v dt/∫dt", _HELD, process.mean, **_UNKNOWN, what="the level"),
    FeatureSpec("min", "{unit}", "min v", _HELD, process.minimum, **_UNKNOWN, what="the lowest value that held"),
    FeatureSpec("max", "{unit}", "max v", _HELD, process.maximum, **_UNKNOWN, what="the highest value that held"),
    FeatureSpec(
        "std",
        "{unit}",
        "sqrt(∫(v - mean)² dt/∫dt)",
        _HELD,
        process.standard_deviation,
        **_UNKNOWN,
        what="restlessness",
    ),
    FeatureSpec("last", "{unit}", "the value that held last", _HELD, process.last, **_UNKNOWN, what="the present"),
    FeatureSpec(
        "slope",
        "{unit}/h",
        "∫(t - t̄)(v - mean) dt/∫(t - t̄)² dt",
        "least squares",
        process.slope,
        **_UNKNOWN,
        what="the trend",
    ),
    FeatureSpec(
        "count", "", "Good samples inside", _HELD, process.count, dtype=pl.Int64(), what="how often it was reported"
    ),
    FeatureSpec(
        "good_share",
        "",
        "∫dt/length, v Good and no older than max_staleness",
        _HELD,
        process.good_share,
        what="share of the window that is known",
    ),
    FeatureSpec(
        "seconds_since_change",
        "s",
        "window end - start of the last v that differs from the one before; the window's length if none does",
        _HELD,
        process.since_change,
        **_UNKNOWN,
        what="as long as the window: the value stands still",
    ),
)

_ABOUT: Final[Mapping[str, tuple[tuple[FeatureSpec[Any], ...], str]]] = {
    "time": (TIME, "The waveform itself: level, impacts, shape."),
    "spectrum": (SPECTRAL, "Where the power lies; a feature set may have other `bands`."),
    "orders": (diagnosis.ORDERS, "Lines at multiples of the shaft's speed."),
    "envelope": (diagnosis.ENVELOPE, "Lines of bearing faults in the squared-envelope spectrum."),
    "kurtogram": (diagnosis.KURTOGRAM, "The band in which impacts stand out most."),
    "verdict": (diagnosis.VERDICT, "Which part of the bearing is damaged, by the window alone."),
    "tracking": (machine_features.TRACKING, "Lines at multiples of the shaft's speed, which may vary."),
    "gears": (machine_features.gear_specs(()), "What repeats each turn, and the mesh of gears with `teeth`."),
    "peakhold": (machine_features.PEAK_HOLD, "Short shocks of slow machines, and their rhythm."),
    "cepstrum": (machine_features.CEPSTRUM, "Families of equally spaced lines."),
    "integrated": (machine_features.INTEGRATED, "Velocity and displacement from an acceleration."),
    "process": (PROCESS, "Time-weighted statistics of process tags."),
    "states": (state_specs(("state",), alone=True), "States: texts, and numbers that stand for them."),
}

GROUPS: Final[Mapping[str, FeatureGroup]] = {
    name: FeatureGroup(needs.takes, *_ABOUT[name]) for name, needs in BUILT_IN.items()
}
"""The built-in groups by name, as `features.define.reference` lists them; views adapt them to bands and states."""

QUALITY_COLUMNS: Final[Mapping[str, tuple[FeatureSpec[Any], ...]]] = {
    "quality": quality_columns.WAVEFORM,
    "speed": quality_columns.SPEED,
    "quality of process points": quality_columns.PROCESS,
    "zone": zone_specs((), "the three limits", "the standard and edition that the point's zones name", ""),
}
"""The columns of a row that are no features of a group, by the headings of the reference page."""

DEFAULT_GROUPS: Final = tuple(GROUPS[name] for name in DEFAULTS["vibration"])
"""The groups of vibration points whose feature set names none."""


@lru_cache
def find_group(name: str) -> FeatureGroup:
    """Return the group of that name, built in or of another package.

    Raises:
        ConfigError: there is no such group, it cannot be used, or one of its features has a name already taken.
    """
    if name in GROUPS:
        return GROUPS[name]
    try:
        needs_of(name)
        group: FeatureGroup = load_group(name)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if twice := sorted(_taken(group) & {spec.name for spec in group.specs}):
        raise ConfigError(f"group {name}: there is a feature {', '.join(twice)} already; call it differently")
    return group


def _taken(group: FeatureGroup) -> set[str]:
    """Return the names that built-in features and quality columns have at the points that the group fits."""
    ours = [each.specs for each in GROUPS.values() if each.needs.kinds & group.needs.kinds]
    checks = (waveform_checks(None).specs, HELD_CHECKS.specs, SPEED_CHECKS.specs)
    return {spec.name for specs in (*ours, *QUALITY_COLUMNS.values(), *checks) for spec in specs}


def all_groups() -> dict[str, FeatureGroup]:
    """Return every group by name: the built-in ones, then those of other packages."""
    return {name: find_group(name) for name in (*GROUPS, *other_groups())}
