"""The feature reference, as a page and as `penstock features` prints it, read from the specs and docstrings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

from features.define.catalogue import GROUPS, QUALITY_COLUMNS, all_groups
from features.define.reasons import REASONS
from features.define.spec import FeatureSpec
from features.define.view_plan import view_plan
from features.kernels import angles, cepstrum, envelope, kurtogram, peak_hold, process, vibration, window_verdict
from features.windows import tiling
from historian.errors import UnknownFeature, near_misses
from historian.plant.plant import Plant

_MANUALS: Final = {
    "envelope": envelope,
    "kurtogram": kurtogram,
    "verdict": window_verdict,
    "tracking": angles,
    "peakhold": peak_hold,
    "cepstrum": cepstrum,
    "process": process,
}
"""Modules whose docstrings say more of a group than a sentence."""


@dataclass(frozen=True)
class Entry:
    """A feature of a group, and the columns of a plant that have it."""

    group: str
    spec: FeatureSpec[Any]
    columns: dict[str, list[str]] = field(default_factory=dict)
    """View -> names of columns."""

    @property
    def unit(self) -> str:
        """The unit, with words where it is the point's."""
        return self.spec.unit.replace("{unit}", "unit of the point")

    @property
    def record(self) -> dict[str, Any]:
        """Everything about the feature, as it is printed for machines."""
        keys = ("name", "what", "formula", "source", "version", "undefined", "reasons")
        return {
            "group": self.group,
            **{key: getattr(self.spec, key) for key in keys},
            "unit": self.unit,
            "views": self.columns,
        }


def entries(plant: Plant | None) -> list[Entry]:
    """Return every feature by group, with those that only the plant has for its bands and states."""
    groups = {**{name: group.specs for name, group in all_groups().items()}, **QUALITY_COLUMNS}
    found = {(name, spec.name): Entry(name, spec) for name, specs in groups.items() for spec in specs}
    for view, point, name, spec in _uses(plant) if plant else ():
        entry = found.setdefault((name, spec.name), Entry(name, spec))
        entry.columns.setdefault(view, []).append(f"{point}_{spec.name}")
    return sorted(found.values(), key=lambda entry: list(groups).index(entry.group))


def _uses(plant: Plant) -> Iterator[tuple[str, str, str, FeatureSpec[Any]]]:
    """Yield (view, point, group, feature) of every column of the plant."""
    for view in plant.views.values():
        for point in view_plan(plant, view).points:
            groups = {name: group.specs for name, group in point.groups.items()}
            for group, specs in {**groups, **point.quality}.items():
                yield from ((view.name, point.name, group, spec) for spec in specs)


def explained(name: str, plant: Plant | None) -> list[Entry]:
    """Return the features of that name, or of the column of that name in one of the plant's views.

    Raises:
        UnknownFeature: there is none; the message names near misses.
    """
    every = entries(plant)
    found = [each for each in every if name == each.spec.name or any(name in view for view in each.columns.values())]
    if not found:
        hint = near_misses(name, {entry.spec.name for entry in every})
        raise UnknownFeature(f"there is no feature {name!r}{hint}; penstock features list shows them all")
    return found


def reference_markdown() -> str:
    """Return the page for vibration analysts: conventions, how windows are labelled, tables by group, reasons."""
    about = {name: _paragraphs(_MANUALS[name]) if name in _MANUALS else GROUPS[name].about for name in GROUPS}
    groups = [f"### {name}\n\n{about[name]}\n\n{_table(group.specs)}" for name, group in GROUPS.items()]
    quality = [f"### {name}\n\n{_table(specs)}" for name, specs in QUALITY_COLUMNS.items()]
    reasons = [f"| `{code}` | {meaning} |" for code, meaning in REASONS.items()]
    parts = [
        "A column of a feature table is called `<point>_<feature>`. `penstock features list` shows what is on "
        "this page and what other packages add; `penstock features explain NAME` explains one feature, and where "
        "the plant has it.",
        "## Conventions",
        _paragraphs(vibration).partition("\n\n")[2],
        "## Windows",
        _paragraphs(tiling),
        "## Features by group",
        "A feature set of `plant.toml` names the groups it wants in `features`. In addition to what the tables say, "
        "every feature is missing in a window that is not valid, except `count` and `good_share` of process points, "
        "and may be missing because of the `magnitude` of its values, or because a fact that it uses `changed` in the "
        "window; one that needs the speed also because that is `speed_contradicted`. In brackets: the row's codes.",
        *groups,
        "## Quality columns",
        "Every point has its quality; the speed follows where the feature set names one, or has a group that needs "
        "one; the zone where the point has limits and the group `spectrum`.",
        *quality,
        "## Why a feature is missing",
        "The codes of `<point>_reason`, separated by spaces; null where every feature of the point has a value.",
        "\n".join(["| code | meaning |", "| --- | --- |", *reasons]),
    ]
    return "\n\n".join(parts)


def _paragraphs(module: ModuleType) -> str:
    """Return a module's docstring after its first blank line; what stands before it is for programmers."""
    return str(module.__doc__).partition("\n\n")[2].strip()


def _table(specs: Iterable[FeatureSpec[Any]]) -> str:
    head = ("feature", "unit", "what it shows", "definition", "missing when", "source", "version")
    rows = [(f"`{s.name}`", s.unit, s.what, f"`{s.formula}`", _missing(s), s.source, str(s.version)) for s in specs]
    escaped = [[cell.replace("|", r"\|").replace("{unit}", "unit of the point") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *escaped])


def _missing(spec: FeatureSpec[Any]) -> str:
    codes = ", ".join(f"`{code}`" for code in spec.reasons)
    return f"{spec.undefined} ({codes})" if codes else spec.undefined
