"""Why single features of a valid window are missing: what is known of the window, held against what each spec gives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from features.reasons import Flags, Reason
from features.spec import FeatureSpec
from features.windows import Booleans

Name = TypeVar("Name", bound=str)
Values = Mapping[str, npt.NDArray[Any]]
"""Feature name -> [windows]."""


def missing_flags(specs: Iterable[FeatureSpec[Any]], values: Values, known: Flags, count: int) -> Flags:
    """The codes of `count` valid windows.

    What nothing known explains is what else its spec gives, such as `resolution`, or else `overflow`. That shows first
    in features which give nothing else.

    Args:
        specs: of the features.
        values: what they came to.
        known: what is known of these windows; a code counts where a feature that gives it is missing.
        count: of windows.
    """
    flags: dict[Reason, Booleans] = defaultdict(lambda: np.zeros(count, np.bool_))
    for spec in sorted(specs, key=lambda spec: not known.keys() >= set(spec.reasons)):
        missing = is_missing(values[spec.name])
        if not missing.any():
            continue
        for code in (code for code in spec.reasons if code in known):
            flags[code] |= missing & known[code]
            missing &= ~known[code]
        rest: Reason = next((code for code in spec.reasons if code not in known), "overflow")
        flags[rest] |= missing if rest == "overflow" else missing & ~flags["overflow"]
    return dict(flags)


def is_missing(values: npt.NDArray[Any]) -> Booleans:
    """[windows] where a feature that is a number is undefined."""
    return ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(len(values), np.bool_)


def spread(values: Mapping[Name, npt.NDArray[Any]], valid: Booleans, otherwise: float) -> dict[Name, npt.NDArray[Any]]:
    """[valid windows] -> [windows]."""
    wide = {name: np.full(len(valid), otherwise, found.dtype) for name, found in values.items()}
    for name, found in values.items():
        wide[name][valid] = found
    return wide
