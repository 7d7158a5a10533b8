"""Requests that no table, file or index can hold are answered with 422 and the reason, never with 500."""

from __future__ import annotations

from pathlib import Path

import pytest
from httpx import Client

from historian.plant.plant import Plant

CASES = Path(__file__).parents[1] / "cases" / "api"
ROUTES = {"training-sets": "/v1/training-sets", "online": "/get-online-features"}
REASONS = {
    "nul_": "a name must not contain the character NUL",
    "half_character_": "text must be valid Unicode; this has half of a surrogate pair",
    "year_": "is not a time; write 2026-03-01T00:00:00Z",
    "unreadable_": "unable to parse raw data as a unicode string",
    "as_of_": "as_of: must be a time of the years 1 to 9999 in UTC",
}


@pytest.mark.parametrize("case", sorted(CASES.glob("*/*.json")), ids=lambda case: f"{case.parent.name}-{case.stem}")
def test_a_request_that_cannot_be_stored_is_refused(client: Client, served: Plant, case: Path) -> None:
    """The body of each file under tests/cases/api, sent as it is to the route its folder names."""
    headers = {"content-type": "application/json"}
    response = client.post(ROUTES[case.parent.name], content=case.read_bytes(), headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid")
    reason = next(text for prefix, text in REASONS.items() if case.stem.startswith(prefix))
    assert reason in response.json()["error"]["message"]
