"""Why features are missing: what is known of each window, compared with the reasons each spec may give."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from features.compute.rows.kernel_values import Values
from features.compute.rows.point_windows import HeldPoint, WaveformPoint
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
    of_valid = {name: each[valid] for name, each in values.items()}
    faults = {code: holds[valid] for code, holds in windows.faults.items()}
    known: Flags = {**faults, "magnitude": of_valid["extreme"]}
    flags = missing_flags(found.plan.features, of_valid, known, int(valid.sum()))
    return values, ProcessQuality(windows, reason_texts({**windows.faults, **on_all_windows(flags, valid)}, len(valid)))


def _waveform_quality(found: WaveformPoint, values: Values) -> tuple[Values, WaveformQuality]:
    plan, valid = found.plan, found.windows.valid
    numbers = {name: each.astype(np.float64, copy=False) for name, each in values.items()}
    extreme = numbers["extreme"] == 1
    if extreme.any():
        for spec in plan.features:
            numbers[spec.name][extreme] = np.nan
    flags = _waveform_flags(found, numbers)
    speed = found.speeds.faults if plan.shows_speed else {}
    reason = reason_texts({**found.windows.faults, **on_all_windows(flags, valid), **speed}, len(valid))
    everywhere = {name: _on_all_windows(each, valid, np.nan) for name, each in numbers.items()}
    return everywhere, WaveformQuality(found.windows, reason, found.tiling, everywhere["clipped"], found.speeds)


def _waveform_flags(found: WaveformPoint, numbers: Values) -> Flags:
    """Return the codes that explain the missing features of valid windows; none if no feature is missing."""
    if not any(is_missing(each).any() for each in numbers.values()):
        return {}
    count = len(numbers["extreme"])
    known: Flags = {
        **{code: holds[found.windows.valid] for code, holds in found.speeds.faults.items()},
        "geometry": ~found.has_geometry[found.windows.valid],
        "unit": np.full(count, found.plan.point.unit not in ACCELERATION),
        "constant": numbers["constant"] == 1,
        "magnitude": numbers["extreme"] == 1,
    }
    return missing_flags(found.plan.features, numbers, known, count)


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
        explained: Iterable[Reason] = (*spec.reasons, "magnitude")
        for code in (code for code in explained if code in known):
            flags[code] |= missing & known[code]
            missing &= ~known[code]
        rest: Reason = next((code for code in spec.reasons if code not in known), "other")
        flags[rest] |= missing
    return dict(flags)


def is_missing(values: npt.NDArray[Any]) -> Booleans:
    """Return [windows] where a feature that is a number is undefined."""
    return ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(len(values), np.bool_)


def on_all_windows(flags: Flags, valid: Booleans) -> Flags:
    """Return the flags of valid windows for all of them, False in the others."""
    return {code: _on_all_windows(holds, valid, otherwise=False) for code, holds in flags.items()}


def _on_all_windows(values: npt.NDArray[Any], valid: Booleans, otherwise: float) -> npt.NDArray[Any]:
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
