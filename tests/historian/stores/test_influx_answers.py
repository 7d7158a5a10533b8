"""How each protocol version interprets a server's answer: delays, errors, and never the token."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from historian.errors import AccessDenied, HistorianError, StoreUnavailable
from historian.stores.influx import admin
from historian.stores.influx.address import parse_address
from historian.stores.influx.wire import Wire, open_wire
from tests.servers import Answer, answering

TOKEN = "opensesame"  # noqa: S105 - a test's
DATE = "Mon, 30 Nov 2026 12:00:00 GMT"
NOT_FOUND: Answer = (200, {}, '{"results": [{"statement_id": 0, "error": "database not found: raw"}]}')


def write(wire: Wire) -> None:
    """Writes a sample."""
    wire.write(b"samples,tag=a value=1 1", precision="us")


def query(wire: Wire) -> None:
    """Reads samples."""
    list(wire.query("SELECT 1"))


def refused(port: int, path: str, call: Callable[[Wire], None]) -> HistorianError:
    """The error that a call raises."""
    wire = open_wire(parse_address(f"influxdb://127.0.0.1:{port}/{path}"), TOKEN + "\n")
    with pytest.raises(HistorianError) as caught:
        call(wire)
    wire.close()
    return caught.value


WIRES = pytest.mark.parametrize("path", ["north", "north?bucket=raw"], ids=["1.x", "2.x"])
CALLS = pytest.mark.parametrize("call", [write, query])


@WIRES
@CALLS
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("wait", "seconds"),
    [("17", 17.0), ("Mon, 30 Nov 2026 12:01:30 GMT", 90.0), ("Mon, 30 Nov 2026 11:00:00 GMT", 0.0), ("soon", None)],
)
def test_retry_after_is_read(
    path: str, call: Callable[[Wire], None], status: int, wait: str, seconds: float | None
) -> None:
    """It is in seconds or a date, which counts from the server's own clock."""
    with answering({"": (status, {"Date": DATE, "Retry-After": wait}, "")}) as port:
        error = refused(port, path, call)
    assert isinstance(error, StoreUnavailable)
    assert error.retry_after == seconds


@WIRES
@CALLS
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_no_error_shows_the_token(path: str, call: Callable[[Wire], None], status: int) -> None:
    """Its cause does not either: libraries would print the header of a token that ends in a line end."""
    with answering({"": (status, {}, '{"message": "no"}')}) as port:
        error: BaseException | None = refused(port, path, call)
    while error is not None:
        assert TOKEN not in str(error)
        error = error.__cause__ or error.__context__


@CALLS
def test_a_refusal_says_what_was_refused(call: Callable[[Wire], None]) -> None:
    """A refused read is not reported as a refused write."""
    with answering({"": (403, {}, '{"message": "insufficient permissions"}')}) as port:
        error = refused(port, "north?bucket=raw", call)
    assert isinstance(error, AccessDenied)
    assert f"does not let us {'write to' if call is write else 'read'} bucket raw" in str(error)
    assert "PENSTOCK_HISTORIAN_TOKEN" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, '{"message": "organization name \\"north\\" not found"}', r"has no organisation 'north'; correct ORG"),
        (404, '{"message": "bucket \\"raw\\" not found"}', r"has no raw .*make it with: penstock store init"),
        (200, '{"buckets": []}', r"does not let us read bucket raw: the token lacks that right"),
        (200, '{"buckets": [{"id": "1"}]}', r"maps no InfluxQL database to bucket raw .*penstock store init"),
    ],
    ids=["organisation", "bucket", "right", "mapping"],
)
def test_the_missing_object_is_determined(status: int, body: str, words: str) -> None:
    """InfluxDB 2 answers a query with `database not found` in four cases; each gets its own message."""
    with answering({"/query": NOT_FOUND, "/api/v2/buckets": (status, {}, body)}) as port:
        error = refused(port, "north?bucket=raw", query)
    assert isinstance(error, AccessDenied)
    assert re.search(words, str(error))


def test_a_write_to_an_unknown_organisation_says_so() -> None:
    """Creating the store would not help."""
    with answering({"": (404, {}, '{"message": "organization name \\"north\\" not found"}')}) as port:
        error = refused(port, "north?bucket=raw", write)
    assert "has no organisation 'north'; correct ORG" in str(error)
    assert "store init" not in str(error)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"/api/v2/buckets": (200, {}, '{"buckets": []}')}, "does not let us read bucket raw: the token lacks"),
        (
            {"/api/v2/buckets": (404, {}, '{"message": "no bucket"}'), "/api/v2/orgs": (200, {}, '{"orgs": []}')},
            "does not let us read organisation north; this takes a token with all access",
        ),
        (
            {"/api/v2/buckets": (401, {}, '{"message": "write:orgs/1/buckets is unauthorized"}')},
            "the token",
        ),
    ],
    ids=["write-only", "without organisation", "neither"],
)
def test_init_with_insufficient_rights_says_which_token_it_needs(answers: dict[str, Answer], words: str) -> None:
    """The answers are those of 2.8 to a token that may write one bucket, which exists or not."""
    with answering(answers) as port, pytest.raises(AccessDenied, match=words):
        admin.initialise(parse_address(f"influxdb://127.0.0.1:{port}/north?bucket=raw"), TOKEN, retention=None)
