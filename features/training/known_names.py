"""The names that label files may use: those of the plant now, or those a training set was made with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from historian.plant.plant import Plant


@dataclass(frozen=True)
class KnownNames:
    """Assets and feature views that labels and rules may name."""

    assets: Collection[str]
    views: Mapping[str, Collection[str]]
    """Feature view -> the assets it may have rows of."""


def names_of(plant: Plant) -> KnownNames:
    """Return the names of a plant's assets and views.

    Args:
        plant: The plant.
    """
    return KnownNames(plant.assets, {name: plant.assets_of(view.asset_class) for name, view in plant.views.items()})
