"""What an administrator does to InfluxDB once, and what one looks at: `penstock store init` and `status`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import httpx

from historian.errors import AccessDenied, StoreError, StoreUnavailable
from historian.stores.influx.wire import Address, refusal
from historian.times import format_duration


def initialise(address: Address, secret: str, *, retention: timedelta | None) -> str:
    """Makes the database or bucket, with its retention and its InfluxQL mapping; leaves alone what is right already.

    Args:
        address: what to make.
        secret: an administrator's password or token.
        retention: how long samples are kept; for ever if None.

    Returns:
        What was done, in words.

    Raises:
        AccessDenied: we may not; StoreUnavailable: nobody answers.
    """
    with _client(address, secret) as client:
        return _initialise2(client, address, retention) if address.org else _initialise1(client, address, retention)


def status(address: Address, secret: str) -> dict[str, Any]:
    """Version, the names of the databases or buckets we may see, series in ours, and its bytes on disk."""
    with _client(address, secret) as client:
        found = {"version": _asked(client, address, "GET", "/ping").headers.get("X-Influxdb-Version", "unknown")}
        return found | (_status2(client, address) if address.org else _status1(client, address))


def _initialise1(client: httpx.Client, address: Address, retention: timedelta | None) -> str:
    name, _, policy = address.bucket.partition("/")
    policy = _quoted(policy or "autogen")
    duration = f"DURATION {format_duration(retention) if retention else 'INF'}"
    existed = name in _column(client, address, "SHOW DATABASES")
    if existed:
        _influxql(client, address, f"ALTER RETENTION POLICY {policy} ON {_quoted(name)} {duration}")
    else:
        _influxql(client, address, f"CREATE DATABASE {_quoted(name)} WITH {duration} NAME {policy}")
    return _told(f"database {name}", existed=existed, retention=retention)


def _initialise2(client: httpx.Client, address: Address, retention: timedelta | None) -> str:
    seconds = int(retention.total_seconds()) if retention else 0
    org = _org_id(client, address)
    rules = [{"type": "expire", "everySeconds": seconds}] if seconds else []
    bucket = _bucket(client, address)
    if bucket is None:
        body = {"orgID": org, "name": address.bucket, "retentionRules": rules}
        made = _asked(client, address, "POST", "/api/v2/buckets", json=body).json()
    else:
        made = _asked(
            client, address, "PATCH", f"/api/v2/buckets/{bucket['id']}", json={"retentionRules": rules}
        ).json()
    # Newer servers map a bucket to the database of its name by themselves; older ones must be told to.
    mappings = _asked(client, address, "GET", "/api/v2/dbrps", params={"orgID": org, "bucketID": made["id"]}).json()
    if not mappings["content"]:
        mapping = {"orgID": org, "bucketID": made["id"], "database": address.bucket, "retention_policy": "autogen"}
        _asked(client, address, "POST", "/api/v2/dbrps", json={**mapping, "default": True})
    return _told(f"bucket {address.bucket} of {address.org}", existed=bucket is not None, retention=retention)


def _status1(client: httpx.Client, address: Address) -> dict[str, Any]:
    name = address.bucket.partition("/")[0]
    by_measurement = _column(client, address, f"SHOW SERIES EXACT CARDINALITY ON {_quoted(name)}")
    shards = [each for each in _series(client, address, "SHOW STATS FOR 'shard'") if each["tags"]["database"] == name]
    sizes = [dict(zip(each["columns"], each["values"][0], strict=True))["diskBytes"] for each in shards]
    databases = _column(client, address, "SHOW DATABASES")
    return {"databases": databases, "series": sum(by_measurement), "disk_bytes": sum(sizes)}


def _status2(client: httpx.Client, address: Address) -> dict[str, Any]:
    listed = _asked(client, address, "GET", "/api/v2/buckets", params={"org": address.org, "limit": 100}).json()
    bucket = _bucket(client, address)
    if bucket is None:
        raise refusal(404, "bucket not found", {}, address)
    metrics = _asked(client, address, "GET", "/metrics").text

    def total(name: str) -> int:
        values = re.findall(rf'^{name}{{[^}}]*bucket="{bucket["id"]}"[^}}]*}} (\S+)$', metrics, flags=re.MULTILINE)
        return int(sum(map(float, values)))

    return {
        "buckets": [each["name"] for each in listed["buckets"]],
        "series": total("storage_bucket_series_num"),
        "disk_bytes": total("storage_shard_disk_size"),
    }


def _org_id(client: httpx.Client, address: Address) -> str:
    found = _asked(client, address, "GET", "/api/v2/orgs", params={"org": address.org}).json()["orgs"]
    return str(found[0]["id"])


def _bucket(client: httpx.Client, address: Address) -> dict[str, Any] | None:
    params = {"org": address.org, "name": address.bucket}
    found = _asked(client, address, "GET", "/api/v2/buckets", params=params).json()["buckets"]
    return dict(found[0]) if found else None


def _column(client: httpx.Client, address: Address, query: str) -> list[Any]:
    return [row[0] for each in _series(client, address, query) for row in each.get("values", [])]


def _series(client: httpx.Client, address: Address, query: str) -> list[dict[str, Any]]:
    return list(_influxql(client, address, query).get("series", []))


def _influxql(client: httpx.Client, address: Address, query: str) -> dict[str, Any]:
    result: dict[str, Any] = _asked(client, address, "POST", "/query", data={"q": query}).json()["results"][0]
    if "error" in result:
        raise StoreError(f"InfluxDB at {address.base} refuses {query}: {result['error']}")
    return result


def _asked(client: httpx.Client, address: Address, method: str, path: str, **given: Any) -> httpx.Response:
    try:
        answer = client.request(method, path, **given)
    except httpx.TransportError as error:
        raise StoreUnavailable(f"InfluxDB at {address.base} cannot be reached: {error}") from None
    if answer.status_code in (401, 403):
        raise AccessDenied(
            f"InfluxDB at {address.base} does not let us {method} {path}; it takes an administrator's token"
        )
    if answer.status_code == 404 and path != "/api/v2/buckets":
        raise AccessDenied(
            f"InfluxDB at {address.base} has no {path}, or no organisation {address.org!r}: {answer.text}"
        )
    if answer.status_code == 404:
        return httpx.Response(200, json={"buckets": []})
    if answer.is_error:
        raise refusal(answer.status_code, answer.text.strip(), answer.headers, address)
    return answer


def _client(address: Address, secret: str) -> httpx.Client:
    if address.org:
        return httpx.Client(base_url=address.base, headers={"Authorization": f"Token {secret}"}, timeout=30)
    auth = httpx.BasicAuth(address.user, secret) if address.user else None
    return httpx.Client(base_url=address.base, auth=auth, timeout=30)


def _told(what: str, *, existed: bool, retention: timedelta | None) -> str:
    kept = f"samples are kept for {format_duration(retention)}" if retention else "samples are kept for ever"
    return f"{what} {'is there' if existed else 'was made'}; {kept}"


def _quoted(name: str) -> str:
    """An InfluxQL identifier."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
