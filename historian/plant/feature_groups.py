"""The groups of features and what each needs from the plant file, so that it can be checked without the kernels.

The table `BUILT_IN` is the only definition of a group's name, the input of its kernels, and its needs. It is here and
not with the kernels because checking a plant file must not wait for NumPy and the kernels to load.
`features.define.catalogue` builds its groups from it, and a test compares the needs with the reasons in their specs.
Other packages register groups under the entry-point group `penstock.features`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Final, Literal, Protocol

from historian.errors import near_misses
from historian.plant.model import Zones

ENTRY_POINTS: Final = "penstock.features"

Takes = Literal["waveforms", "spectra", "diagnosis", "holds", "states"]
"""Input of a group's kernels: complete waveform windows, their spectra, both with shaft and bearing, the values that
held in each window, or the states that held."""

POINT_KINDS: Final[Mapping[Takes, frozenset[str]]] = {
    "waveforms": frozenset({"vibration"}),
    "spectra": frozenset({"vibration"}),
    "diagnosis": frozenset({"vibration"}),
    "holds": frozenset({"process", "speed", "digital"}),
    "states": frozenset({"state", "digital"}),
}
"""Input of kernels -> the kinds of points, as `point_kind` returns them, that provide it."""


@dataclass(frozen=True)
class GroupNeeds:
    """The requirements of a group of features on the feature set that names it."""

    takes: Takes
    """Input of its kernels."""
    speed: bool = False
    """Whether its features are undefined without the shaft's speed."""
    bearing: bool = False
    """Whether its features are undefined without a bearing's geometry."""

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of points for which the group can be computed, as `point_kind` returns them."""
        return POINT_KINDS[self.takes]


BUILT_IN: Final[Mapping[str, GroupNeeds]] = {
    "time": GroupNeeds("waveforms"),
    "spectrum": GroupNeeds("spectra"),
    "orders": GroupNeeds("diagnosis", speed=True),
    "envelope": GroupNeeds("diagnosis", speed=True, bearing=True),
    "kurtogram": GroupNeeds("diagnosis"),
    "verdict": GroupNeeds("diagnosis", speed=True, bearing=True),
    "tracking": GroupNeeds("diagnosis", speed=True),
    "gears": GroupNeeds("diagnosis", speed=True),
    "peakhold": GroupNeeds("diagnosis", speed=True, bearing=True),
    "cepstrum": GroupNeeds("spectra"),
    "integrated": GroupNeeds("spectra"),
    "process": GroupNeeds("holds"),
    "states": GroupNeeds("states"),
}
"""Name -> needs of Penstock's own groups, in the order of the reference page."""

DEFAULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "vibration": ("time", "spectrum"),
    "process": ("process",),
    "speed": ("process",),
    "digital": ("states",),
    "state": ("states",),
}
"""Kind of point -> the groups computed for it if the feature set names none."""


class Role(Protocol):
    """The properties of a point, or of the tag that fills it, that decide which features it can have."""

    @property
    def kind(self) -> str:
        """Kind of the point: vibration, process, speed or state."""
        ...

    @property
    def states(self) -> Mapping[str, float | str]:
        """Name of a state -> the number or text that stands for it."""
        ...

    @property
    def zones(self) -> Zones | None:
        """Limits of the point's velocity RMS, if it has any."""
        ...


def point_kind(point: Role) -> str:
    """Return the kind of a point, or `digital` for a process point whose numbers stand for states."""
    return "digital" if point.kind == "process" and point.states else point.kind


def groups_of(features: Sequence[str], point: Role) -> tuple[str, ...]:
    """Return the groups of a feature set, or the defaults if it names none, that fit the point.

    Args:
        features: names of the feature set's groups.
        point: the point.

    Raises:
        ValueError: a group is unknown or cannot be used, as for `needs_of`.
    """
    kind = point_kind(point)
    return tuple(group for group in features or DEFAULTS[kind] if kind in needs_of(group).kinds)


def needs_of(group: str) -> GroupNeeds:
    """Return the needs of the group of that name.

    Raises:
        ValueError: there is no such group, or it cannot be used; the message names near misses.
    """
    return BUILT_IN[group] if group in BUILT_IN else _needs(load_group(group), group)


def load_group(name: str) -> Any:
    """Load the object that another package registers for a group; it should be a `features.define.spec.FeatureGroup`.

    Raises:
        ValueError: no package registers that name, or the package cannot be imported.
    """
    found = entry_points(group=ENTRY_POINTS)
    if name not in found.names:
        raise ValueError(f"unknown group of features {name!r}{near_misses(name, {*BUILT_IN, *found.names})}")
    try:
        return found[name].load()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the group of features {name!r} cannot be loaded: {error}") from None


def other_groups() -> list[str]:
    """Return the names of the groups of other packages, sorted."""
    return sorted(entry_points(group=ENTRY_POINTS).names)


def _needs(group: Any, name: str) -> GroupNeeds:
    needs = getattr(group, "needs", None)
    if not isinstance(needs, GroupNeeds):
        raise ValueError(f"the group of features {name!r} is no FeatureGroup but a {type(group).__name__}")
    return needs
