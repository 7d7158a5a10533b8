"""The Feast repository under the plant's state directory: created by `penstock apply`, readable by Feast's own tools.

<state>/feast/feature_store.yaml    Feast's configuration, derived from the plant
<state>/feast/registry.db           what is registered
<state>/online.db                   the newest features of each asset
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from feast import FeatureService, FeatureStore, FeatureView, RepoConfig
from feast.feature_view import DUMMY_ENTITY_NAME

from features.feast.registry.feast_objects import feast_objects
from features.feast.registry.feast_plan import Change, FeastObject, changes
from features.tables.feature_table import check_definition
from historian.errors import NotEnoughData
from historian.plant.plant import Plant

# Without definitions in the directory of its configuration, `feast apply` would delete everything that is registered.
_DEFINITIONS: Final = """from pathlib import Path

from features.feast.registry.feast_repo import registered

globals().update(registered(Path(__file__).parent))
"""


@dataclass(frozen=True)
class Applied:
    """The registered objects after an apply, and its changes."""

    project: str
    views: tuple[str, ...]
    services: tuple[str, ...]
    changes: tuple[Change, ...]

    @property
    def removed(self) -> tuple[str, ...]:
        """Names of removed feature views and services, which the plant file no longer has."""
        return tuple(sorted(change.name for change in self.changes if change.action == "remove"))


def repo_path(plant: Plant) -> Path:
    """Return the directory in which Feast's own command line works.

    Args:
        plant: The plant.
    """
    return plant.state / "feast"


def repo_config(plant: Plant) -> dict[str, Any]:
    """Return the contents of `feature_store.yaml`. Paths are absolute: Feast resolves relative ones in several ways.

    Args:
        plant: The plant.
    """
    return {
        "project": plant.site.replace("-", "_"),
        "provider": "local",
        "registry": _registry(plant),
        "offline_store": {"type": "features.feast.offline.store.PolarsOfflineStore"},
        "online_store": _online_store(plant),
        # The offline store finds the newest row per asset, instead of Feast in a frame of all rows.
        "materialization": {"pull_latest_features": True, "online_write_batch_size": 1000},
        "batch_engine": {"type": "local", "backend": "polars"},
        "entity_key_serialization_version": 3,
    }


def _online_store(plant: Plant) -> dict[str, Any]:
    """Return the `online_store` table, without Redis's password: Feast's own tools find it in the environment."""
    if not plant.online_url:
        return {
            "type": "features.feast.online.sqlite_store.UtcSqliteOnlineStore",
            "path": str(plant.state / "online.db"),
        }
    password = {"password": "${PENSTOCK_ONLINE_PASSWORD}"} if plant.online_password else {}
    return {"type": "features.feast.online.redis_store.GuardedRedisOnlineStore", "url": plant.online_url, **password}


def plan(plant: Plant) -> list[Change]:
    """Return what an apply would change, without changing anything.

    Args:
        plant: The plant.

    Raises:
        FeatureError: A feature table was computed with another definition of its view.
    """
    for view in plant.views.values():
        check_definition(plant, view)
    there = (repo_path(plant) / "registry.db").exists()
    return changes(_registered(_feast(plant)) if there else [], feast_objects(plant))


def apply(plant: Plant, report: Callable[[Sequence[Change]], None] = lambda _: None) -> Applied:
    """Register the plant's feature views and services, and remove those it no longer has. Idempotent.

    Args:
        plant: The plant.
        report: Called with the planned changes before anything is changed.

    Raises:
        FeatureError: A feature table was computed with another definition of its view; nothing has been registered.
        StoreUnavailable: The online store cannot be used.
    """
    planned = plan(plant)
    report(planned)
    path = repo_path(plant)
    path.mkdir(parents=True, exist_ok=True)
    (path / "definitions.py").write_text(_DEFINITIONS, encoding="utf-8")
    (path / "feature_store.yaml").write_text(
        json.dumps(repo_config(plant), indent=2) + "\n", encoding="utf-8"
    )  # is YAML
    store, objects = _feast(plant), feast_objects(plant)
    store.apply(objects, objects_to_delete=_unwanted(store, objects), partial=False)
    return Applied(
        project=store.project,
        views=tuple(item.name for item in objects if isinstance(item, FeatureView)),
        services=tuple(item.name for item in objects if isinstance(item, FeatureService)),
        changes=tuple(planned),
    )


def _unwanted(store: FeatureStore, objects: list[Any]) -> list[Any]:
    """Return registered objects that are not among `objects`; services first, since Feast reads the views they name."""
    wanted = {(type(item), item.name) for item in objects}
    sources = {item.batch_source.name for item in objects if isinstance(item, FeatureView)}
    return [
        *(item for item in _registered(store) if (type(item), item.name) not in wanted),
        *(source for source in store.list_data_sources() if source.name not in sources),
    ]


def _registered(store: FeatureStore) -> list[FeastObject]:
    """Return the registered objects; services first, since the views of a service cannot be removed before it."""
    entities = [entity for entity in store.list_entities() if entity.name != DUMMY_ENTITY_NAME]
    return [*store.list_feature_services(), *store.list_feature_views(), *entities]


def open_feature_store(plant: Plant) -> FeatureStore:
    """Open Feast over the plant's repository.

    Args:
        plant: The plant.

    Raises:
        NotEnoughData: nothing has been registered yet.
    """
    path = repo_path(plant)
    if not (path / "registry.db").exists():
        raise NotEnoughData(f"no features are registered in {path}; run penstock apply")
    return _feast(plant)


def _feast(plant: Plant) -> FeatureStore:
    """Return Feast with the password; it does not expire values, `features.feast.online.lookup` does."""
    settings = repo_config(plant)
    secret = {"password": plant.online_password} if plant.online_password else {}
    settings["online_store"] = {**settings["online_store"], **secret, "expire": False}
    path = repo_path(plant)
    return FeatureStore(str(path), config=RepoConfig(repo_path=path, **settings))


def registered(repo: Path) -> dict[str, Any]:
    """Return everything registered in a Feast repository, by kind and name, as definitions for `feast apply`.

    Args:
        repo: Directory of the repository.
    """
    return {f"{type(item).__name__}_{item.name}": item for item in _registered(FeatureStore(str(repo)))}


def _registry(plant: Plant) -> dict[str, str]:
    return {
        "registry_type": "file",
        "registry_store_type": "features.feast.registry.registry_store.AtomicRegistryStore",
        "path": str(repo_path(plant) / "registry.db"),
    }
