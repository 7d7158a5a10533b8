"""How InfluxDB is spoken to: one class a major version, the same three verbs, and every refusal by its kind.

1.x and 2.x differ in how they are written to and in who may; both answer InfluxQL at `/query` as CSV, which is the
fastest way to read either (docs/decisions/0007).
"""

from __future__ import annotations

import gzip
import ipaddress
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException

from historian.errors import AccessDenied, ConfigError, InvalidBatch, StoreUnavailable

Precision = Literal["us", "ns"]
_TIMEOUT_S: Final = 30.0
_PRECISION: Final[dict[Precision, Any]] = {"us": WritePrecision.US, "ns": WritePrecision.NS}
_DROPPED: Final = re.compile(r"dropped=(\d+)")


@dataclass(frozen=True)
class Address:
    """Where an InfluxDB is, and what in it is ours."""

    base: str
    """`http://127.0.0.1:8086`"""
    org: str
    """2.x: the organisation; empty for 1.x."""
    bucket: str
    """2.x: the bucket. 1.x: the database, or database/retention policy."""
    user: str

    @property
    def is_local(self) -> bool:
        """On this machine compressing costs more than it saves."""
        host = urlsplit(self.base).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def parse_address(url: str) -> Address:
    """`influxdb://host:8086/DATABASE` for 1.x, `influxdb://host:8086/ORG?bucket=BUCKET` for 2.x; `influxdb+https://`.

    Raises:
        ConfigError: the url says neither.
    """
    parts = urlsplit(url)
    path, bucket = unquote(parts.path).strip("/"), parse_qs(parts.query).get("bucket", [""])[0]
    if not parts.hostname or not path:
        raise ConfigError(
            f"historian.url {url!r} lacks a host or a name; write influxdb://HOST:8086/DATABASE for InfluxDB 1.x, or "
            f"influxdb://HOST:8086/ORG?bucket=BUCKET for 2.x"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    base = f"{'https' if parts.scheme.endswith('+https') else 'http'}://{host}:{parts.port or 8086}"
    user = unquote(parts.username or "")
    return Address(base, path, bucket, user) if bucket else Address(base, "", path, user)


class Wire(Protocol):
    """One InfluxDB."""

    def write(self, body: bytes, *, precision: Precision) -> None:
        """Stores lines. Raises `StoreUnavailable`, `InvalidBatch` or `AccessDenied`."""

    def query(self, text: str) -> Iterator[bytes]:
        """The CSV answer to an InfluxQL query, as it comes; times are nanoseconds. Raises as `write` does."""
        ...

    def close(self) -> None:
        """Lets the connections go."""


def open_wire(address: Address, secret: str) -> Wire:
    """The wire of the version the address speaks of; connects when first used."""
    return Wire2(address, secret) if address.org else Wire1(address, secret)


class Wire1:
    """InfluxDB 1.x: `/write` and `/query`, basic authentication."""

    def __init__(self, address: Address, secret: str) -> None:
        auth = httpx.BasicAuth(address.user, secret) if address.user else None
        self._client = httpx.Client(base_url=address.base, auth=auth, timeout=_TIMEOUT_S)
        database, _, policy = address.bucket.partition("/")
        self._target = {"db": database, **({"rp": policy} if policy else {})}
        self._address = address
        self.query = Influxql(self._client, self._target, address).query
        self.close = self._client.close

    def write(self, body: bytes, *, precision: Precision) -> None:
        """See `Wire.write`."""
        # 1.x takes precision=us without complaint for nanoseconds; u is its word for microseconds.
        params = {**self._target, "precision": "u" if precision == "us" else precision}
        headers, body = _packed(body, self._address)
        with _reached(self._address):
            answer = self._client.post("/write", params=params, content=body, headers=headers)
        if answer.is_error:
            raise refusal(answer.status_code, _reason(answer), answer.headers, self._address)


class Wire2:
    """InfluxDB 2.x: written to through `influxdb-client`, read through its InfluxQL interface."""

    def __init__(self, address: Address, secret: str) -> None:
        self._address = address
        self._client: Any = InfluxDBClient(address.base, secret, org=address.org, timeout=int(_TIMEOUT_S * 1000))
        # Synchronous, with our own spool behind it: the batching one loses points in an outage.
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
            told = error.message or str(error.reason)
            raise refusal(error.status, told, error.headers or {}, self._address) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _unreachable(self._address, error) from None

    def close(self) -> None:
        """See `Wire.close`."""
        self._reader.close()
        self._client.api_client.rest_client.pool_manager.clear()  # which close() forgets
        self._client.close()


class Influxql:
    """`/query`, which both versions have."""

    def __init__(self, client: httpx.Client, target: Mapping[str, str], address: Address) -> None:
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
        with _reached(self._address), closing(self._client.send(request, stream=True)) as answer:
            self._check(answer)
            yield from answer.iter_bytes(1 << 22)

    def _find(self) -> None:
        """Looks for the database once: as CSV, InfluxDB answers nothing at all when there is none."""
        with _reached(self._address):
            answer = self._client.post("/query", data={**self._target, "q": 'SELECT * FROM "ledger" LIMIT 1'})
        self._check(answer)
        told = answer.json()["results"][0].get("error", "")
        if "not found" in told:
            raise refusal(404, told, {}, self._address)
        self._found = True

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_error:
            answer.read()
            raise refusal(answer.status_code, _reason(answer), answer.headers, self._address)


def refusal(
    status: int, reason: str, headers: Mapping[str, str], address: Address
) -> StoreUnavailable | InvalidBatch | AccessDenied:
    """The error that tells the caller what to do about an HTTP status."""
    where = f"InfluxDB at {address.base}"
    if status in (401, 403):
        scope = f"write to bucket {address.bucket}" if address.org else f"use database {address.bucket}"
        return AccessDenied(f"{where} does not let us {scope} ({reason}); check [historian] token and what it may do")
    if status == 404:
        return AccessDenied(f"{where} has no {address.bucket} ({reason}); make it with: penstock store init")
    if status in (400, 413, 422):
        found = _DROPPED.search(reason)
        return InvalidBatch(f"InfluxDB: {reason}", dropped=int(found[1]) if found else 0)
    wait = headers.get("Retry-After", "")
    return StoreUnavailable(
        f"{where} answers {status}: {reason}", retry_after=float(wait) if wait.isdecimal() else None
    )


def _packed(body: bytes, address: Address) -> tuple[dict[str, str], bytes]:
    if address.is_local:
        return {}, body
    return {"Content-Encoding": "gzip"}, gzip.compress(body, compresslevel=1)


def _reason(answer: httpx.Response) -> str:
    try:
        told = answer.json()
    except ValueError:
        return answer.text.strip() or answer.reason_phrase
    return str(told.get("message") or told.get("error") or told)


@contextmanager
def _reached(address: Address) -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        raise _unreachable(address, error) from None


def _unreachable(address: Address, error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"InfluxDB at {address.base} cannot be reached: {error}")
