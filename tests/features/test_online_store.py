"""The online store keeps exact instants, whatever the zone, and nothing older than it has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from feast import FeatureStore, FeatureView
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from features.feast_repo import apply, open_feature_store
from historian.plant import Plant

NIGHT = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # in Europe, 02:30 of that night does not exist on the wall
SECOND = timedelta(seconds=1)


def key(asset: str) -> EntityKey:
    """What Feast calls an asset."""
    return EntityKey(join_keys=["asset"], entity_values=[Value(string_val=asset)])


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Moves this process to another time zone."""

    def move(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def store(plant: Plant) -> FeatureStore:
    """Feast over the plant."""
    apply(plant)
    return open_feature_store(plant)


def write(store: FeatureStore, value: float, event: datetime, created: datetime | None = None) -> None:
    """Writes one feature of c101, as a materialisation or a push does."""
    store.provider.online_write_batch(
        store.config, view(store), [(key("c101"), {"x": Value(double_val=value)}, event, created)], None
    )


def read(store: FeatureStore, *assets: str) -> list[tuple[datetime | None, dict[str, Value] | None]]:
    """What there is of some assets."""
    found: list[tuple[datetime | None, dict[str, Value] | None]] = store.provider.online_read(
        store.config, view(store), [key(asset) for asset in assets], ["x"]
    )
    return found


def view(store: FeatureStore) -> FeatureView:
    """Any view will do."""
    return store.get_feature_view("compressor_vibration")


@pytest.mark.parametrize("event", [NIGHT, NIGHT + timedelta(microseconds=123_456), NIGHT.replace(month=10, day=25)])
def test_an_instant_is_the_same_in_every_zone(
    plant: Plant, store: FeatureStore, zone: Callable[[str], None], event: datetime
) -> None:
    """Written in Berlin, also in the hours the clock change skips and repeats, and read in Greenwich and Tokyo."""
    zone("Europe/Berlin")
    write(store, 1.0, event)
    for name in ("Europe/Berlin", "UTC", "Asia/Tokyo"):
        zone(name)
        assert read(open_feature_store(plant), "c101") == [(event, {"x": Value(double_val=1.0)})]


def test_a_time_without_a_zone_is_utc(store: FeatureStore, zone: Callable[[str], None]) -> None:
    """As everywhere in Feast."""
    zone("Europe/Berlin")
    write(store, 1.0, NIGHT.replace(tzinfo=None))
    assert read(store, "c101")[0][0] == NIGHT


@pytest.mark.parametrize(
    ("event", "created", "kept"),
    [
        (NIGHT + SECOND, None, 2.0),
        (NIGHT - SECOND, NIGHT + 9 * SECOND, 1.0),
        (NIGHT, NIGHT + 2 * SECOND, 2.0),
        (NIGHT, NIGHT + SECOND, 2.0),
        (NIGHT, NIGHT, 1.0),
    ],
    ids=["newer", "late", "correction", "again", "outdated"],
)
def test_only_what_is_as_new_or_newer_replaces(
    store: FeatureStore, event: datetime, created: datetime | None, kept: float
) -> None:
    """First by event timestamp, then by created timestamp."""
    write(store, 1.0, NIGHT, NIGHT + SECOND)
    write(store, 2.0, event, created)
    assert read(store, "c101")[0][1] == {"x": Value(double_val=kept)}


def test_answers_come_in_the_order_asked_and_absent_ones_are_told(store: FeatureStore) -> None:
    """A key twice is answered twice."""
    write(store, 1.0, NIGHT)
    there = (NIGHT, {"x": Value(double_val=1.0)})
    assert read(store, "c102", "c101", "c101") == [(None, None), there, there]
