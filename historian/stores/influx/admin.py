"""Setting up InfluxDB once, and its status: `penstock store init` and `status`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx

from historian.errors import AccessDenied, StoreError
from historian.stores.influx.address import InfluxAddress, clean_secret
from historian.stores.influx.refusals import no_organisation, refusal
from historian.stores.influx.wire import answer_reason, bucket_of, check_answer, connecting
from historian.times import format_duration


def initialise(address: InfluxAddress, secret: str, *, retention: timedelta | None) -> str:
    """Create the database or bucket, its retention and its InfluxQL mapping; change nothing that is right already.

    Args:
        address: the server and the database or bucket.
        secret: an administrator's password, or a token with full access to the organisation.
        retention: how long samples are kept; for ever if None.

    Returns:
        A sentence that says what was done.

    Raises:
        AccessDenied: the password or token lacks the permission, or there is no such organisation.
        StoreUnavailable: InfluxDB does not respond.
    """
    with _client(address, secret) as client:
        return _initialise2(client, address, retention) if address.org else _initialise1(client, address, retention)


def status(address: InfluxAddress, secret: str) -> dict[str, Any]:
    """Return the version, the names of the visible databases or buckets, and the series and bytes on disk of ours.

    Args:
        address: the server and the database or bucket.
        secret: its password or token.

    Raises:
        AccessDenied: it may not be read, or there is no such bucket or organisation.
        StoreUnavailable: InfluxDB does not respond.
    """
    with _client(address, secret) as client:
        version = _request(client, address, "GET", "/ping").headers.get("X-Influxdb-Version", "unknown")
        found = {"version": version.removeprefix("v")}
        return found | (_status2(client, address) if address.org else _status1(client, address))


def _initialise1(client: httpx.Client, address: InfluxAddress, retention: timedelta | None) -> str:
    name, _, policy = address.bucket.partition("/")
    policy = _quoted(policy or "autogen")
    duration = f"DURATION {format_duration(retention) if retention else 'INF'}"
    existed = name in _column(client, address, "SHOW DATABASES")
    if existed:
        _influxql(client, address, f"ALTER RETENTION POLICY {policy} ON {_quoted(name)} {duration}")
    else:
        _influxql(client, address, f"CREATE DATABASE {_quoted(name)} WITH {duration} NAME {policy}")
    return _summary(f"database {name}", existed=existed, retention=retention)


def _initialise2(client: httpx.Client, address: InfluxAddress, retention: timedelta | None) -> str:
    seconds = int(retention.total_seconds()) if retention else 0
    rules = [{"type": "expire", "everySeconds": seconds}] if seconds else []
    bucket = _bucket(client, address)
    if bucket is None:
        body = {"orgID": _org_id(client, address), "name": address.bucket, "retentionRules": rules}
        made = _request(client, address, "POST", "/api/v2/buckets", json=body).json()
    else:
        path = f"/api/v2/buckets/{bucket['id']}"
        made = _request(client, address, "PATCH", path, json={"retentionRules": rules}).json()
    # Newer servers map a bucket to the database of its name by themselves; for older ones it is created here.
    ids = {"orgID": made["orgID"], "bucketID": made["id"]}
    mappings = _request(client, address, "GET", "/api/v2/dbrps", params=ids).json()
    if not mappings["content"]:
        mapping = {**ids, "database": address.bucket, "retention_policy": "autogen", "default": True}
        _request(client, address, "POST", "/api/v2/dbrps", json=mapping)
    return _summary(f"bucket {address.bucket} of {address.org}", existed=bucket is not None, retention=retention)


def _status1(client: httpx.Client, address: InfluxAddress) -> dict[str, Any]:
    name = address.bucket.partition("/")[0]
    by_measurement = _column(client, address, f"SHOW SERIES EXACT CARDINALITY ON {_quoted(name)}")
    shards = [each for each in _series(client, address, "SHOW STATS FOR 'shard'") if each["tags"]["database"] == name]
    sizes = [dict(zip(each["columns"], each["values"][0], strict=True))["diskBytes"] for each in shards]
    databases = _column(client, address, "SHOW DATABASES")
    return {"databases": databases, "series": sum(by_measurement), "disk_bytes": sum(sizes)}


def _status2(client: httpx.Client, address: InfluxAddress) -> dict[str, Any]:
    bucket = _bucket(client, address)
    if bucket is None:
        raise refusal(404, f'bucket "{address.bucket}" not found', {}, address, "read")
    listed = _request(client, address, "GET", "/api/v2/buckets", params={"org": address.org, "limit": 100}).json()
    metrics = _request(client, address, "GET", "/metrics").text

    def total(name: str) -> int:
        values = re.findall(rf'^{name}{{[^}}]*bucket="{bucket["id"]}"[^}}]*}} (\S+)$', metrics, flags=re.MULTILINE)
        return int(sum(map(float, values)))

    return {
        "buckets": [each["name"] for each in listed["buckets"]],
        "series": total("storage_bucket_series_num"),
        "disk_bytes": total("storage_shard_disk_size"),
    }


def _org_id(client: httpx.Client, address: InfluxAddress) -> str:
    found = _request(client, address, "GET", "/api/v2/orgs", params={"org": address.org}).json()["orgs"]
    if not found:  # it exists, or the status would be 404
        raise _needs_administrator(address, f"read organisation {address.org}")
    return str(found[0]["id"])


def _bucket(client: httpx.Client, address: InfluxAddress) -> dict[str, Any] | None:
    with connecting(address):
        return bucket_of(client, address)


def _column(client: httpx.Client, address: InfluxAddress, query: str) -> list[Any]:
    return [row[0] for each in _series(client, address, query) for row in each.get("values", [])]


def _series(client: httpx.Client, address: InfluxAddress, query: str) -> list[dict[str, Any]]:
    return list(_influxql(client, address, query).get("series", []))


def _influxql(client: httpx.Client, address: InfluxAddress, query: str) -> dict[str, Any]:
    result: dict[str, Any] = _request(client, address, "POST", "/query", data={"q": query}).json()["results"][0]
    if "error" in result:
        raise StoreError(f"InfluxDB at {address.base} refuses {query}: {result['error']}")
    return result


def _request(client: httpx.Client, address: InfluxAddress, method: str, path: str, **given: Any) -> httpx.Response:
    with connecting(address):
        answer = client.request(method, path, **given)
    reason = answer_reason(answer) if answer.is_error else ""
    if answer.status_code == 403 or "is unauthorized" in reason or (answer.status_code == 401 and not address.org):
        raise _needs_administrator(address, f"{method} {path} ({reason})")
    if answer.status_code == 404 and "organization" in reason:
        raise no_organisation(address)
    if answer.status_code == 404:
        raise AccessDenied(f"InfluxDB at {address.base} has no {path} ({reason}); is it InfluxDB 1.6 to 2.x?")
    check_answer(answer, address, "use")
    return answer


def _needs_administrator(address: InfluxAddress, what: str) -> AccessDenied:
    kind = "a token with all access to the organisation" if address.org else "an administrator's name and password"
    return AccessDenied(
        f"InfluxDB at {address.base} does not let us {what}; this takes {kind}: for this one command, set "
        f"PENSTOCK_HISTORIAN_TOKEN to it"
    )


@contextmanager
def _client(address: InfluxAddress, secret: str) -> Iterator[httpx.Client]:
    secret = clean_secret(secret, address)
    auth = httpx.BasicAuth(address.user, secret) if address.user else None
    headers = {"Authorization": f"Token {secret}"} if address.org and secret else {}
    with httpx.Client(base_url=address.base, headers=headers, auth=auth, timeout=30) as client:
        yield client


def _summary(what: str, *, existed: bool, retention: timedelta | None) -> str:
    kept = f"samples are kept for {format_duration(retention)}" if retention else "samples are kept for ever"
    return f"{what} {'is there' if existed else 'was made'}; {kept}"


def _quoted(name: str) -> str:
    """Return a name as an InfluxQL identifier."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
