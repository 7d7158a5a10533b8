"""HTTP to InfluxDB: a class for 1.x and one for 2.x, with the same methods and the same errors.

The versions differ in writing and authentication. Both answer InfluxQL at `/query` as CSV, which is the fastest way to
read either (docs/decisions/0007).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final, Literal, Protocol

import httpx
import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException

from historian.errors import AccessDenied, StoreError, StoreUnavailable
from historian.stores.influx.address import InfluxAddress, clean_secret
from historian.stores.influx.refusals import Action, lacks_right, no_organisation, refusal

Precision = Literal["us", "ns"]
_TIMEOUT_S: Final = 30.0
_PRECISION: Final[dict[Precision, Any]] = {"us": WritePrecision.US, "ns": WritePrecision.NS}


class Wire(Protocol):
    """A connection to one InfluxDB."""

    def write(self, body: bytes, *, precision: Precision) -> None:
        """Store lines of line protocol with timestamps of that precision.

        Raises:
            StoreUnavailable: nothing is known about the lines; write them again later.
            InvalidBatch: InfluxDB rejected some of them.
            AccessDenied: the token lacks the permission, or there is no such bucket, database or organisation.
        """

    def query(self, text: str) -> Iterator[bytes]:
        """Yield the CSV answer to an InfluxQL query as it arrives; times are nanoseconds. Raises as `write` does."""
        ...

    def close(self) -> None:
        """Close the connections."""


def open_wire(address: InfluxAddress, secret: str) -> Wire:
    """Return the wire for the address's version of InfluxDB; it connects when first used.

    Args:
        address: the server and the database or bucket.
        secret: its password or token.

    Raises:
        ConfigError: the token is malformed.
    """
    secret = clean_secret(secret, address)
    return Wire2(address, secret) if address.org else Wire1(address, secret)


class Wire1:
    """InfluxDB 1.x: `/write` and `/query`, basic authentication."""

    def __init__(self, address: InfluxAddress, secret: str) -> None:
        auth = httpx.BasicAuth(address.user, secret) if address.user else None
        self._client = httpx.Client(base_url=address.base, auth=auth, timeout=_TIMEOUT_S)
        database, _, policy = address.bucket.partition("/")
        self._target = {"db": database, **({"rp": policy} if policy else {})}
        self._address = address
        self.query = Influxql(self._client, self._target, address).query
        self.close = self._client.close

    def write(self, body: bytes, *, precision: Precision) -> None:
        """See `Wire.write`."""
        # 1.x silently reads precision=us as nanoseconds; it expects u for microseconds.
        params = {**self._target, "precision": "u" if precision == "us" else precision}
        headers, body = _packed(body, self._address)
        with connecting(self._address):
            answer = self._client.post("/write", params=params, content=body, headers=headers)
        check_answer(answer, self._address, "write to")


class Wire2:
    """InfluxDB 2.x: written to through `influxdb-client`, read through its InfluxQL interface."""

    def __init__(self, address: InfluxAddress, secret: str) -> None:
        self._address = address
        self._client: Any = InfluxDBClient(address.base, secret, org=address.org, timeout=int(_TIMEOUT_S * 1000))
        # Synchronous, since our spool does the queueing: the batching client loses points in an outage.
        self._writer = self._client.write_api(SYNCHRONOUS)
        headers = {"Authorization": f"Token {secret}"} if secret else {}
        self._reader = httpx.Client(base_url=address.base, headers=headers, timeout=_TIMEOUT_S)
        self.query = Influxql(self._reader, {"db": address.bucket}, address).query

    def write(self, body: bytes, *, precision: Precision) -> None:
        """See `Wire.write`."""
        headers, body = _packed(body, self._address)
        encoding = {"content_encoding": "gzip"} if headers else {}
        try:
            self._writer.write(self._address.bucket, record=body, write_precision=_PRECISION[precision], **encoding)
        except ApiException as error:
            reason = error.message or str(error.reason)
            raise refusal(error.status, reason, error.headers or {}, self._address, "write to") from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(self._address, error) from None

    def close(self) -> None:
        """See `Wire.close`."""
        self._reader.close()
        self._client.api_client.rest_client.pool_manager.clear()  # which close() forgets
        self._client.close()


class Influxql:
    """Reading through `/query`, which both versions have."""

    def __init__(self, client: httpx.Client, target: Mapping[str, str], address: InfluxAddress) -> None:
        self._client = client
        self._target = target
        self._address = address
        self._headers = {"Accept": "application/csv", "Accept-Encoding": "identity" if address.is_local else "gzip"}
        self._found = False

    def query(self, text: str) -> Iterator[bytes]:
        """See `Wire.query`."""
        if not self._found:
            self._find()
        form = {**self._target, "q": text, "epoch": "ns", "chunked": "true"}
        request = self._client.build_request("POST", "/query", data=form, headers=self._headers)
        with connecting(self._address), closing(self._client.send(request, stream=True)) as answer:
            check_answer(answer, self._address, "read")
            yield from answer.iter_bytes(1 << 22)

    def _find(self) -> None:
        """Check once that the database exists: in CSV, the response is empty if it does not."""
        with connecting(self._address):
            answer = self._client.post("/query", data={**self._target, "q": 'SELECT * FROM "ledger" LIMIT 1'})
        check_answer(answer, self._address, "read")
        error = answer.json()["results"][0].get("error", "")
        if "not found" in error:
            raise self._not_found(error)
        if error:
            raise StoreError(f"InfluxDB at {self._address.base} cannot answer: {error}")
        self._found = True

    def _not_found(self, error: str) -> StoreError:
        """Return the error for a missing database: 2.x gives the same response for one that we may not read."""
        if not self._address.org:
            return refusal(404, error, {}, self._address, "read")
        with connecting(self._address):
            found = bucket_of(self._client, self._address)
        if found is not None:
            return AccessDenied(
                f"InfluxDB at {self._address.base} maps no InfluxQL database to bucket {self._address.bucket} "
                f"({error}); make the mapping with: penstock store init"
            )
        return refusal(404, error, {}, self._address, "read")


def bucket_of(client: httpx.Client, address: InfluxAddress) -> dict[str, Any] | None:
    """Return the description of our bucket in 2.x; None if there is no such bucket.

    Raises:
        AccessDenied: the token may not read it, or there is no such organisation.
        StoreUnavailable: InfluxDB does not respond.
    """
    answer = client.get("/api/v2/buckets", params={"org": address.org, "name": address.bucket})
    if answer.status_code == 404:
        if "organization" in answer_reason(answer):
            raise no_organisation(address)
        return None
    check_answer(answer, address, "read")
    buckets = answer.json()["buckets"]
    if not buckets:  # it exists, or the status would be 404
        raise lacks_right(address, "read")
    return dict(buckets[0])


def check_answer(answer: httpx.Response, address: InfluxAddress, action: Action) -> None:
    """Raise the error that `refusal` returns if the response is an error."""
    if answer.is_error:
        answer.read()
        raise refusal(answer.status_code, answer_reason(answer), answer.headers, address, action)


def answer_reason(answer: httpx.Response) -> str:
    """Return InfluxDB's message in a response that is an error."""
    try:
        found = answer.json()
    except ValueError:
        return answer.text.strip() or answer.reason_phrase
    return str(found.get("message") or found.get("error") or found)


@contextmanager
def connecting(address: InfluxAddress) -> Iterator[None]:
    """Turn what httpx raises when there is no response into `StoreUnavailable`."""
    try:
        yield
    except httpx.TransportError as error:
        raise unreachable(address, error) from None


def unreachable(address: InfluxAddress, error: Exception) -> StoreUnavailable:
    """Return the error for a server that does not respond."""
    return StoreUnavailable(f"InfluxDB at {address.base} cannot be reached: {error}")


def _packed(body: bytes, address: InfluxAddress) -> tuple[dict[str, str], bytes]:
    if address.is_local:
        return {}, body
    return {"Content-Encoding": "gzip"}, gzip.compress(body, compresslevel=1)
