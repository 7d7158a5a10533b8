"""The url of an InfluxDB, and its token or password."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from historian.errors import ConfigError


@dataclass(frozen=True)
class InfluxAddress:
    """The address of an InfluxDB, and the bucket or database to use."""

    base: str
    """Base url, such as `http://127.0.0.1:8086`."""
    org: str
    """Organisation in 2.x; empty for 1.x."""
    bucket: str
    """Bucket in 2.x; in 1.x the database, or database/retention policy."""
    user: str
    """User in 1.x, who authenticates with the password; empty without authentication."""

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, where compressing a request costs more than it saves."""
        host = urlsplit(self.base).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def parse_address(url: str) -> InfluxAddress:
    """Parse `influxdb://host:8086/DATABASE` for 1.x, `influxdb://host:8086/ORG?bucket=BUCKET` for 2.x.

    The scheme is `influxdb+https` for TLS.

    Raises:
        ConfigError: the url is neither, or contains a password.
    """
    parts = urlsplit(url)
    if parts.password is not None:
        raise ConfigError(
            "historian.url has a password in it; put it into [historian] token or PENSTOCK_HISTORIAN_TOKEN"
        )
    path, bucket = unquote(parts.path).strip("/"), parse_qs(parts.query).get("bucket", [""])[0]
    if not parts.hostname or not path:
        raise ConfigError(
            f"historian.url {url!r} lacks a host or a name; write influxdb://HOST:8086/DATABASE for InfluxDB 1.x, or "
            f"influxdb://HOST:8086/ORG?bucket=BUCKET for 2.x"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    base = f"{'https' if parts.scheme.endswith('+https') else 'http'}://{host}:{parts.port or 8086}"
    user = unquote(parts.username or "")
    return InfluxAddress(base, path, bucket, user) if bucket else InfluxAddress(base, "", path, user)


def clean_secret(secret: str, address: InfluxAddress) -> str:
    """Return a token or password without a trailing line end, which files and shells add.

    Raises:
        ConfigError: the token cannot be part of an HTTP header. The message does not show it; the libraries would
            print the whole header.
    """
    if not address.org:
        return secret.strip("\r\n")
    token = secret.strip()
    if not re.fullmatch(r"[!-~]*", token):
        raise ConfigError(
            "the InfluxDB token has a space, a line end or a character in it that is not ASCII, as if more than the "
            "token had been copied; check [historian] token or PENSTOCK_HISTORIAN_TOKEN"
        )
    return token
