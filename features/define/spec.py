"""What a feature is: a name, a definition people can check, and the kernel that computes it; and groups of features.

Another package adds a group through the entry-point group `penstock.features`: the entry point's name is the group's
name, its object a `FeatureGroup`. It is checked when it is made, as Penstock's own groups are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from features.define.reasons import REASONS, Reason
from historian.errors import ConfigError
from historian.plant.feature_groups import POINT_KINDS, GroupNeeds, Takes

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Batch = TypeVar("Batch")


@dataclass(frozen=True)
class FeatureSpec(Generic[Batch]):
    """One feature: a kernel and one of these in `features.define.catalogue` add it to every view with its group."""

    name: str
    unit: str
    """`{unit}` stands for the unit of the point; empty for a pure number."""
    formula: str
    source: str
    """Where the definition can be looked up."""
    kernel: Callable[[Batch], npt.NDArray[Any]]
    """A pure function: a batch of windows -> [windows] values, NaN where undefined."""
    undefined: str = ""
    """When the value is missing in a valid window; in an invalid one it always is."""
    version: int = 1
    """Raised whenever the same window gives another value than before."""
    dtype: pl.DataType = field(default=pl.Float64())
    reasons: tuple[Reason, ...] = ()
    """The codes for `undefined`, in a row's reason column; `magnitude` is always possible."""
    what: str = ""
    """What the feature shows, in a few words."""


@dataclass(frozen=True)
class FeatureGroup:
    """Features that a feature set names together, by the name of the group.

    Raises:
        ConfigError: a spec cannot become a column, or cannot be checked; the message lists every problem.
    """

    takes: Takes
    """What the kernels take: `features.kernels.vibration.Waveforms`, `features.kernels.spectrum.Spectra`,
    `features.kernels.diagnosis.Diagnosis`, `features.kernels.process.HeldWindows` or
    `features.kernels.states.StateWindows`."""
    specs: tuple[FeatureSpec[Any], ...]
    about: str = ""
    """What the group is for, in a sentence."""

    def __post_init__(self) -> None:
        if problems := list(_problems(self)):
            raise ConfigError("\n".join(problems))

    @property
    def needs(self) -> GroupNeeds:
        """What the plant file must have for the group, by the reasons its specs give."""
        reasons = {reason for spec in self.specs for reason in spec.reasons}
        return GroupNeeds(self.takes, speed="no_speed" in reasons, bearing="geometry" in reasons)


def _problems(group: FeatureGroup) -> Iterator[str]:
    if group.takes not in POINT_KINDS:
        yield f"a group of features takes one of {', '.join(POINT_KINDS)}, not {group.takes!r}"
    for name, count in Counter(spec.name for spec in group.specs).items():
        if count > 1:
            yield f"feature {name} stands in its group {count} times; each feature needs a name of its own"
    for spec in group.specs:
        yield from _problems_of(spec)


def _problems_of(spec: FeatureSpec[Any]) -> Iterator[str]:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", spec.name):
        yield f"feature {spec.name!r} cannot name a column; use lower-case letters, digits and _"
    for part in ("formula", "source"):
        if not getattr(spec, part).strip():
            yield f"feature {spec.name} has no {part}; nobody could check it"
    if spec.version < 1:
        yield f"feature {spec.name} has version {spec.version}; the first one is 1"
    if spec.reasons and not spec.undefined:
        yield f"feature {spec.name} gives reasons but does not say what makes it undefined"
    if unknown := set(spec.reasons) - set(REASONS):
        yield f"feature {spec.name} gives the unknown reason {', '.join(sorted(unknown))}; use {', '.join(REASONS)}"


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return numerator / denominator, NaN where the denominator is not positive; all of one shape."""
    undefined = np.full_like(denominator, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)
