"""The HTTP status of each error, and what is never sent to a caller."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import pytest
from fastapi import FastAPI
from httpx import Client, get

import historian.errors
from api.app import create_app
from api.problems import STATUS
from historian.errors import HistorianError
from historian.plant.plant import Plant
from historian.samples import SampleBatch
from historian.stores.memory import MemoryStore

DETAIL = "postgres://bridge:hunter2@10.0.4.20"


def subclasses(error: type[HistorianError]) -> Iterator[type[HistorianError]]:
    """The class and every class below it."""
    yield error
    for child in error.__subclasses__():
        yield from subclasses(child)


class BrokenStore(MemoryStore):
    """A store of which every read fails with an error of the test's choice."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def latest(self, tags: Sequence[str]) -> SampleBatch:
        """Fail."""
        raise self.error


class UnlistedError(HistorianError):
    """An error of another package, with a code of its own."""

    code = "overheated"


def test_every_error_has_a_status() -> None:
    """Errors without a code of their own inherit that of their base class."""
    ours = [error for error in subclasses(HistorianError) if error.__module__ == historian.errors.__name__]
    assert len(ours) > 15
    assert {error.code for error in ours} <= STATUS.keys()


def test_an_unexpected_error_is_only_logged(
    plant: Plant, url_of: Callable[[FastAPI], str], caplog: pytest.LogCaptureFixture
) -> None:
    """The caller learns only that something failed; the error, which may contain a secret, is logged."""
    url = url_of(create_app(plant, BrokenStore(RuntimeError(DETAIL))))
    response = get(f"{url}/v1/tags")
    assert response.status_code == 500
    assert response.json() == {
        "error": {"code": "internal", "message": "an error in Penstock; its log says which", "problems": []}
    }
    (record,) = [record for record in caplog.records if record.name == "api.problems"]
    assert record.getMessage() == "GET /v1/tags failed"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == DETAIL


def test_an_error_with_an_unknown_code_is_a_500_with_its_message(
    plant: Plant, url_of: Callable[[FastAPI], str], caplog: pytest.LogCaptureFixture
) -> None:
    """Its message is meant for users, unlike that of an unexpected error; one line is logged, without a traceback."""
    url = url_of(create_app(plant, BrokenStore(UnlistedError("the cabinet is too hot; open its door"))))
    with caplog.at_level(logging.ERROR):
        response = get(f"{url}/v1/tags")
    assert response.status_code == 500
    assert response.json()["error"] == {
        "code": "overheated",
        "message": "the cabinet is too hot; open its door",
        "problems": [],
    }
    (record,) = caplog.records
    assert record.getMessage() == "GET /v1/tags failed with code overheated: the cabinet is too hot; open its door"
    assert record.exc_info is None


def test_a_refused_store_is_unavailable(client: Client) -> None:
    """The statuses that callers act on: try again later, or correct the request."""
    assert client.get("/v1/nothing").status_code == STATUS["not_found"]
    assert (STATUS["unavailable"], STATUS["refused"], STATUS["invalid"]) == (503, 503, 422)
