"""The Feast repository under the plant's state directory: made by `penstock apply`, readable by Feast's own tools.

<state>/feast/feature_store.yaml    Feast's configuration, derived from the plant
<state>/feast/registry.db           what is registered
<state>/online.db                   the newest features of each asset
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from feast import FeatureService, FeatureStore, FeatureView
from feast.feature_view import DUMMY_ENTITY_NAME

from features.feast_objects import feast_objects
from features.tables import check_definition
from historian.errors import NotEnoughData
from historian.plant import Plant

# Without definitions beside its configuration, `feast apply` would delete everything that is registered.
_DEFINITIONS: Final = """from pathlib import Path

from features.feast_repo import registered

globals().update(registered(Path(__file__).parent))
"""


@dataclass(frozen=True)
class Applied:
    """What is registered after an apply."""

    project: str
    views: tuple[str, ...]
    services: tuple[str, ...]
    removed: tuple[str, ...]
    """Feature views and services the plant file no longer has."""


def repo_path(plant: Plant) -> Path:
    """The directory in which Feast's own command line works."""
    return plant.state / "feast"


def repo_config(plant: Plant) -> dict[str, Any]:
    """The contents of `feature_store.yaml`. Paths are absolute: Feast resolves relative ones in several ways."""
    return {
        "project": plant.site.replace("-", "_"),
        "provider": "local",
        "registry": {
            "registry_type": "file",
            "registry_store_type": "features.registry_store.AtomicRegistryStore",
            "path": str(repo_path(plant) / "registry.db"),
        },
        "offline_store": {"type": "features.offline_store.PolarsOfflineStore"},
        "online_store": {"type": "features.online_store.UtcSqliteOnlineStore", "path": str(plant.state / "online.db")},
        # The newest row per asset is found in the offline store, not by Feast in a frame of all rows.
        "materialization": {"pull_latest_features": True, "online_write_batch_size": 1000},
        "batch_engine": {"type": "local", "backend": "polars"},
        "entity_key_serialization_version": 3,
    }


def apply(plant: Plant) -> Applied:
    """Registers the plant's feature views and services, and removes those it no longer has. Idempotent.

    Raises:
        FeatureError: a feature table was made by another definition of its view; nothing has been registered.
    """
    for view in plant.views.values():
        check_definition(plant, view)
    path = repo_path(plant)
    path.mkdir(parents=True, exist_ok=True)
    (path / "definitions.py").write_text(_DEFINITIONS, encoding="utf-8")
    (path / "feature_store.yaml").write_text(
        json.dumps(repo_config(plant), indent=2) + "\n", encoding="utf-8"
    )  # is YAML
    store = FeatureStore(str(path))
    objects = feast_objects(plant)
    gone = _unwanted(store, objects)
    store.apply(objects, objects_to_delete=gone, partial=False)
    return Applied(
        project=store.project,
        views=tuple(item.name for item in objects if isinstance(item, FeatureView)),
        services=tuple(item.name for item in objects if isinstance(item, FeatureService)),
        removed=tuple(sorted(item.name for item in gone if isinstance(item, FeatureView | FeatureService))),
    )


def _unwanted(store: FeatureStore, objects: list[Any]) -> list[Any]:
    """What is registered but not among `objects`. Services first: Feast looks at the views they name."""
    wanted = {(type(item), item.name) for item in objects}
    registered = [*store.list_feature_services(), *store.list_feature_views(), *store.list_entities()]
    sources = {item.batch_source.name for item in objects if isinstance(item, FeatureView)}
    return [
        *(item for item in registered if (type(item), item.name) not in wanted and item.name != DUMMY_ENTITY_NAME),
        *(source for source in store.list_data_sources() if source.name not in sources),
    ]


def open_feature_store(plant: Plant) -> FeatureStore:
    """Feast over the plant's repository.

    Raises:
        NotEnoughData: nothing has been registered yet.
    """
    path = repo_path(plant)
    if not (path / "registry.db").exists():
        raise NotEnoughData(f"no features are registered in {path}; run penstock apply")
    return FeatureStore(str(path))


def registered(repo: Path) -> dict[str, Any]:
    """Everything registered in a Feast repository, by kind and name."""
    store = FeatureStore(str(repo))
    objects = [*store.list_entities(), *store.list_feature_views(), *store.list_feature_services()]
    return {f"{type(item).__name__}_{item.name}": item for item in objects}
