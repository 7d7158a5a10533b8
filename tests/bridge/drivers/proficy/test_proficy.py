"""The proficy driver against a strict simulator of the published reference; tests/contracts has what all promise."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bridge.drivers.proficy.values import rows_of
from bridge.drivers.protocols import open_archive
from historian.errors import ConfigError, NotConnected, SourceError
from historian.plant.connections import ConnectionConfig
from historian.quality import BAD, BAD_NO_DATA, GOOD, UNCERTAIN
from tests.bridge.drivers.proficy.simulator import API, Proficy, Stored
from tests.bridge.drivers.rest_server import Request, Response
from tests.contracts.archives import connection_of

T0 = datetime(2024, 5, 1, tzinfo=UTC)
SAMPLES = [(f"2024-05-01T00:00:{second:02}.000Z", f"{second}.5", 3) for second in range(9)]


@contextmanager
def simulated(tags: dict[str, Stored], **how: Any) -> Iterator[Proficy]:
    """A simulator while the block runs."""
    proficy = Proficy(tags, **how)
    try:
        yield proficy
    finally:
        proficy.server.stop()


@pytest.fixture
def secure(certificates: Path) -> ssl.SSLContext:
    """A server's context."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    return context


def connection(directory: Path, proficy: Proficy, *tags: str, keys: str = "") -> ConnectionConfig:
    """An archive of these tags."""
    table = f'driver = "proficy"\nurl = "{proficy.url}"\n{keys}'
    return connection_of(directory, table, {f"c.{tag}": {"address": tag} for tag in tags or proficy.tags})


def login(certificates: Path, more: str = "", *, is_right: bool = True) -> str:
    """The keys of a login."""
    secret = "s3cret" if is_right else "wrong"
    return f'client_id = "penstock"\nclient_secret = "{secret}"\n{more}\ntls = {{ ca = "{certificates}/ca.pem" }}'


def read(*configs: ConnectionConfig, between: Any = None) -> pl.DataFrame:
    """The samples of a minute, read once for each connection; `between` is called after each reading."""

    async def main() -> pl.DataFrame:
        archive = open_archive(configs[0])
        found = []
        try:
            await archive.open()
            for config in configs:
                names = [tag.name for tag in config.tags]
                found += [page.rows.samples async for page in archive.read(names, T0, T0 + timedelta(minutes=1))]
                if between is not None:
                    between()
        finally:
            await archive.close()
        return pl.concat(found).sort("tag", "timestamp")

    return asyncio.run(main())


def test_what_a_sample_of_proficy_becomes() -> None:
    """Values are texts, which are numbers for numeric types; a quality that nobody knows is not guessed."""
    given = [("1.25", 3), ("2", 1), ("3", 0), ("4", 2), ("true", 3), ("high", 3), ("5", 7)]
    raw = [{"TimeStamp": "2024-05-01T00:00:00.000Z", "Value": value, "Quality": quality} for value, quality in given]
    found = rows_of(raw, "c.a", "DoubleFloat")
    assert found.head(5).select("value", "text", "quality").rows() == [
        (1.25, None, GOOD),
        (2.0, None, UNCERTAIN),
        (None, None, BAD),
        (None, None, BAD_NO_DATA),
        (1.0, None, GOOD),
    ]
    assert found["reason"].to_list()[5:] == ["the value is not a number", "the quality is not one of Proficy: 0 to 3"]
    assert found["detail"][5] == "2024-05-01T00:00:00.000Z = high, quality 3"
    assert rows_of(raw[:1], "c.a", "VariableString").select("value", "text").rows() == [(None, "1.25")]


def test_a_token_is_requested_once_and_again_when_it_has_expired(
    tmp_path: Path, certificates: Path, secure: ssl.SSLContext
) -> None:
    """Nothing but GET is sent besides."""
    with simulated({"a": Stored(samples=SAMPLES)}, client=("penstock", "s3cret"), secure=secure) as proficy:
        config = connection(tmp_path, proficy, keys=login(certificates))
        found = read(config, config, config, between=lambda: setattr(proficy, "token", ""))
        posts = [request.path for request in proficy.server.requests if request.method != "GET"]
    assert found.height == 27
    assert proficy.logins == [{"grant_type": ["client_credentials"]}] * 3
    assert posts == ["/uaa/oauth/token"] * 3


def test_a_token_of_a_user(tmp_path: Path, certificates: Path, secure: ssl.SSLContext) -> None:
    """By the password grant; the secret may be in a file."""
    with simulated({"a": Stored(samples=SAMPLES)}, client=("penstock", "s3cret"), secure=secure) as proficy:
        more = 'username = "bridge"\npassword = "pw"'
        assert read(connection(tmp_path, proficy, keys=login(certificates, more=more))).height == 9
    assert proficy.logins == [{"grant_type": ["password"], "username": ["bridge"], "password": ["pw"]}]


def test_a_login_that_is_refused_is_not_tried_again(tmp_path: Path, certificates: Path, secure: ssl.SSLContext) -> None:
    """The account would be locked."""
    with simulated({"a": Stored()}, client=("penstock", "s3cret"), secure=secure) as proficy:
        archive = open_archive(connection(tmp_path, proficy, keys=login(certificates, is_right=False)))

        async def attempts() -> None:
            for _ in range(3):
                with pytest.raises(SourceError, match=r"refuses the login \(401: unauthorized\)"):
                    await archive.open()
            await archive.close()

        asyncio.run(attempts())
    assert len(proficy.logins) == 1


def test_a_server_that_gives_no_token_now_is_not_connected(
    tmp_path: Path, certificates: Path, secure: ssl.SSLContext
) -> None:
    """That is no refusal: the login is tried again."""
    with simulated({"a": Stored()}, client=("penstock", "s3cret"), secure=secure) as proficy:
        answer = proficy.server.answer
        proficy.server.answer = lambda each: Response({}, 503) if each.method == "POST" else answer(each)
        with pytest.raises(NotConnected, match="gives no token now: 503"):
            read(connection(tmp_path, proficy, keys=login(certificates)))


@pytest.mark.parametrize("limit_is_total", [False, True])
def test_a_count_may_hold_for_each_tag_or_for_all(tmp_path: Path, limit_is_total: bool) -> None:  # noqa: FBT001
    """Every sample is read once, either way."""
    with simulated({name: Stored(samples=SAMPLES) for name in "abc"}, limit_is_total=limit_is_total) as proficy:
        found = read(connection(tmp_path, proficy, keys="page = 4"))
    expected = [float(value) for _, value, _ in SAMPLES]
    assert {tag: rows["value"].to_list() for (tag,), rows in found.group_by("tag")} == {
        f"c.{name}": expected for name in "abc"
    }


def test_an_error_of_one_tag_stops_no_other(tmp_path: Path) -> None:
    """It comes with status 200, next to the samples of the others."""
    refused = pytest.raises(SourceError, match=r"old.csv row 3: c.b \(b\): error -9: unknown tag")
    with simulated({"a": Stored(samples=SAMPLES), "b": Stored(error=-9)}) as proficy, refused:
        read(connection(tmp_path, proficy))


def test_an_error_of_the_whole_answer_is_no_empty_history(tmp_path: Path) -> None:
    """It comes with status 200, too."""
    with simulated({"a": Stored(samples=SAMPLES)}) as proficy:
        proficy.busy = [Response({"ErrorCode": 0, "Tags": []}), Response({"ErrorCode": -2, "ErrorMessage": "offline"})]
        with pytest.raises(SourceError, match="error -2: offline"):
            read(connection(tmp_path, proficy))


def test_the_simulator_is_strict(tmp_path: Path) -> None:
    """It refuses other methods and parameters that the reference does not have."""
    with simulated({}) as proficy:
        request = Request("GET", f"{API}/tags", [("nameMask", "*")], "")
        answers = [proficy.answer(each) for each in (request._replace(method="PUT"), request._replace(path="/x"))]
        unknown = proficy.answer(request._replace(parameters=[("mask", "*")]))
    assert ([each.status for each in answers], unknown.content["ErrorCode"]) == ([405, 404], -4)


def test_secrets_belong_together_and_to_https(tmp_path: Path) -> None:
    """`penstock check` says so."""
    with simulated({"a": Stored()}) as proficy:
        for keys, message in (
            ('client_id = "p"\nclient_secret = "s"', "sent over https only"),
            ('client_id = "p"', "client_id belongs to client_secret"),
            ('username = "p"\npassword = "s"', "needs client_id"),
        ):
            with pytest.raises(ConfigError, match=message):
                connection(tmp_path, proficy, keys=keys)
        with pytest.raises(ConfigError, match="which separates tags"):
            open_archive(connection(tmp_path, proficy, "a;b"))
