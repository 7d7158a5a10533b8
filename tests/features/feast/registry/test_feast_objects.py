"""The Feast objects of a plant, and their updates when the plant changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from feast import FeatureService, FeatureView

from features.define.view_plan import view_plan
from features.feast.registry.feast_objects import feast_objects, tags_of
from features.feast.registry.feast_plan import Change
from features.feast.registry.feast_repo import Applied, apply, open_feature_store, registered, repo_path
from features.tables.feature_table import FeatureTable, table_path
from historian.errors import FeatureError, NotEnoughData
from historian.plant.plant import Plant


def test_every_view_becomes_a_feature_view_with_its_columns(plant: Plant) -> None:
    """Name, columns, ttl and source are the plant's; unit, formula and lineage are tags."""
    views = {item.name: item for item in feast_objects(plant) if isinstance(item, FeatureView)}
    assert list(views) == list(plant.views)
    process = views["compressor_process"]
    assert [field.name for field in process.features] == [
        column.name for column in view_plan(plant, plant.views["compressor_process"]).columns
    ]
    assert (process.entities, process.ttl) == (["asset"], timedelta(minutes=5))
    assert process.batch_source.path == str(table_path(plant, "compressor_process"))
    slope = next(field for field in process.features if field.name == "oil_temp_slope")
    assert (slope.tags["unit"], slope.tags["point"], slope.tags["version"]) == ("degC/h", "oil_temp", "1")
    assert slope.tags["formula"] in slope.description
    assert views["compressor_vibration"].tags["tags of de_h"] == "c101=c101.de_h, c102=c102.de_h"
    assert views["compressor_vibration"].ttl == timedelta(0)


def test_the_lineage_has_all_tags_of_a_point(plant: Plant) -> None:
    """With the instant from which each fills the point."""
    newer = replace(plant.tags["c101.de_h"], name="c101.new", since=datetime(2026, 3, 2, tzinfo=UTC))
    site = replace(plant, tags={**plant.tags, newer.name: newer})
    found = tags_of(site, site.views["compressor_vibration"], "de_h")
    assert found == {"c101": "c101.de_h then c101.new since 2026-03-02T00:00:00Z", "c102": "c102.de_h"}


def test_every_class_becomes_a_feature_service_with_all_its_views(plant: Plant) -> None:
    """A model of a compressor requests the service `compressor`."""
    services = {item.name: item for item in feast_objects(plant) if isinstance(item, FeatureService)}
    views = {name: [view.name for view in service.feature_view_projections] for name, service in services.items()}
    assert views == {"compressor": ["compressor_vibration", "compressor_process"], "pump": ["pump_process"]}


def test_applying_twice_changes_nothing(plant: Plant) -> None:
    """The second apply reports that nothing changed."""
    first = apply(plant)
    before = registered(repo_path(plant))
    views, services = ("compressor_vibration", "compressor_process", "pump_process"), ("compressor", "pump")
    added = (
        Change("add", "entity", "asset"),
        *(Change("add", "feature view", name) for name in views),
        *(Change("add", "feature service", name) for name in services),
    )
    assert first == Applied("north_works", views, services, added)
    assert apply(plant) == Applied("north_works", views, services, ())
    assert registered(repo_path(plant)) == before


def test_what_the_plant_no_longer_has_is_removed(plant: Plant) -> None:
    """A view and a service that left the plant file leave the registry, with their source."""
    apply(plant)
    smaller = replace(plant, views={name: view for name, view in plant.views.items() if name != "pump_process"})
    assert apply(smaller).removed == ("pump", "pump_process")
    store = open_feature_store(plant)
    assert [view.name for view in store.list_feature_views()] == ["compressor_vibration", "compressor_process"]
    assert [service.name for service in store.list_feature_services()] == ["compressor"]
    assert "pump_process" not in [source.name for source in store.list_data_sources()]


def test_a_table_of_another_definition_is_refused(plant: Plant) -> None:
    """The registered view would not match the table; the registry stays as it was."""
    apply(plant)
    view = plant.views["compressor_process"]
    FeatureTable(plant, view)
    changed = replace(plant, views={**plant.views, view.name: replace(view, window=timedelta(minutes=5))})
    with pytest.raises(FeatureError, match=r"another definition of compressor_process: window was 10m and is 5m now"):
        apply(replace(changed, views={name: each for name, each in changed.views.items() if name != "pump_process"}))
    assert "pump_process" in [view.name for view in open_feature_store(plant).list_feature_views()]
    assert apply(plant).removed == ()


def test_a_changed_ttl_is_registered(plant: Plant) -> None:
    """Applying again updates existing objects."""
    apply(plant)
    view = replace(plant.views["compressor_process"], ttl=timedelta(hours=1))
    apply(replace(plant, views={**plant.views, view.name: view}))
    assert open_feature_store(plant).get_feature_view("compressor_process").ttl == timedelta(hours=1)


def test_before_the_first_apply_the_advice_is_to_apply(plant: Plant) -> None:
    """Opening Feast does not create an empty registry."""
    with pytest.raises(NotEnoughData, match="run penstock apply"):
        open_feature_store(plant)
    assert not repo_path(plant).exists()
