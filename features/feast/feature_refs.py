"""Feature references such as `compressor_vibration:de_h_rms_ac`, checked against Feast's registry."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from feast import FeatureStore, FeatureView

from historian.errors import UnknownFeature, near_misses
from historian.plant.plant import Plant


def views_of(store: FeatureStore, refs: Sequence[str]) -> Mapping[str, FeatureView]:
    """Return the feature view of each reference.

    Args:
        store: Feast over a repository.
        refs: `view:feature`; repeats count once.

    Raises:
        UnknownFeature: names every reference that is not registered, with near misses.
    """
    registered = {view.name: view for view in store.list_feature_views(allow_cache=True)}
    known = {f"{name}:{feature.name}": view for name, view in registered.items() for feature in view.features}
    unknown = [ref for ref in dict.fromkeys(refs) if ref not in known]
    if unknown:
        message = "\n".join(f"unknown feature {ref!r}{near_misses(ref, known)}" for ref in unknown)
        raise UnknownFeature(message if known else f"{message}; nothing is registered, run penstock apply")
    return {ref: known[ref] for ref in refs}


def registered_refs(store: FeatureStore) -> set[str]:
    """Return every reference that is registered.

    Args:
        store: Feast over a repository.
    """
    return {f"{view.name}:{feature.name}" for view in store.list_feature_views() for feature in view.features}


def service_refs(store: FeatureStore, name: str) -> list[str]:
    """Return the references of a feature service.

    Args:
        store: Feast over a repository.
        name: The service.

    Raises:
        UnknownFeature: no such service is registered.
    """
    services = {found.name: found for found in store.registry.list_feature_services(store.project, allow_cache=True)}
    if name not in services:
        hint = near_misses(name, services) if services else "; nothing is registered, run penstock apply"
        raise UnknownFeature(f"unknown feature service {name!r}{hint}")
    return [
        f"{view.name}:{feature.name}" for view in services[name].feature_view_projections for feature in view.features
    ]


def refs_of_assets(store: FeatureStore, plant: Plant, assets: Collection[str]) -> list[str]:
    """Return the references of all features in the feature services of the assets' classes.

    Args:
        store: Feast over the plant's repository.
        plant: The plant.
        assets: Names of its assets; repeats count once.

    Raises:
        UnknownFeature: a class has no features, or they are not registered.
    """
    classes = {plant.assets[asset].asset_class for asset in assets}
    return [ref for name in sorted(classes) for ref in service_refs(store, name)]


def column_of(ref: str) -> str:
    """Return a reference's name as a column: `compressor_vibration__de_h_rms_ac`.

    Args:
        ref: `view:feature`
    """
    return ref.replace(":", "__")


def meaning_of(ref: str, view: FeatureView) -> dict[str, str]:
    """Return a feature's registered properties: unit, formula, version, point, and the tags it is computed from.

    Args:
        ref: `view:feature`
        view: Its feature view.
    """
    described = next(field.tags for field in view.features if field.name == ref.partition(":")[2])
    lineage = view.tags.get(f"tags of {described.get('point')}")
    # Sorted: the registry keeps no order, and a training set's bytes must not depend on it.
    return dict(sorted({**described, **({"tags": lineage} if lineage else {})}.items()))
