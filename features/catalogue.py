"""Every feature Penstock computes, in one table, and the columns a feature view has because of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, Final, Literal

import polars as pl

from features import slow, spectrum, vibration
from features.slow import HeldWindows
from features.spec import FeatureSpec
from features.spectrum import Spectra
from features.vibration import Waveforms
from features.windows import Windows
from historian.plant import Plant, View

_KINDS: Final = "Kim et al. 2020, doi 10.3390/app10207302"
_ISO: Final = "ISO 20816-1"
_CONSTANT: Final = "signal is constant"
_SILENT: Final = "no power outside DC"
_UNRESOLVED: Final = "lo < 3 df or hi > 0.45 fs"

TIME: Final[tuple[FeatureSpec[Waveforms], ...]] = (
    FeatureSpec("mean", "{unit}", "Σx/N", "sensor bias", vibration.mean),
    FeatureSpec("std", "{unit}", "sqrt(Σc²/N)", "ddof 0; equals rms_ac", vibration.rms_ac),
    FeatureSpec("rms_ac", "{unit}", "sqrt(Σc²/N)", _ISO, vibration.rms_ac),
    FeatureSpec("peak", "{unit}", "max|c|", _ISO, vibration.peak),
    FeatureSpec("p2p", "{unit}", "max x - min x", _ISO, vibration.peak_to_peak),
    FeatureSpec("crest", "", "peak/rms_ac", _KINDS, vibration.crest, _CONSTANT),
    FeatureSpec("skewness", "", "m3/m2^1.5", "scipy.stats.skew", vibration.skewness, _CONSTANT),
    FeatureSpec("kurtosis", "", "m4/m2²", "scipy.stats.kurtosis(fisher=False)", vibration.kurtosis, _CONSTANT),
    FeatureSpec("shape", "", "rms_ac/mean|c|", _KINDS, vibration.shape, _CONSTANT),
    FeatureSpec("impulse", "", "peak/mean|c|", _KINDS, vibration.impulse, _CONSTANT),
    FeatureSpec("clearance", "", "peak/(mean sqrt|c|)²", _KINDS, vibration.clearance, _CONSTANT),
    FeatureSpec(
        "zero_crossing_rate", "1/s", "sign changes of c · fs/(N-1)", "zero counts as positive", vibration.crossing_rate
    ),
)


def _band(low: int, high: int) -> FeatureSpec[Spectra]:
    kernel = partial(spectrum.band_rms, low=low, high=high)
    formula = f"sqrt(ΣP_k), {low} <= f_k < {high} Hz"
    return FeatureSpec(f"band_rms_{low}_{high}", "{unit}", formula, "scipy.signal.welch", kernel, _UNRESOLVED)


SPECTRAL: Final[tuple[FeatureSpec[Spectra], ...]] = (
    _band(10, 1000),
    _band(1000, 2000),
    _band(2000, 5000),
    _band(5000, 10000),
    FeatureSpec(
        "vel_rms_10_1000",
        "mm/s",
        "sqrt(ΣP_k (1000 a/(2π f_k))²), 10 <= f_k <= 1000 Hz, a = m/s² per unit",
        "ISO 20816-3",
        partial(spectrum.velocity_rms, low=10, high=1000),
        f"{_UNRESOLVED}, or unit is neither g nor m/s²",
    ),
    FeatureSpec("centroid", "Hz", "Σf q, q = p/Σp, p = P_k without DC", _KINDS, spectrum.centroid, _SILENT),
    FeatureSpec("spread", "Hz", "sqrt(Σ(f - centroid)² q)", _KINDS, spectrum.spread, _SILENT),
    FeatureSpec("entropy", "", "-Σ q ln q/ln K, K lines", _KINDS, spectrum.entropy, _SILENT),
    FeatureSpec(
        "flatness", "", "exp(mean ln p)/mean p", "librosa.feature.spectral_flatness", spectrum.flatness, _SILENT
    ),
    FeatureSpec("peak_freq", "Hz", "f_k of the largest p", _KINDS, spectrum.peak_frequency, _SILENT),
)

_HELD: Final = "time-weighted, stepped"
_UNKNOWN: Final = "good_share < 0.8"

SLOW: Final[tuple[FeatureSpec[HeldWindows], ...]] = (
    FeatureSpec("mean", "{unit}", "∫v dt/∫dt", _HELD, slow.mean, _UNKNOWN),
    FeatureSpec("min", "{unit}", "min v", _HELD, slow.minimum, _UNKNOWN),
    FeatureSpec("max", "{unit}", "max v", _HELD, slow.maximum, _UNKNOWN),
    FeatureSpec("std", "{unit}", "sqrt(∫(v - mean)² dt/∫dt)", _HELD, slow.standard_deviation, _UNKNOWN),
    FeatureSpec("last", "{unit}", "the value that held last", _HELD, slow.last, _UNKNOWN),
    FeatureSpec("slope", "{unit}/h", "∫(t - t̄)(v - mean) dt/∫(t - t̄)² dt", "least squares", slow.slope, _UNKNOWN),
    FeatureSpec("count", "", "Good samples inside", _HELD, slow.count, dtype=pl.Int64()),
    FeatureSpec("good_share", "", "∫dt/length, v Good and no older than max_staleness", _HELD, slow.good_share),
)


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


def _quality(valid: str) -> tuple[FeatureSpec[Windows], ...]:
    """What every point has; `valid` says when its features can be computed."""
    return (
        FeatureSpec("n", "", "samples found, of any quality", "", attrgetter("found"), dtype=pl.Int64()),
        FeatureSpec("valid", "", valid, "", attrgetter("valid"), dtype=pl.Boolean()),
    )


QUALITY: Final = {
    "vibration": _quality("window complete, and all samples Good"),
    "process": _quality("good_share >= 0.8"),
}
"""By the kind of point; the names and kernels are the same."""


def view_columns(plant: Plant, view: View) -> tuple[Column, ...]:
    """The columns of a view: point by point its features, then `<point>_n` and `<point>_valid`."""
    points = plant.classes[view.asset_class].points
    specs = (*specs_of(view.kind), *QUALITY[view.kind])
    return tuple(
        Column(f"{point}_{spec.name}", point, spec, spec.dtype, spec.unit.replace("{unit}", points[point].unit))
        for point in view.points
        for spec in specs
    )


def specs_of(kind: Literal["vibration", "process"]) -> tuple[FeatureSpec[Any], ...]:
    """The features of a point of that kind."""
    return (*TIME, *SPECTRAL) if kind == "vibration" else SLOW


def catalogue_markdown() -> str:
    """The feature reference: one Markdown table a kind of point."""
    kinds: dict[str, Iterable[FeatureSpec[Any]]] = {
        "Vibration, time domain": TIME,
        "Vibration, spectrum": SPECTRAL,
        "Vibration, quality": QUALITY["vibration"],
        "Slow tags": (*SLOW, *QUALITY["process"]),
    }
    return "\n\n".join(f"### {title}\n\n{_table(specs)}" for title, specs in kinds.items()) + "\n"


def _table(specs: Iterable[FeatureSpec[Any]]) -> str:
    head = ("feature", "unit", "definition", "missing when", "source", "version")
    rows = [(f"`{s.name}`", s.unit, f"`{s.formula}`", s.undefined, s.source, str(s.version)) for s in specs]
    escaped = [[cell.replace("|", r"\|").replace("{unit}", "unit of the point") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *escaped])
