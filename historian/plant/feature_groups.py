"""Which groups of features there are, and what each asks of the plant file: enough to check one, and no kernel yet.

The groups are in `features.define.catalogue` and, by the entry-point group `penstock.features`, in other packages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Final, Protocol

from historian.errors import near_misses
from historian.plant.model import Zones

ENTRY_POINTS: Final = "penstock.features"


@dataclass(frozen=True)
class GroupNeeds:
    """What a group of features asks of the feature set that names it."""

    kinds: frozenset[str]
    """The kinds of points it can be computed for, as `point_kind` tells them."""
    speed: bool = False
    """Whether its features are undefined without the shaft's speed."""
    bearing: bool = False
    """Whether they are undefined without a bearing's geometry."""


_VIBRATION: Final = frozenset({"vibration"})
_NUMBERS: Final = frozenset({"process", "speed", "digital"})
_STATES: Final = frozenset({"state", "digital"})

BUILT_IN: Final[Mapping[str, GroupNeeds]] = {
    "time": GroupNeeds(_VIBRATION),
    "spectrum": GroupNeeds(_VIBRATION),
    "orders": GroupNeeds(_VIBRATION, speed=True),
    "envelope": GroupNeeds(_VIBRATION, speed=True, bearing=True),
    "kurtogram": GroupNeeds(_VIBRATION),
    "slow": GroupNeeds(_NUMBERS),
    "states": GroupNeeds(_STATES),
}

DEFAULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "vibration": ("time", "spectrum"),
    "process": ("slow",),
    "speed": ("slow",),
    "digital": ("states",),
    "state": ("states",),
}
"""Kind of point -> the groups it has where its feature set names none."""


class Role(Protocol):
    """What `point_kind` asks of a point of a class, or of the tag that fills it."""

    @property
    def kind(self) -> str:
        """Vibration, process, speed or state."""
        ...

    @property
    def states(self) -> Mapping[str, float | str]:
        """Name -> the number or text that stands for it."""
        ...

    @property
    def zones(self) -> Zones | None:
        """Limits of the velocity RMS."""
        ...


def point_kind(point: Role) -> str:
    """The kind of a point, or digital for a process point whose numbers stand for states."""
    return "digital" if point.kind == "process" and point.states else point.kind


def groups_of(features: Sequence[str], point: Role) -> tuple[str, ...]:
    """Which of the groups that a feature set names, or of the defaults if it names none, fit the point.

    Raises:
        ValueError: as `needs_of` does.
    """
    kind = point_kind(point)
    return tuple(group for group in features or DEFAULTS[kind] if kind in needs_of(group).kinds)


def needs_of(group: str) -> GroupNeeds:
    """What the group of that name asks for.

    Raises:
        ValueError: there is no such group, or it cannot be used; the message names those there are.
    """
    return BUILT_IN[group] if group in BUILT_IN else _needs(load_group(group), group)


def load_group(name: str) -> Any:
    """The object another package registers for the group: a `features.define.spec.FeatureGroup`, as `needs_of` checks.

    Raises:
        ValueError: there is none of that name, or its package cannot be imported.
    """
    found = entry_points(group=ENTRY_POINTS)
    if name not in found.names:
        raise ValueError(f"unknown group of features {name!r}{near_misses(name, {*BUILT_IN, *found.names})}")
    try:
        return found[name].load()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the group of features {name!r} cannot be loaded: {error}") from None


def other_groups() -> list[str]:
    """The names of the groups of other packages, sorted."""
    return sorted(entry_points(group=ENTRY_POINTS).names)


def _needs(group: Any, name: str) -> GroupNeeds:
    needs = getattr(group, "needs", None)
    if not isinstance(needs, GroupNeeds):
        raise ValueError(f"the group of features {name!r} is no FeatureGroup but a {type(group).__name__}")
    return needs
