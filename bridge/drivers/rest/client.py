"""A client of a REST interface that sends GET and nothing else, and is patient where the server requests it.

A password that a server refuses is not sent again: after a few attempts many servers lock the account.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx
from pydantic import SecretStr

from bridge.drivers.tls import Tls, client_context, handshake_problem
from historian.errors import ConfigError, NotConnected, SourceError
from historian.times import utc_now

TIMEOUT_S: Final = 60.0
"""Longest time to wait for an answer: a historian may read from tape."""
CONNECT_S: Final = 10.0
ATTEMPTS: Final = 6
"""Number of times that a request is sent while the server answers that it is busy."""
FIRST_S: Final = 1.0
LONGEST_PAUSE_S: Final = 120.0
"""Longest pause that is waited for; if a longer one is requested, the archive counts as not connected."""
_BUSY: Final = frozenset({429, 502, 503, 504})
_QUOTED: Final = 300
"""Characters of a server's message that ours quotes."""

Parameters = Sequence[tuple[str, str]]
Auth = httpx.Auth | tuple[str, str] | Callable[[httpx.Request], httpx.Request]
"""How to log in, as httpx takes it: user and password, or what puts a token into a request."""


class Refused(SourceError):
    """The server refuses a request: what it wants does not exist, may not be read, or is too much."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class LoginRefused(SourceError):
    """The server refuses the login."""


def secret_of(value: SecretStr | None, file: str | None, *, root: Path, key: str) -> str:
    """Return a secret that is given as `${NAME}` or as a file; empty if neither is.

    Args:
        value: the key's value.
        file: the file that holds it; blanks around it do not belong to it.
        root: directory to which the file is relative.
        key: the key's name, for messages.

    Raises:
        ConfigError: both are given, or the file cannot be read.
    """
    if value is not None and file is not None:
        raise ConfigError(f"{key} and {key}_file exclude one another; give one of them")
    if file is None:
        return value.get_secret_value() if value is not None else ""
    try:
        return (root / file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}_file: {root / file} cannot be read: {error}") from None


def bearer(token: str) -> Auth:
    """Return what puts a token into each request."""

    def authorized(request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return authorized


class RestClient:
    """Reads JSON from one server."""

    def __init__(self, url: str, *, tls: Tls | None, root: Path, table: str, auth: Auth | None = None) -> None:
        """Create it without connecting.

        Args:
            url: where the interface is.
            tls: whom to trust; the authorities of the operating system if None.
            root: directory to which files are relative.
            table: name of the settings' table in plant.toml, for messages.
            auth: how to log in.

        Raises:
            ConfigError: a file of `tls` cannot be used.
        """
        self.url = url.rstrip("/")
        self._context = client_context(tls or Tls(), root=root, table=table)
        self._name = {"sni_hostname": tls.server_name} if tls is not None and tls.server_name is not None else {}
        self._auth = auth
        self._client: httpx.AsyncClient | None = None
        self._refused = ""

    def open(self) -> None:
        """Create the connections' pool; they are made when they are needed."""
        if self._client is None:
            timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_S)
            self._client = httpx.AsyncClient(verify=self._context, timeout=timeout, auth=self._auth, trust_env=False)

    async def close(self) -> None:
        """Close the connections; may be called twice."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def get(self, path: str, parameters: Parameters = ()) -> Any:
        """Return the JSON at a path, as Python objects.

        Raises:
            NotConnected: the server cannot be reached, or is busy for too long.
            Refused: it refuses this request.
            LoginRefused: it refuses the login, now or before.
            SourceError: it answers something else than JSON.
        """
        response = await self._patiently(path, parameters)
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            raise self._refuse("401")
        if not response.is_success:
            raise Refused(f"{_named(response.status_code)}: {message_of(response.content)}", response.status_code)
        try:
            return await asyncio.to_thread(json.loads, response.content)
        except ValueError:
            start = response.text[:_QUOTED]
            raise SourceError(f"{self.url}{path} does not answer JSON but {start!r}; check url") from None

    async def _patiently(self, path: str, parameters: Parameters) -> httpx.Response:
        """Send a request until the server is not busy any more."""
        pause = FIRST_S
        for _ in range(ATTEMPTS):
            response = await self._send(path, parameters)
            if response.status_code not in _BUSY:
                return response
            requested = _pause_of(response.headers)
            wait = pause if requested is None else requested
            if wait > LONGEST_PAUSE_S:
                break
            await asyncio.sleep(wait)
            pause *= 2
        raise NotConnected(f"{self.url} is busy: {_named(response.status_code)}: {message_of(response.content)}")

    async def _send(self, path: str, parameters: Parameters) -> httpx.Response:
        if self._client is None:
            raise NotConnected(f"{self.url} is not open")
        if self._refused:
            raise LoginRefused(self._refused)
        try:
            return await self._client.get(
                self.url + path, params=httpx.QueryParams(list(parameters)), extensions=dict(self._name)
            )
        except LoginRefused as error:
            raise self._refuse(str(error)) from None
        except httpx.TransportError as error:
            raise NotConnected(f"cannot reach {self.url}: {_reason(error)}") from None

    def _refuse(self, answer: str) -> LoginRefused:
        """Send no more requests; return the error that says why."""
        self._refused = (
            f"{self.url} refuses the login ({answer}); correct user and password, then start again. "
            "It is not tried again, so that no account is locked"
        )
        return LoginRefused(self._refused)


def message_of(body: bytes) -> str:
    """Return what the body of an error says: its `Message`, its `Errors`, or its first characters."""
    with suppress(ValueError):
        found = json.loads(body)
        if isinstance(found, Mapping):
            errors = found.get("Errors") or found.get("Message") or found.get("ErrorMessage") or found.get("error")
            return "; ".join(map(str, errors)) if isinstance(errors, list) else str(errors or found)[:_QUOTED]
    return body[:_QUOTED].decode("utf-8", "replace").strip() or "no message"


def _named(status: int) -> str:
    with suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return str(status)


def _pause_of(headers: httpx.Headers) -> float | None:
    """Return the seconds that `Retry-After` requests, as a number or a date; None without one (RFC 9110, 10.2.3)."""
    given = headers.get("retry-after", "").strip()
    if given.isdecimal():
        return float(given)
    with suppress(ValueError):
        return max(0.0, (parsedate_to_datetime(given) - utc_now()).total_seconds())
    return None


def _reason(error: httpx.TransportError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return handshake_problem(cause)
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
