"""Feast over a plant; and training sets of two views, made once for all tests that only read them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from feast import FeatureStore

from features.feast.registry.feast_repo import apply, open_feature_store
from features.training.known_names import names_of
from features.training.label_source import read_source
from features.training.prepare import plan_of, prepare
from features.training.request import Request
from features.training.splits import SplitSpec
from features.training.training_set import Made
from features.training.training_set import make as make_training_set
from historian.plant.plant import Plant
from historian.times import utc_now
from tests.features.feature_rows import copied_plant
from tests.features.training.two_views import BY_TIME, OIL, OWN_SPLIT, RMS, add_two_views


@pytest.fixture
def store(plant: Plant) -> FeatureStore:
    """Feast over the plant."""
    apply(plant)
    return open_feature_store(plant)


@pytest.fixture(scope="session")
def two_view_plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """A plant with the rows of two views, applied."""
    plant = copied_plant(tmp_path_factory.mktemp("two_views") / "plant")
    add_two_views(plant)
    apply(plant)
    return plant


@pytest.fixture(scope="session")
def make(two_view_plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """Makes a training set of both features from the text of a label file."""

    def made(labels: str, **request: Any) -> Made:
        directory = tmp_path_factory.mktemp("labels")
        (directory / "labels.csv").write_text(labels)
        wanted = Request(labels="labels.csv", features=(RMS, OIL), **request)
        source = read_source(wanted, directory, names_of(two_view_plant), now=utc_now())
        plan = plan_of(open_feature_store(two_view_plant), two_view_plant, wanted, source)
        prepared = prepare(wanted, source, plan)
        plant_file = two_view_plant.root / "plant.toml"
        return make_training_set(prepared, two_view_plant, plant_file, advance=lambda _: None)

    return made


@pytest.fixture(scope="session")
def by_time(make: Callable[..., Made]) -> Made:
    """Half train, half test: one row is purged for its time, one for the age of later features, one feature expired."""
    spec = SplitSpec("time", shares=(0.5, 0, 0.5))
    return make(BY_TIME, target="fails", split=spec, horizon=timedelta(seconds=30))


@pytest.fixture(scope="session")
def own_split(make: Callable[..., Made]) -> Made:
    """The labels have a split column; features are those created by each label's time."""
    return make(OWN_SPLIT, target="life", created_by_label_time=True)
