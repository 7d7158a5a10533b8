"""Feast with an online store."""

from __future__ import annotations

import pytest
from feast import FeatureStore

from features.feast.registry.feast_repo import apply, open_feature_store
from historian.plant.plant import Plant


@pytest.fixture
def store(stored: Plant) -> FeatureStore:
    """Feast over the plant, with either online store."""
    apply(stored)
    return open_feature_store(stored)
