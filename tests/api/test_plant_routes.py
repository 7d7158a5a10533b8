"""The API's routes for the plant, its tags and the server's own health."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from httpx import Client

from api.deps import Service
from api.routes.plant import tags
from features.feast.registry.feast_repo import apply
from historian.plant.connections import Tag
from historian.plant.plant import Plant
from historian.quality import BAD_TIMEOUT, GOOD
from historian.samples import SCHEMA, normalise
from historian.status import SourceStatus, StatusFile
from historian.stores.memory import MemoryStore

START = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_server_is_up_before_anything_is_there(client: Client) -> None:
    """/healthz depends on no other service."""
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_server_is_ready_once_features_are_online(client: Client, served: Plant) -> None:
    """/readyz checks the sample store, the registry and the online store."""
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_server_becomes_ready_by_an_apply_while_it_runs(client: Client, plant: Plant) -> None:
    """Before the apply, the answer says what is missing and what to do; no restart is needed."""
    before = client.get("/readyz")
    apply(plant)
    assert before.status_code == 503
    assert before.json()["error"]["code"] == "unavailable"
    assert [problem["place"] for problem in before.json()["error"]["problems"]] == ["features"]
    assert "run penstock apply" in before.json()["error"]["message"]
    assert client.get("/readyz").status_code == 200


def test_a_lost_online_store_is_not_ready(client: Client, served: Plant) -> None:
    """The online store's file was deleted while no process had it open."""
    (served.state / "online.db").unlink()
    assert "the online store cannot be read" in client.get("/readyz").json()["error"]["message"]


def test_every_tag_is_listed_with_its_newest_sample(client: Client, samples: MemoryStore) -> None:
    """Tags without samples and tags whose newest sample is Bad are listed too."""
    rows = [
        ("c101.oil", START, 60.5, None, GOOD),
        ("c101.oil", START + timedelta(seconds=5), None, None, BAD_TIMEOUT),
        ("p201.flow", START, 3.0, None, GOOD),
    ]
    batch = normalise(pl.DataFrame(rows, schema=SCHEMA, orient="row")).batch
    samples.write(batch, source="test", now=START)
    answer = client.get("/v1/tags").json()
    assert {tag["tag"]: tag["latest"] for tag in answer} == {
        "c101.de_h": None,
        "c102.de_h": None,
        "c101.oil": {"timestamp": "2026-03-01T00:00:05Z", "value": None, "text": None, "quality": "BadTimeout"},
        "p201.flow": {"timestamp": "2026-03-01T00:00:00Z", "value": 3.0, "text": None, "quality": "Good"},
    }
    assert {key: value for key, value in answer[0].items() if key != "latest"} == {
        "tag": "c101.de_h",
        "asset": "c101",
        "point": "de_h",
        "kind": "vibration",
        "unit": "g",
        "sources": [],
        "archives": ["history"],
    }


class CountedTags(tuple[Tag, ...]):
    """The tags of a connection, which count how often each of them is read."""

    looks = 0

    def __iter__(self) -> Iterator[Tag]:
        for tag in super().__iter__():
            CountedTags.looks += 1
            yield tag


def test_each_tag_of_a_connection_is_looked_at_once_for_the_list_of_tags(plant: Plant, samples: MemoryStore) -> None:
    """A search through the connection's tags for each of 10,000 tags would take seconds."""
    archive = plant.archives["history"]
    many = CountedTags(replace(archive.tags[0], name=f"tag{number}") for number in range(1_000))
    plant = replace(plant, tags={tag.name: tag for tag in many}, archives={"history": replace(archive, tags=many)})
    CountedTags.looks = 0
    listed = tags(Service(plant, samples, lambda: START))
    assert [tag.archives for tag in listed] == [["history"]] * 1_000
    assert CountedTags.looks == 1_000


def test_every_asset_is_listed_with_points_and_views(client: Client) -> None:
    """A point that no tag fills is listed without a tag."""
    answer = client.get("/v1/assets").json()
    assert [asset["asset"] for asset in answer] == ["c101", "c102", "p201"]
    assert answer[0] == {
        "asset": "c101",
        "class": "compressor",
        "owner": "ot-north@example.org",
        "points": {"de_h": "c101.de_h", "oil_temp": "c101.oil"},
        "views": ["compressor_vibration", "compressor_process"],
    }
    assert answer[1]["points"] == {"de_h": "c102.de_h", "oil_temp": None}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/v1/nothing", 404, "not_found"), ("DELETE", "/v1/tags", 405, "method_not_allowed")],
)
def test_an_unknown_route_has_the_common_error_format(
    client: Client, method: str, path: str, status: int, code: str
) -> None:
    """The body has code, message and problems, as with every error."""
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["message"].startswith(f"{method} {path}: ")


def test_the_api_describes_itself(client: Client) -> None:
    """The OpenAPI document has every path."""
    assert set(client.get("/openapi.json").json()["paths"]) == {
        "/healthz",
        "/metrics",
        "/readyz",
        "/v1/tags",
        "/v1/assets",
        "/v1/training-sets",
        "/get-online-features",
    }


def test_metrics_are_those_of_the_status(client: Client, plant: Plant) -> None:
    """In the form that Prometheus asks for."""
    now = datetime.now(UTC)
    StatusFile(plant.state).write([SourceStatus("line1", "waiting", now, now)], [])
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert 'penstock_source_connected{source="line1"} 0.0' in answer.text.splitlines()
