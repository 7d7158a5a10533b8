"""The history of a Proficy Historian through REST; `bridge.drivers.proficy.driver` is the manual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, cast

import httpx
import polars as pl

from bridge.drivers.proficy.driver import SEPARATOR, Options, check_tags
from bridge.drivers.proficy.values import rows_of
from bridge.drivers.rest.archive import RestArchive, Sizes
from bridge.drivers.rest.client import Auth, LoginRefused, Refused, RestClient, message_of, secret_of
from historian.errors import NotConnected, SourceError
from historian.plant.connections import ConnectionConfig, Tag

TOKEN: Final = "/uaa/oauth/token"  # noqa: S105 (a path)
_API: Final = "/historian-rest-api/v1"


class ProficyHistory:
    """The `History` of a Proficy Historian."""

    earliest = "1970-01-01T00:00:00.000Z"
    latest = "2100-01-01T00:00:00.000Z"
    finest = timedelta(milliseconds=1)

    def __init__(self, connection: ConnectionConfig) -> None:
        """Check the addresses, without connecting. Raises `ConfigError`."""
        check_tags(connection)
        options = cast(Options, connection.options)
        self._client = RestClient(
            options.url,
            tls=options.tls,
            root=connection.root,
            table=f"archives.{connection.name}.tls",
            auth=_auth(options, connection),
        )

    async def open(self) -> None:
        """See `History.open`."""
        self._client.open()
        _checked(await self._client.get(f"{_API}/tags", [("nameMask", "*"), ("maxNumber", "1")]))

    async def close(self) -> None:
        """See `History.close`."""
        await self._client.close()

    async def missing(self, tags: Sequence[Tag]) -> Mapping[str, str]:
        """See `History.missing`: the first request of samples says it as well."""
        return {}

    async def page(self, tags: Sequence[Tag], start: str, end: str, most: int) -> Sequence[pl.DataFrame | str]:
        """See `History.page`."""
        is_backwards = end < start
        first, last = sorted((start, end))
        wanted = [
            ("tagNames", SEPARATOR.join(dict.fromkeys(tag.address for tag in tags))),
            ("start", first),
            ("end", last),
            ("direction", str(int(is_backwards))),
            ("count", str(most)),
        ]
        try:
            found = _checked(await self._client.get(f"{_API}/datapoints/raw", wanted))
        except Refused as error:
            if len(tags) == 1:
                return [str(error)]
            # One of them is at fault: the others must not suffer.
            return [answer for tag in tags for answer in await self.page([tag], start, end, most)]
        return await asyncio.to_thread(_answers, tags, found.get("Data") or ())


def _checked(found: Any) -> Mapping[str, Any]:
    """Return an answer without error. Raises `Refused`: an error may come with status 200."""
    if not isinstance(found, Mapping):
        raise SourceError(f"an answer of Proficy is a {type(found).__name__}, not an object; check url")
    if code := found.get("ErrorCode"):
        raise Refused(f"error {code}: {found.get('ErrorMessage') or 'no message'}", 200)
    return found


def _answers(tags: Sequence[Tag], data: Sequence[Mapping[str, Any]]) -> list[pl.DataFrame | str]:
    """Return the rows of each tag, or its error."""
    by_name = {str(each.get("TagName")): each for each in data}
    answers: list[pl.DataFrame | str] = []
    for tag in tags:
        found = by_name.get(tag.address)
        if found is None:
            answers.append("the server leaves it out of its answer")
        elif code := found.get("ErrorCode"):
            answers.append(f"error {code}: {found.get('ErrorMessage') or 'no message'}")
        else:
            answers.append(rows_of(found.get("Samples") or (), tag.name, str(found.get("DataType"))))
    return answers


class _Token(httpx.Auth):
    """Logs in by OAuth 2 (RFC 6749, 4.3 and 4.4), and once more when a token has expired."""

    def __init__(self, url: str, client: tuple[str, str], user: tuple[str, str] | None) -> None:
        self._url, self._client = url, client
        self._form = {"grant_type": "client_credentials"}
        if user is not None:
            self._form = {"grant_type": "password", "username": user[0], "password": user[1]}
        self._token = ""

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send a request with the token; if it is refused, or there is none yet, with a new one."""
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
            response = yield request
            if response.status_code != httpx.codes.UNAUTHORIZED:
                return
        login = httpx.Request("POST", self._url, data=self._form)
        [authorized] = list(httpx.BasicAuth(*self._client).sync_auth_flow(login))[:1]
        response = yield authorized
        await response.aread()
        self._token = _token_of(response)
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def _token_of(response: httpx.Response) -> str:
    """Return the token of a login's answer.

    Raises:
        LoginRefused: there is none.
        NotConnected: the server cannot say now.
    """
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
        raise NotConnected(f"{response.url} gives no token now: {response.status_code} {response.reason_phrase}")
    found = response.json() if response.is_success else {}
    if not found.get("access_token"):
        raise LoginRefused(f"{response.status_code}: {message_of(response.content)}")
    return str(found["access_token"])


def _auth(options: Options, connection: ConnectionConfig) -> Auth | None:
    if options.client_id is None:
        return None
    root = connection.root
    secret = secret_of(options.client_secret, options.client_secret_file, root=root, key="client_secret")
    password = secret_of(options.password, options.password_file, root=root, key="password")
    user = (options.username, password) if options.username is not None else None
    return _Token(options.url.rstrip("/") + TOKEN, (options.client_id, secret), user)


def archive_of(connection: ConnectionConfig) -> RestArchive:
    """Create the archive of a connection, not opened yet. Raises `ConfigError` for tags or files that cannot work."""
    options = cast(Options, connection.options)
    sizes = Sizes(options.page, options.tags_per_request, options.slice)
    return RestArchive(connection, ProficyHistory(connection), sizes)
