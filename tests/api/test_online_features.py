"""POST /get-online-features, in Feast's words and for Feast's own client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from feast import FeatureStore, RepoConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from httpx import Client, post

from api.app import create_app
from features.feast.registry.feast_repo import apply, repo_config
from historian.plant.plant import Plant
from historian.stores.memory import MemoryStore

START = datetime(2026, 3, 1, tzinfo=UTC)
RMS = "compressor_vibration:de_h_rms_ac"
OIL = "compressor_process:oil_temp_mean"


def columns(answer: Any) -> dict[str, tuple[list[Any], list[str]]]:
    """Values and statuses by name."""
    names = answer["metadata"]["feature_names"]
    return {name: (vector["values"], vector["statuses"]) for name, vector in zip(names, answer["results"], strict=True)}


def test_features_of_several_assets_are_answered_as_feast_answers(client: Client, served: Plant) -> None:
    """Entities come first, then the features; an unknown asset has the status NOT_FOUND and is no error."""
    body = {"features": [RMS, OIL], "entities": {"asset": ["c101", "c999"]}}
    answer = client.post("/get-online-features", json=body)
    assert answer.status_code == 200
    assert columns(answer.json()) == {
        "asset": (["c101", "c999"], ["PRESENT", "PRESENT"]),
        "de_h_rms_ac": ([1.0, None], ["PRESENT", "NOT_FOUND"]),
        "oil_temp_mean": ([2.0, None], ["PRESENT", "NOT_FOUND"]),
    }
    assert answer.json()["results"][1]["event_timestamps"] == ["2026-03-01T00:00:10Z", "1970-01-01T00:00:00Z"]


def test_a_feature_service_stands_for_all_its_features(client: Client, served: Plant) -> None:
    """The answer has full names and, on request, the versions of the views."""
    body = {
        "feature_service": "pump",
        "entities": {"asset": ["p201"]},
        "full_feature_names": True,
        "include_feature_view_version_metadata": True,
    }
    answer = client.post("/get-online-features", json=body).json()
    assert columns(answer)["pump_process__flow_mean"] == ([3.0], ["PRESENT"])
    assert columns(answer)["pump_process__flow_valid"] == ([True], ["PRESENT"])
    assert [view["name"] for view in answer["metadata"]["feature_view_metadata"]] == ["pump_process"]


def test_a_feature_past_its_ttl_is_blank(served: Plant, samples: MemoryStore, url_of: Callable[[FastAPI], str]) -> None:
    """Oil temperature lives for five minutes; vibration for ever."""
    url = url_of(create_app(served, samples, clock=lambda: START + timedelta(seconds=311)))
    body = {"features": [RMS, OIL], "entities": {"asset": ["c101"]}}
    answer = columns(post(f"{url}/get-online-features", json=body).json())
    assert (answer["de_h_rms_ac"], answer["oil_temp_mean"]) == (([1.0], ["PRESENT"]), ([None], ["OUTSIDE_MAX_AGE"]))


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"features": [RMS], "entities": {"machine": ["c101"]}}, 422, 'entities must be {"asset": [...]}, not machine'),
        ({"features": [], "entities": {"asset": ["c101"]}}, 422, "name features, or a feature_service"),
        ({"features": ["x:y"], "entities": {"asset": ["c101"]}}, 404, "unknown feature 'x:y'"),
        ({"feature_service": "pumps", "entities": {"asset": ["c101"]}}, 404, "did you mean pump?"),
    ],
)
def test_a_request_that_cannot_be_answered_says_why(
    client: Client, served: Plant, body: Any, status: int, message: str
) -> None:
    """Feast's own server would answer these with 500."""
    answer = client.post("/get-online-features", json=body)
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


def test_before_the_first_apply_no_features_are_served(client: Client) -> None:
    """The server runs, and its answer says to run `penstock apply`."""
    answer = client.post("/get-online-features", json={"features": [RMS], "entities": {"asset": ["c101"]}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "incomplete")


def test_an_apply_is_seen_without_a_restart(client: Client, served: Plant) -> None:
    """A view removed from the plant is no longer served by the running server."""
    body = {"feature_service": "compressor", "entities": {"asset": ["c101"]}}
    before = columns(client.post("/get-online-features", json=body).json())
    apply(replace(served, views={name: view for name, view in served.views.items() if name != "compressor_process"}))
    after = columns(client.post("/get-online-features", json=body).json())
    assert {name for name in before if name not in after} == {name for name in before if name.startswith("oil_temp")}
    gone = client.post("/get-online-features", json={"features": [OIL], "entities": {"asset": ["c101"]}})
    assert gone.status_code == 404


@pytest.fixture
def remote(served: Plant, client: Client, tmp_path: Path) -> FeatureStore:
    """A second FeatureStore, elsewhere, that knows the registry and reads online features from the server."""
    url = str(client.base_url).rstrip("/")
    settings = {**repo_config(served), "online_store": {"type": "remote", "path": url}, "repo_path": tmp_path}
    return FeatureStore(config=RepoConfig(**settings))


def test_feasts_remote_online_store_reads_from_the_server(remote: FeatureStore) -> None:
    """Features are read by reference and by service, both present and absent ones."""
    by_reference = remote.get_online_features([RMS, OIL], [{"asset": "c101"}, {"asset": "c999"}]).to_dict()
    assert by_reference == {"asset": ["c101", "c999"], "de_h_rms_ac": [1.0, None], "oil_temp_mean": [2.0, None]}
    service = remote.get_feature_service("pump")
    by_service = remote.get_online_features(service, [{"asset": "p201"}], full_feature_names=True).to_dict()
    assert by_service["pump_process__flow_n"] == [3]
    assert len(by_service) == 1 + len(service.feature_view_projections[0].features)


def test_feasts_remote_online_store_reads_a_view(remote: FeatureStore) -> None:
    """Reading a single view by entity key returns event timestamps and values."""
    view = remote.get_feature_view("compressor_vibration")
    keys = [EntityKey(join_keys=["asset"], entity_values=[Value(string_val=asset)]) for asset in ("c102", "c999")]
    found = remote.provider.online_read(remote.config, view, keys, ["de_h_rms_ac"])
    assert found == [
        (START + timedelta(seconds=10), {"de_h_rms_ac": Value(double_val=1.0)}),
        (START + timedelta(seconds=10), {"de_h_rms_ac": Value()}),  # Feast's client takes the first row's time for all
    ]


@pytest.mark.parametrize("assets", [[], ["c101"] * 1_001])
def test_no_assets_and_too_many_assets_are_refused(client: Client, served: Plant, assets: list[str]) -> None:
    """The answer is 422 with the place of the error, before any work is done."""
    body = {"features": ["compressor_vibration:de_h_rms_ac"], "entities": {"asset": assets}}
    answer = client.post("/get-online-features", json=body)
    assert answer.status_code == 422
    assert "entities.asset" in answer.json()["error"]["message"]
