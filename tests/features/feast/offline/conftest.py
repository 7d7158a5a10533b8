"""A Feast repository whose offline store is ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore


@pytest.fixture
def feast(tmp_path: Path) -> Callable[..., FeatureStore]:
    """A FeatureStore with these objects registered; by name, its directory and what else `offline_store` is to say."""

    def opened(*objects: Any, repo: Path = tmp_path, **settings: Any) -> FeatureStore:
        config = {
            "project": "test",
            "registry": "registry.db",
            "provider": "local",
            "offline_store": {"type": "features.feast.offline.store.PolarsOfflineStore", **settings},
            "online_store": {"type": "sqlite", "path": "online.db"},
            "entity_key_serialization_version": 3,
        }
        (repo / "feature_store.yaml").write_text(json.dumps(config))  # which is YAML too
        store = FeatureStore(str(repo))
        store.apply([*objects])
        return store

    return opened
