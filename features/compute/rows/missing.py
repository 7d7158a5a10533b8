"""Why single features of a valid window are missing: what is known of the window, held against what each spec gives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from features.define.reasons import Flags, Reason
from features.define.spec import FeatureSpec, Floats
from features.windows.tiling import Booleans

Name = TypeVar("Name", bound=str)
Values = Mapping[str, npt.NDArray[Any]]
"""Feature name -> [windows]."""
_LARGEST: Final = 1e60
"""Fourth powers of samples, their sums and the squares of what is left of them at the edge of a Hann window fit into
float64 up to here, and down to its reciprocal."""


def missing_flags(specs: Iterable[FeatureSpec[Any]], values: Values, known: Flags, count: int) -> Flags:
    """The codes of `count` valid windows.

    What nothing known explains is what else its spec gives, such as `resolution`; or else `other`: a feature of another
    package that does not say.

    Args:
        specs: of the features.
        values: what they came to.
        known: what is known of these windows; a code counts where a feature that gives it is missing.
        count: of windows.
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


def is_extreme(lowest: Floats, highest: Floats) -> Booleans:
    """[windows] whether features of values between these would be numbers that float64 has cut short."""
    too_large = np.maximum(-lowest, highest) > _LARGEST
    return too_large | ((highest > lowest) & (highest - lowest < 1 / _LARGEST))


def is_missing(values: npt.NDArray[Any]) -> Booleans:
    """[windows] where a feature that is a number is undefined."""
    return ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(len(values), np.bool_)


def spread(values: Mapping[Name, npt.NDArray[Any]], valid: Booleans, otherwise: float) -> dict[Name, npt.NDArray[Any]]:
    """[valid windows] -> [windows]."""
    wide = {name: np.full(len(valid), otherwise, found.dtype) for name, found in values.items()}
    for name, found in values.items():
        wide[name][valid] = found
    return wide
