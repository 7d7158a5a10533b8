"""What a feature is: a name, a definition people can check, and the kernel that computes it; and groups of them.

A package of its own adds a group through the entry-point group `penstock.features`: the entry point's name is the
group's, its object a `FeatureGroup`. It is checked when it is made, like ours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from features.define.reasons import REASONS, Reason
from historian.errors import ConfigError, FeatureError
from historian.plant.feature_groups import GroupNeeds

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Batch = TypeVar("Batch")


@dataclass(frozen=True)
class FeatureSpec(Generic[Batch]):
    """One feature. A function and one of these in `features.define.catalogue` add it to every view of its group."""

    name: str
    unit: str
    """`{unit}` stands for the unit of the point; empty for a pure number."""
    formula: str
    source: str
    """Where the definition can be looked up."""
    kernel: Callable[[Batch], npt.NDArray[Any]]
    """A pure function of a batch of windows -> one value per window, NaN where undefined."""
    undefined: str = ""
    """When the value is missing, besides in a window that is not valid."""
    version: int = 1
    """Goes up whenever the same window gives another value than before."""
    dtype: pl.DataType = field(default=pl.Float64())
    reasons: tuple[Reason, ...] = ()
    """The codes `undefined` goes by; `magnitude` may always happen."""
    what: str = ""
    """What it tells, in a few words."""


Takes = Literal["waveforms", "spectra", "diagnosis", "holds", "states"]

KINDS: Final[Mapping[Takes, frozenset[str]]] = {
    "waveforms": frozenset({"vibration"}),
    "spectra": frozenset({"vibration"}),
    "diagnosis": frozenset({"vibration"}),
    "holds": frozenset({"process", "speed", "digital"}),
    "states": frozenset({"state", "digital"}),
}
"""What the kernels of a group take -> the kinds of points it can be computed for, as `point_kind` tells them.

`features.kernels.vibration.Waveforms`, `features.kernels.spectrum.Spectra`, `features.kernels.diagnosis.Diagnosis`,
`features.kernels.slow.HeldWindows`, `features.kernels.states.StateWindows`.
"""


@dataclass(frozen=True)
class FeatureGroup:
    """Features that a feature set asks for together, by the name of the group.

    Raises:
        ConfigError: a spec that cannot become a column or that nobody could check; every problem is told.
    """

    takes: Takes
    specs: tuple[FeatureSpec[Any], ...]
    about: str = ""
    """What the group is for, in a sentence."""

    def __post_init__(self) -> None:
        if problems := list(_problems(self)):
            raise ConfigError("\n".join(problems))

    @property
    def needs(self) -> GroupNeeds:
        """What the plant file must have for it."""
        reasons = {reason for spec in self.specs for reason in spec.reasons}
        return GroupNeeds(KINDS[self.takes], speed="no_speed" in reasons, bearing="geometry" in reasons)


def _problems(group: FeatureGroup) -> Iterator[str]:
    if group.takes not in KINDS:
        yield f"a group of features takes one of {', '.join(KINDS)}, not {group.takes!r}"
    for name, count in Counter(spec.name for spec in group.specs).items():
        if count > 1:
            yield f"feature {name} stands in its group {count} times; a name is one feature's"
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


def computed(spec: FeatureSpec[Batch], batch: Batch, count: int) -> npt.NDArray[Any]:
    """What the spec's kernel makes of a batch of `count` windows.

    Raises:
        FeatureError: it is not one value per window.
    """
    values = spec.kernel(batch)
    if values.shape != (count,):
        raise FeatureError(
            f"the kernel of {spec.name} made {values.shape} of {count} windows; it must return an array [windows]"
        )
    return values


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """numerator / denominator; NaN where the denominator is not positive."""
    undefined = np.full_like(denominator, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)
