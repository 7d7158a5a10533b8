"""Why features are missing: what is known of each window, compared with the reasons each spec may give."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from features.compute.rows.kernel_values import Values
from features.compute.rows.point_windows import HeldPoint, PointWindows, WaveformPoint
from features.compute.rows.quality import ProcessQuality, WaveformQuality
from features.define.reasons import REASONS, Flags, Reason, Texts
from features.define.spec import FeatureSpec
from features.kernels.spectrum import ACCELERATION
from features.windows.stretches import Booleans


def point_quality(found: HeldPoint | WaveformPoint, values: Values) -> tuple[Values, ProcessQuality | WaveformQuality]:
    """Return the values of a point for all its windows, and the quality of these.

    Args:
        found: its windows.
        values: what its kernels computed of the batches; of extreme waveforms the features become NaN.
    """
    if isinstance(found, WaveformPoint):
        return _waveform_quality(found, values)
    windows, valid = found.windows, found.windows.valid
    values = _without_changed(values, found)
    of_valid = {name: each[valid] for name, each in values.items()}
    faults = {code: holds[valid] for code, holds in windows.faults.items()}
    known: Flags = {**faults, "magnitude": of_valid["extreme"]}
    flags = missing_flags(_unchanged(found), of_valid, known, int(valid.sum()))
    codes = {**windows.faults, **on_all_windows(flags, valid), **_changed(found)}
    return values, ProcessQuality(windows, reason_texts(codes, len(valid)))


def _unchanged(found: PointWindows) -> list[FeatureSpec[Any]]:
    """Return the features that depend on no fact that changes within the windows."""
    return [spec for spec in found.plan.features if not found.plan.facts[spec.name] & found.changed]


def _changed(found: PointWindows) -> Flags:
    """Return [windows] the flag that a fact changes within each of them; none if no fact does."""
    return {"changed": np.ones(len(found.windows.end), np.bool_)} if found.changed else {}


def _without_changed(values: Values, found: PointWindows) -> Values:
    """Return the values without those that depend on a fact that changes within the windows."""
    lost = {name for name, facts in found.plan.facts.items() if facts & found.changed} & values.keys()
    return {
        name: np.full(len(each), _nothing(each), each.dtype) if name in lost and each.dtype.kind in "fO" else each
        for name, each in values.items()
    }


def _waveform_quality(found: WaveformPoint, values: Values) -> tuple[Values, WaveformQuality]:
    plan, valid, unchanged = found.plan, found.windows.valid, _without_changed(values, found).items()
    numbers = {name: each if _is_text(each) else each.astype(np.float64, copy=False) for name, each in unchanged}
    extreme = numbers["extreme"] == 1
    if extreme.any():
        for spec in plan.features:
            numbers[spec.name][extreme] = _nothing(numbers[spec.name])
    flags = _waveform_flags(found, numbers)
    speed = found.speeds.faults if plan.shows_speed and "speed" not in found.changed else {}
    codes = {**found.windows.faults, **on_all_windows(flags, valid), **_changed(found)}
    for code, holds in speed.items():  # a contradiction is of the spectrum, of the plant file, or of both
        codes[code] = holds | codes[code] if code in codes else holds
    reason = reason_texts(codes, len(valid))
    everywhere = {name: _on_all_windows(each, valid, _nothing(each)) for name, each in numbers.items()}
    return everywhere, WaveformQuality(found.windows, reason, found.tiling, everywhere["clipped"], found.speeds)


def _waveform_flags(found: WaveformPoint, numbers: Values) -> Flags:
    """Return the codes that explain the missing features of valid windows; none if no feature is missing."""
    if not any(is_missing(each).any() for each in numbers.values()):
        return {}
    count = len(numbers["extreme"])
    speed = {code: holds[found.windows.valid] for code, holds in found.speeds.faults.items()}
    by_spectrum = numbers["contradicted"] == 1 if "contradicted" in numbers else np.zeros(count, np.bool_)
    known: Flags = {
        **speed,
        "speed_contradicted": speed["speed_contradicted"] | by_spectrum,
        "geometry": ~found.has_geometry[found.windows.valid],
        "unit": np.full(count, found.plan.point.unit not in ACCELERATION),
        "constant": numbers["constant"] == 1,
        "magnitude": numbers["extreme"] == 1,
    }
    return missing_flags(_unchanged(found), numbers, known, count)


def missing_flags(specs: Iterable[FeatureSpec[Any]], values: Values, known: Flags, count: int) -> Flags:
    """Return the codes that explain the missing features of valid windows.

    What nothing known explains has another code that its spec gives, such as `resolution`; or else `other`: a feature
    of another package that gives none.

    Args:
        specs: the features.
        values: their values.
        known: what is known of these windows; a code counts where a feature that gives it is missing.
        count: how many windows.
    """
    flags: dict[Reason, Booleans] = defaultdict(lambda: np.zeros(count, np.bool_))
    for spec in specs:
        missing = is_missing(values[spec.name])
        if not missing.any():
            continue
        speed: Sequence[Reason] = ("speed_contradicted",) if "no_speed" in spec.reasons else ()
        explained: Iterable[Reason] = (*spec.reasons, *speed, "magnitude")
        for code in (code for code in explained if code in known):
            flags[code] |= missing & known[code]
            missing &= ~known[code]
        rest: Reason = next((code for code in spec.reasons if code not in known), "other")
        flags[rest] |= missing
    return dict(flags)


def is_missing(values: npt.NDArray[Any]) -> Booleans:
    """Return [windows] where a feature is undefined: a number that is not finite, or no text."""
    if _is_text(values):
        return np.fromiter((each is None for each in values), np.bool_, len(values))
    return ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(len(values), np.bool_)


def _is_text(values: npt.NDArray[Any]) -> bool:
    return values.dtype.kind == "O"


def _nothing(values: npt.NDArray[Any]) -> float | None:
    """Return what stands for an undefined value among these."""
    return None if _is_text(values) else np.nan


def on_all_windows(flags: Flags, valid: Booleans) -> Flags:
    """Return the flags of valid windows for all of them, False in the others."""
    return {code: _on_all_windows(holds, valid, otherwise=False) for code, holds in flags.items()}


def _on_all_windows(values: npt.NDArray[Any], valid: Booleans, otherwise: float | None) -> npt.NDArray[Any]:
    """[valid windows] -> [windows], with `otherwise` in those that are not valid."""
    wide = np.full(len(valid), otherwise, values.dtype)
    wide[valid] = values
    return wide


def reason_texts(flags: Flags, count: int) -> Texts:
    """Return [count windows] the codes that hold, in the order of `REASONS`, separated by spaces; None where none."""
    held = [code for code in REASONS if code in flags]
    masks = np.zeros(count, np.int64)
    for bit, code in enumerate(held):
        masks |= flags[code].astype(np.int64) << bit
    known, places = np.unique(masks, return_inverse=True)
    texts = [" ".join(code for bit, code in enumerate(held) if mask >> bit & 1) or None for mask in known.tolist()]
    return np.array(texts, np.object_)[places]
