"""The feature reference, as a page and as `penstock features` tells it, read from the specs and docstrings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

from features.define.catalogue import GROUPS, SAID, all_groups, point_specs
from features.define.reasons import REASONS
from features.define.spec import FeatureSpec
from features.kernels import envelope, kurtogram, slow, vibration
from features.windows import tiling
from historian.errors import UnknownFeature, near_misses
from historian.plant.plant import Plant

_MANUALS: Final = {"envelope": envelope, "kurtogram": kurtogram, "slow": slow}
"""Modules whose docstrings say more of a group than a sentence."""


@dataclass(frozen=True)
class Entry:
    """A feature of a group, and where a plant has it."""

    group: str
    spec: FeatureSpec[Any]
    columns: dict[str, list[str]] = field(default_factory=dict)
    """View -> names of columns."""

    @property
    def unit(self) -> str:
        """With words for the unit of the point."""
        return self.spec.unit.replace("{unit}", "unit of the point")

    @property
    def record(self) -> dict[str, Any]:
        """For machines."""
        told = ("name", "what", "formula", "source", "version", "undefined", "reasons")
        return {
            "group": self.group,
            **{key: getattr(self.spec, key) for key in told},
            "unit": self.unit,
            "views": self.columns,
        }


def entries(plant: Plant | None) -> list[Entry]:
    """Every feature there is, by group, with those that only the plant has for its bands and states."""
    groups = {**{name: group.specs for name, group in all_groups().items()}, **SAID}
    found = {(name, spec.name): Entry(name, spec) for name, specs in groups.items() for spec in specs}
    for view, point, name, spec in _uses(plant) if plant else ():
        entry = found.setdefault((name, spec.name), Entry(name, spec))
        entry.columns.setdefault(view, []).append(f"{point}_{spec.name}")
    return sorted(found.values(), key=lambda entry: list(groups).index(entry.group))


def _uses(plant: Plant) -> Iterator[tuple[str, str, str, FeatureSpec[Any]]]:
    """(view, point, group, feature) of every column of the plant."""
    for view in plant.views.values():
        points = plant.classes[view.asset_class].points
        for point in view.points:
            for group, specs in point_specs(view, points[point]).items():
                yield from ((view.name, point, group, spec) for spec in specs)


def explained(name: str, plant: Plant | None) -> list[Entry]:
    """The features of that name, or behind the column of that name in one of the plant's views.

    Raises:
        UnknownFeature: there is none; names the near misses.
    """
    every = entries(plant)
    found = [each for each in every if name == each.spec.name or any(name in view for view in each.columns.values())]
    if not found:
        hint = near_misses(name, {entry.spec.name for entry in every})
        raise UnknownFeature(f"there is no feature {name!r}{hint}; penstock features list shows them all")
    return found


def reference_markdown() -> str:
    """The page for vibration analysts: conventions, how windows are labelled, tables by group, reasons."""
    told = {name: _paragraphs(_MANUALS[name]) if name in _MANUALS else GROUPS[name].about for name in GROUPS}
    groups = [f"### {name}\n\n{told[name]}\n\n{_table(group.specs)}" for name, group in GROUPS.items()]
    said = [f"### {name}\n\n{_table(specs)}" for name, specs in SAID.items()]
    reasons = [f"| `{code}` | {meaning} |" for code, meaning in REASONS.items()]
    parts = [
        "A column of a feature table is called `<point>_<feature>`. `penstock features list` tells what stands here "
        "and what other packages add, `penstock features explain NAME` of one feature and where the plant has it.",
        "## Conventions",
        _paragraphs(vibration).partition("\n\n")[2],
        "## Windows",
        _paragraphs(tiling),
        "## Features by group",
        "A feature set of `plant.toml` names the groups it wants in `features`. Besides what the tables say, every "
        "feature is missing in a window that is not valid, but for `count` and `good_share` of slow points, and may be "
        "missing for the `magnitude` of its values. In brackets stand the codes that the row then has.",
        *groups,
        "## What else a row says of a point",
        "Its quality always; its speed where the feature set names one, or has a group that needs one.",
        *said,
        "## Why a feature is missing",
        "The codes of `<point>_reason`, separated by spaces; null where every feature of the point is there.",
        "\n".join(["| code | meaning |", "| --- | --- |", *reasons]),
    ]
    return "\n\n".join(parts)


def _paragraphs(module: ModuleType) -> str:
    """A module's docstring without what comes before its first blank line, which is for programmers."""
    return str(module.__doc__).partition("\n\n")[2].strip()


def _table(specs: Iterable[FeatureSpec[Any]]) -> str:
    head = ("feature", "unit", "what it tells", "definition", "missing when", "source", "version")
    rows = [(f"`{s.name}`", s.unit, s.what, f"`{s.formula}`", _missing(s), s.source, str(s.version)) for s in specs]
    escaped = [[cell.replace("|", r"\|").replace("{unit}", "unit of the point") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *escaped])


def _missing(spec: FeatureSpec[Any]) -> str:
    codes = ", ".join(f"`{code}`" for code in spec.reasons)
    return f"{spec.undefined} ({codes})" if codes else spec.undefined
