"""A Feast repository whose offline store is ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore, RepoConfig


@pytest.fixture
def feast(tmp_path: Path) -> Callable[..., FeatureStore]:
    """A FeatureStore with these objects registered, and these settings of its offline store."""

    def opened(*objects: Any, **settings: Any) -> FeatureStore:
        config = RepoConfig(
            project="test",
            registry=str(tmp_path / "registry.db"),
            provider="local",
            offline_store={"type": "features.offline.store.PolarsOfflineStore", **settings},
            online_store={"type": "sqlite", "path": str(tmp_path / "online.db")},
            entity_key_serialization_version=3,
            repo_path=tmp_path,
        )
        store = FeatureStore(config=config)
        store.apply([*objects])
        return store

    return opened
