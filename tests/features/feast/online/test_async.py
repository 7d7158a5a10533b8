"""Feast's asynchronous calls give the same results as the synchronous ones, with the same server and ttl."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from feast import FeatureService, FeatureStore
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from features.feast.registry.feast_repo import apply, open_feature_store
from historian.errors import NotOffered
from historian.plant.plant import Plant

EVENT = datetime(2026, 3, 1, tzinfo=UTC)
REFS = ["compressor_vibration:de_h_rms_ac", "compressor_process:oil_temp_mean"]
KEY = EntityKey(join_keys=["asset"], entity_values=[Value(string_val="c101")])


@pytest.fixture
def store(stored: Plant) -> FeatureStore:
    """Feast by its configuration file, as its own tools open it, with a value in each of two views."""
    apply(stored)
    opened = FeatureStore(str(stored.state / "feast"))
    for ref in REFS:
        view, name = ref.split(":")
        row = (KEY, {name: Value(double_val=2.5)}, EVENT, None)
        opened.provider.online_write_batch(opened.config, opened.get_feature_view(view), [row], None)
    return opened


def test_an_asynchronous_lookup_is_the_synchronous_one(store: FeatureStore) -> None:
    """It uses the server of `url`: one value is present, one past its ttl of five minutes, one asset unknown."""
    rows = [{"asset": "c101"}, {"asset": "c102"}]
    found = asyncio.run(store.get_online_features_async(REFS, rows, full_feature_names=True)).proto
    expected = store.get_online_features(REFS, rows, full_feature_names=True).proto
    assert found.results == expected.results
    values = dict(zip(found.metadata.feature_names.val, found.results, strict=True))
    statuses = [[FieldStatus.Name(status) for status in values[ref.replace(":", "__")].statuses] for ref in REFS]
    assert statuses == [["PRESENT", "NOT_FOUND"], ["OUTSIDE_MAX_AGE", "NOT_FOUND"]]
    assert values[REFS[0].replace(":", "__")].values[0].double_val == 2.5


def test_vectors_computed_in_advance_are_refused(store: FeatureStore) -> None:
    """They would hold values past their ttl; a service that has them is refused by name, in both kinds of lookup."""
    views = [store.get_feature_view(ref.split(":")[0]) for ref in REFS]
    service = FeatureService(name="fast", features=views, precompute_online=True)
    store.apply([service])
    with pytest.raises(NotOffered, match="the feature service fast has precompute_online"):
        store.get_online_features(service, [{"asset": "c101"}])
    with pytest.raises(NotOffered, match="the feature service fast has precompute_online"):
        asyncio.run(store.get_online_features_async(service, [{"asset": "c101"}]))


def test_many_lookups_at_once(store: FeatureStore) -> None:
    """They run in one event loop, and in another one after it."""

    async def lookups() -> list[float]:
        answers = await asyncio.gather(
            *(store.get_online_features_async(REFS[:1], [{"asset": "c101"}]) for _ in range(8))
        )
        return [answer.proto.results[1].values[0].double_val for answer in answers]

    assert [asyncio.run(lookups()) for _ in range(2)] == [[2.5] * 8] * 2


def test_one_view_is_read_and_written_as_by_the_synchronous_calls(stored: Plant) -> None:
    """An older row does not replace a newer one."""
    apply(stored)
    store = open_feature_store(stored)
    online, view = store.provider.online_store, store.get_feature_view("compressor_vibration")

    async def written_and_read() -> list[tuple[datetime | None, dict[str, Value] | None]]:
        for hour, value in ((2, 7.0), (1, 6.0)):
            row = (KEY, {"de_h_rms_ac": Value(double_val=value)}, EVENT.replace(hour=hour), None)
            await online.online_write_batch_async(store.config, view, [row], None)
        found: list[tuple[datetime | None, dict[str, Value] | None]] = await online.online_read_async(
            store.config, view, [KEY], ["de_h_rms_ac"]
        )
        return found

    assert asyncio.run(written_and_read()) == [(EVENT.replace(hour=2), {"de_h_rms_ac": Value(double_val=7.0)})]
