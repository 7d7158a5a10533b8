"""Converts error responses of InfluxDB to errors that say what to do.

Pure: status, reason and headers in, an error out. The responses of 2.8 were recorded from a real server:

    no token, or an unknown one                  401 unauthorized access
    write without permission                     403 insufficient permissions for write
    write to a bucket or organisation that does
    not exist                                    404 bucket "x" not found, organization name "x" not found
    InfluxQL without permission to read, or in a
    database that does not exist                 200 database not found: x (`Influxql` distinguishes them)
    an administrator's request without permission 401 write:orgs/… is unauthorized
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from historian.errors import AccessDenied, InvalidBatch, StoreUnavailable
from historian.stores.influx.address import InfluxAddress

Action = Literal["write to", "read", "use"]
"""The action requested on the bucket or database."""
TOKEN_SETTING: Final = "[historian] token or the variable PENSTOCK_HISTORIAN_TOKEN"  # noqa: S105 - where a token is set
_DROPPED: Final = re.compile(r"dropped=(\d+)")


def refusal(
    status: int, reason: str, headers: Mapping[str, str], address: InfluxAddress, action: Action = "use"
) -> StoreUnavailable | InvalidBatch | AccessDenied:
    """Return the error that says what to do about an HTTP status.

    Args:
        status: HTTP status, 400 or more.
        reason: InfluxDB's message.
        headers: headers of the response; names in any case.
        address: the server and the database or bucket.
        action: the requested action.
    """
    where = f"InfluxDB at {address.base}"
    if status in (401, 403):
        return access_denied(status, reason, address, action)
    if status == 404 and "organization" in reason:
        return no_organisation(address)
    if status == 404:
        return AccessDenied(f"{where} has no {address.bucket} ({reason}); make it with: penstock store init")
    if status in (400, 413, 422):
        found = _DROPPED.search(reason)
        return InvalidBatch(f"InfluxDB: {reason}", dropped=int(found[1]) if found else 0)
    return StoreUnavailable(f"{where} answers {status}: {reason}", retry_after=retry_after(headers))


def access_denied(status: int, reason: str, address: InfluxAddress, action: Action) -> AccessDenied:
    """Return the error for an unknown token or password (401), or for one without the permission (403)."""
    where = f"InfluxDB at {address.base}"
    if not address.org:
        verb = action if status == 403 else "use"
        text = f"{where} does not let us {verb} database {address.bucket} ({reason}); check {TOKEN_SETTING}"
        return AccessDenied(f"{text}, the user in the url, and what that user may do")
    if status == 401:
        return AccessDenied(f"{where} does not know the token ({reason}); check {TOKEN_SETTING}")
    return lacks_right(address, action, reason)


def lacks_right(address: InfluxAddress, action: Action, reason: str = "") -> AccessDenied:
    """Return the error for a 2.x token without the permission for a bucket, with InfluxDB's reason if it gave one."""
    bucket = f"{address.bucket} ({reason})" if reason else address.bucket
    return AccessDenied(
        f"InfluxDB at {address.base} does not let us {action} bucket {bucket}: the token lacks that right; "
        f"use one that has it in {TOKEN_SETTING}"
    )


def no_organisation(address: InfluxAddress) -> AccessDenied:
    """Return the error for a url that names an organisation that does not exist."""
    return AccessDenied(
        f"InfluxDB at {address.base} has no organisation {address.org!r}; correct ORG in [historian] url, "
        f"influxdb://HOST:8086/ORG?bucket=BUCKET"
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server requests us to wait, from `Retry-After` in seconds or as a date.

    A date is compared with the response's `Date`, so that our clock need not be right. Source: RFC 9110, section
    10.2.3.
    """
    given = {name.lower(): value.strip() for name, value in headers.items()}
    wait = given.get("retry-after", "")
    if wait.isdecimal():
        return float(wait)
    try:
        span = parsedate_to_datetime(wait) - parsedate_to_datetime(given.get("date", ""))
    except (ValueError, TypeError):
        return None
    return max(span, timedelta(0)).total_seconds()
