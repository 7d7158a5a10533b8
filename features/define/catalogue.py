"""Every feature Penstock computes, in groups, and the columns a feature view has because of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Final

import polars as pl

from features.define import quality_columns
from features.define.spec import FeatureGroup, FeatureSpec
from features.kernels import diagnosis, slow, spectrum, vibration
from features.kernels.slow import HeldWindows
from features.kernels.spectrum import Spectra
from features.kernels.states import state_specs
from features.kernels.vibration import Waveforms
from historian.errors import ConfigError
from historian.plant.feature_groups import Role, groups_of, load_group, needs_of, other_groups
from historian.plant.model import BANDS, Band
from historian.plant.plant import Plant, View

_KINDS: Final = "Kim et al. 2020, doi 10.3390/app10207302"
_ISO: Final = "ISO 20816-1"
_FLAT: Final[Any] = {"undefined": "signal is constant", "reasons": ("constant",)}
_SILENT: Final[Any] = {"undefined": "no power outside DC", "reasons": ("constant",)}
_UNRESOLVED: Final = "lo < 3 df or hi > 0.45 fs"

TIME: Final[tuple[FeatureSpec[Waveforms], ...]] = (
    FeatureSpec("mean", "{unit}", "Σx/N", "arithmetic mean", vibration.mean, what="sensor bias, not vibration"),
    FeatureSpec("std", "{unit}", "sqrt(Σc²/N)", "numpy.std", vibration.rms_ac, what="equals rms_ac"),
    FeatureSpec("rms_ac", "{unit}", "sqrt(Σc²/N)", _ISO, vibration.rms_ac, what="overall level"),
    FeatureSpec("peak", "{unit}", "max|c|", _ISO, vibration.peak, what="largest excursion"),
    FeatureSpec("p2p", "{unit}", "max x - min x", _ISO, vibration.peak_to_peak, what="peak to peak"),
    FeatureSpec(
        "crest", "", "peak/rms_ac", _KINDS, vibration.crest, **_FLAT, what="impacts; falls again in late damage"
    ),
    FeatureSpec("skewness", "", "m3/m2^1.5", "scipy.stats.skew", vibration.skewness, **_FLAT, what="lopsidedness"),
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
    FeatureSpec("impulse", "", "peak/mean|c|", _KINDS, vibration.impulse, **_FLAT, what="impacts, like crest"),
    FeatureSpec(
        "clearance",
        "",
        "peak/(mean sqrt|c|)²",
        _KINDS,
        vibration.clearance,
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
    """The spectral features, with the RMS of each of these bands in Hz."""
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
    """10, 2p5: as it can stand in the name of a column."""
    return f"{frequency:.3f}".rstrip("0").rstrip(".").replace(".", "p")


def _zone(limits: Sequence[float], told: str, source: str) -> FeatureSpec[Spectra]:
    return FeatureSpec(
        "zone",
        "",
        f"1 (A) to 4 (D): 1 + how many of {told} vel_rms_10_1000 exceeds",
        source,
        partial(spectrum.zone, limits=limits),
        f"df > 1 Hz, {_UNRESOLVED}, or unit is neither g nor m/s²",
        reasons=("unit", "resolution"),
        version=2,
        what="severity by the limits of the point",
    )


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
        what="severity, to hold against ISO zones",
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

SLOW: Final[tuple[FeatureSpec[HeldWindows], ...]] = (
    FeatureSpec("mean", "{unit}", "∫v dt/∫dt", _HELD, slow.mean, **slow.UNKNOWN, what="the level"),
    FeatureSpec("min", "{unit}", "min v", _HELD, slow.minimum, **slow.UNKNOWN, what="the lowest value that held"),
    FeatureSpec("max", "{unit}", "max v", _HELD, slow.maximum, **slow.UNKNOWN, what="the highest value that held"),
    FeatureSpec(
        "std",
        "{unit}",
        "sqrt(∫(v - mean)² dt/∫dt)",
        _HELD,
        slow.standard_deviation,
        **slow.UNKNOWN,
        what="restlessness",
    ),
    FeatureSpec("last", "{unit}", "the value that held last", _HELD, slow.last, **slow.UNKNOWN, what="the present"),
    FeatureSpec(
        "slope",
        "{unit}/h",
        "∫(t - t̄)(v - mean) dt/∫(t - t̄)² dt",
        "least squares",
        slow.slope,
        **slow.UNKNOWN,
        what="the trend",
    ),
    FeatureSpec(
        "count", "", "Good samples inside", _HELD, slow.count, dtype=pl.Int64(), what="how often it was reported"
    ),
    FeatureSpec(
        "good_share",
        "",
        "∫dt/length, v Good and no older than max_staleness",
        _HELD,
        slow.good_share,
        what="share of the window that is known",
    ),
    FeatureSpec(
        "seconds_since_change",
        "s",
        "window end - start of the last v that differs from the one before; the window's length if none does",
        _HELD,
        slow.since_change,
        **slow.UNKNOWN,
        what="as long as the window: the value stands still",
    ),
)

GROUPS: Final[Mapping[str, FeatureGroup]] = {
    "time": FeatureGroup("waveforms", TIME, "The waveform itself: level, impacts, shape."),
    "spectrum": FeatureGroup("spectra", SPECTRAL, "Where the power lies; a feature set may have other `bands`."),
    "orders": FeatureGroup("diagnosis", diagnosis.ORDERS, "Lines at multiples of the shaft's speed."),
    "envelope": FeatureGroup(
        "diagnosis", diagnosis.ENVELOPE, "Lines of bearing faults in the squared-envelope spectrum."
    ),
    "kurtogram": FeatureGroup("diagnosis", diagnosis.KURTOGRAM, "The band in which impacts stand out most."),
    "slow": FeatureGroup("holds", SLOW, "Numbers of slow tags."),
    "states": FeatureGroup(
        "states", state_specs(("state",), alone=True), "States: texts, and numbers that stand for them."
    ),
}
"""The built-in groups by name, as `features.define.reference` lists them; views adapt them to bands and states."""

SAID: Final[Mapping[str, tuple[FeatureSpec[Any], ...]]] = {
    "quality": quality_columns.WAVEFORM,
    "speed": quality_columns.SPEED,
    "quality of slow points": quality_columns.SLOW,
    "zone": (_zone((), "the three limits", "the standard and edition that the point's zones name"),),
}
"""What rows say of points besides their features."""

_REMARKS: Final = {"constant", "extreme"}
"""What reasons are told by, computed like features."""

DEFAULT_GROUPS: Final = (GROUPS["time"], GROUPS["spectrum"])
"""Of vibration points."""


@lru_cache
def find_group(name: str) -> FeatureGroup:
    """The group of that name, ours or of another package.

    Raises:
        ConfigError: there is none, or a feature of it is called like one of ours.
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
    """The names of our features and of what is said besides, of the points that the group fits."""
    ours = [each.specs for each in GROUPS.values() if each.needs.kinds & group.needs.kinds]
    return _REMARKS | {spec.name for specs in (*ours, *SAID.values()) for spec in specs}


def all_groups() -> dict[str, FeatureGroup]:
    """Ours, then those of other packages."""
    return {name: find_group(name) for name in (*GROUPS, *other_groups())}


def point_groups(view: View, point: Role) -> dict[str, FeatureGroup]:
    """The groups a view has for one of its points, with the view's bands and the point's states and zones."""
    names = groups_of(view.features, point)
    groups = {name: _group(name, view.bands, tuple(point.states), alone="slow" not in names) for name in names}
    if point.zones and "spectrum" in groups:
        limits = point.zones.limits
        spec = _zone(limits, f"{', '.join(map('{:g}'.format, limits))} mm/s", point.zones.source)
        groups["zone"] = FeatureGroup("spectra", (spec,))
    return groups


@lru_cache
def _group(name: str, bands: tuple[Band, ...], states: tuple[str, ...], *, alone: bool) -> FeatureGroup:
    group = find_group(name)
    if name == "spectrum":
        return replace(group, specs=spectral(bands))
    return replace(group, specs=state_specs(states, alone=alone)) if name == "states" else group


def said(view: View, point: Role) -> dict[str, tuple[FeatureSpec[Any], ...]]:
    """What a view says of one of its points besides its features, by the names of `SAID`."""
    if point.kind != "vibration":
        return {"quality of slow points": quality_columns.SLOW}
    speed = {"speed": quality_columns.SPEED} if tells_speed(view, point) else {}
    return {"quality": quality_columns.WAVEFORM, **speed}


def tells_speed(view: View, point: Role) -> bool:
    """Whether the view says with which speed it computed the features of a vibration point."""
    return view.speed is not None or any(group.needs.speed for group in point_groups(view, point).values())


@dataclass(frozen=True)
class Column:
    """One column of a feature table."""

    name: str
    """`de_h_rms_ac`"""
    point: str
    spec: FeatureSpec[Any]
    dtype: pl.DataType
    unit: str
    """`g`, `mm/s`, `degC/h`; empty for a pure number."""


def point_specs(view: View, point: Role) -> dict[str, tuple[FeatureSpec[Any], ...]]:
    """All that a view tells of one of its points: its features by group, then what is said besides."""
    return {**{name: group.specs for name, group in point_groups(view, point).items()}, **said(view, point)}


def view_columns(plant: Plant, view: View) -> tuple[Column, ...]:
    """The columns of a view: point by point its features, group by group, then what is said of it besides.

    Raises:
        ConfigError: two groups of other packages have a feature of one name.
    """
    points = plant.classes[view.asset_class].points
    columns = tuple(
        Column(f"{name}_{spec.name}", name, spec, spec.dtype, spec.unit.replace("{unit}", points[name].unit))
        for name in view.points
        for specs in point_specs(view, points[name]).values()
        for spec in specs
    )
    twice = [name for name, count in Counter(column.name for column in columns).items() if count > 1]
    if twice:
        raise ConfigError(f"{view.name}: several groups have the column {', '.join(twice)}; leave out one of them")
    return columns
