"""The changes that an apply would make in Feast's registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from feast import Entity, FeatureService, FeatureView

from historian.times import format_duration

FeastObject: TypeAlias = Any
"""An `Entity`, `FeatureView` or `FeatureService`; Feast ships no types for them."""
_KINDS: Final[dict[type, str]] = {Entity: "entity", FeatureView: "feature view", FeatureService: "feature service"}


@dataclass(frozen=True)
class Change:
    """One object of the registry that an apply adds, changes or removes."""

    action: Literal["add", "change", "remove"]
    kind: str
    """Kind of the object: `entity`, `feature view` or `feature service`."""
    name: str
    details: tuple[str, ...] = ()
    """The differences: `ttl: 5m -> 1h`, `+ feature de_h_rms_ac`, `- feature de_h_mean`."""

    def __str__(self) -> str:
        """Return the change as text, with one line per detail."""
        return "\n".join([f"{self.action} {self.kind} {self.name}", *(f"    {detail}" for detail in self.details)])


def changes(registered: Iterable[FeastObject], wanted: Iterable[FeastObject]) -> list[Change]:
    """Return the changes from `registered` to `wanted`: removals first, then the others in the order of `wanted`.

    Args:
        registered: Objects of the registry.
        wanted: Objects of the plant.
    """
    before = {(_KINDS[type(item)], item.name): _described(item) for item in registered}
    after = {(_KINDS[type(item)], item.name): _described(item) for item in wanted}
    removed = [Change("remove", *key) for key in before if key not in after]
    new = {key: properties for key, properties in after.items() if before.get(key) != properties}
    return removed + [
        Change("change", *key, _differences(before[key], properties)) if key in before else Change("add", *key)
        for key, properties in new.items()
    ]


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    removed = [f"- {name}" for name in before if name not in after]
    added = [f"+ {name}" for name in after if name not in before]
    both = [name for name in after if name in before and before[name] != after[name]]
    return (*removed, *added, *(f"{name}: {before[name] or 'nothing'} -> {after[name] or 'nothing'}" for name in both))


def _described(item: FeastObject) -> dict[str, str]:
    """Return the properties that Penstock sets, as text."""
    if isinstance(item, Entity):
        return {"join key": item.join_key, "description": item.description}
    if isinstance(item, FeatureService):
        views = {f"view {view.name}": f"{len(view.features)} features" for view in item.feature_view_projections}
        return {"description": item.description, **views}
    return {
        "ttl": format_duration(item.ttl) if item.ttl else "",
        "source": item.batch_source.path,
        "description": item.description,
        **item.tags,
        **{f"feature {field.name}": f"{field.dtype}, {_in_one_line(field.tags)}" for field in item.features},
    }


def _in_one_line(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {text}" for key, text in sorted(tags.items()))
