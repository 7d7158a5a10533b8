"""Secured connections with an OPC UA server: never less secure than configured, and only with those who are trusted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from asyncua import ua

from bridge.drivers.certificates import Identity, der_of, fingerprint, new_identity, pem_of
from bridge.drivers.opcua.driver import Options
from bridge.drivers.opcua.login import PAUSE, LoginGuard
from bridge.drivers.opcua.security import POLICIES, chosen_endpoint, is_exposed
from bridge.drivers.opcua.source import OpcuaSource
from bridge.drivers.pki import Pki
from bridge.run.discover import probe_source
from historian.errors import NotConnected
from historian.times import utc_now
from tests.bridge.drivers.opcua.plc import SPEED, URI, Plc, connected, connection_of, heard

OURS = "urn:test:penstock"


@pytest.fixture(scope="module")
def identities() -> list[Identity]:
    """Certificates of two servers and two clients."""
    return [new_identity(uri, ["127.0.0.1"], days=365, now=utc_now()) for uri in (URI, URI, OURS, OURS)]


@pytest.fixture(scope="module")
def server(identities: list[Identity]) -> Iterator[Plc]:
    """A server that offers every policy."""
    one = Plc(identities[0])
    one.start()
    yield one
    one.stop()
    one.end()


@pytest.fixture
def pki(tmp_path: Path, server: Plc, identities: list[Identity]) -> Pki:
    """Our certificates, among which the server's is trusted; the server accepts any client."""
    one = Pki(tmp_path / "pki")
    one.reject(identities[0].certificate)
    one.trust(fingerprint(identities[0].certificate))
    install(one, identities[2])
    server.trusted = None
    server.users.attempts.clear()
    server.say("speed", 0.0, second=0)
    return one


def install(pki: Pki, identity: Identity) -> None:
    """Make it our certificate."""
    pki.certificate.parent.mkdir(parents=True, exist_ok=True)
    pki.key.write_bytes(pem_of(identity.key))
    pki.certificate.write_bytes(der_of(identity.certificate))


def endpoint(policy: str, mode: ua.MessageSecurityMode) -> ua.EndpointDescription:
    """An endpoint that a server offers."""
    return ua.EndpointDescription(
        SecurityMode=mode, SecurityPolicyUri=f"http://opcfoundation.org/UA/SecurityPolicy#{policy}"
    )


NONE = endpoint("None", ua.MessageSecurityMode.None_)
SIGN, ENCRYPT = ua.MessageSecurityMode.Sign, ua.MessageSecurityMode.SignAndEncrypt


def test_the_strongest_policy_is_chosen_and_never_a_deprecated_one() -> None:
    """Whatever the order in which the server lists them."""
    options = Options(endpoint="opc.tcp://plc:4840", security="sign-and-encrypt")
    names = ["Basic256", "Aes128_Sha256_RsaOaep", "Basic256Sha256", "Aes256_Sha256_RsaPss"]
    offered = [endpoint(name, ENCRYPT) for name in names]
    assert chosen_endpoint(offered, options) == (offered[3], POLICIES["Aes256_Sha256_RsaPss"])
    with pytest.raises(NotConnected, match=r"the server offers Basic256/SignAndEncrypt;"):
        chosen_endpoint(offered[:1], options)


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        ([NONE], "the server offers only None, that is no security"),
        ([NONE, endpoint("Basic256Sha256", SIGN)], "the server offers Basic256Sha256/Sign, None/None"),
        ([endpoint("Aes256_Sha256_RsaPss", ENCRYPT)], "the server offers Aes256_Sha256_RsaPss/SignAndEncrypt"),
    ],
)
def test_nothing_less_or_else_than_configured_is_chosen(offered: list[ua.EndpointDescription], said: str) -> None:
    """Who alters what a server says of itself can make the connection fail, but not make it less secure."""
    options = Options(endpoint="opc.tcp://plc:4840", security="sign-and-encrypt", policy="Basic256Sha256")
    with pytest.raises(NotConnected, match=rf"{said}; sign-and-encrypt with Basic256Sha256 is configured"):
        chosen_endpoint(offered, options)


def test_a_password_in_plain_text_is_noticed() -> None:
    """The channel or the login's own policy may encrypt it."""
    user = {"endpoint": "opc.tcp://plc:4840", "username": "u", "password": "p"}
    plain = ua.UserTokenPolicy(TokenType=ua.UserTokenType.UserName, SecurityPolicyUri=NONE.SecurityPolicyUri)
    encrypted = ua.UserTokenPolicy(TokenType=ua.UserTokenType.UserName, SecurityPolicyUri="…#Basic256Sha256")
    assert is_exposed(Options(**user), [plain])
    assert is_exposed(Options(**user, security="sign"), [plain])
    assert not is_exposed(Options(**user, security="sign"), [ua.UserTokenPolicy(TokenType=ua.UserTokenType.UserName)])
    assert not is_exposed(Options(**user), [encrypted])
    assert not is_exposed(Options(**user, security="sign-and-encrypt"), [plain])
    assert not is_exposed(Options(endpoint="opc.tcp://plc:4840"), [plain])


def test_a_refused_password_is_not_sent_again_for_an_hour_unless_it_changes(tmp_path: Path) -> None:
    """Its file may be corrected while the bridge runs."""
    (tmp_path / "password").write_text("wrong\n")
    options = Options(endpoint="opc.tcp://plc:4840", username="u", password_file="password")  # noqa: S106 (a file)
    guard, now = LoginGuard(options, tmp_path), utc_now()
    guard.check(now)
    refused = guard.refused(NotConnected("no"), now)
    with pytest.raises(NotConnected, match=r"^no; it is not tried again before"):
        guard.check(now + PAUSE - timedelta(seconds=1))
    assert "not tried again" in str(refused)
    guard.check(now + PAUSE)
    (tmp_path / "password").write_text("right")
    guard.check(now)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("security", ["sign", "sign-and-encrypt"])
def test_every_policy_and_mode_streams(tmp_path: Path, server: Plc, pki: Pki, policy: str, security: str) -> None:
    """With a user, whose password is encrypted where the channel is not."""
    (tmp_path / "password").write_text("s3cret\n")
    user = {"username": "bridge", "password_file": "password"}
    connection = connection_of(tmp_path, server.port, [SPEED], security=security, policy=policy, **user)

    async def main() -> None:
        async with connected(connection) as source:
            await heard(source, 1)
            server.say("speed", 7.0, second=1)
            assert (await heard(source, 1))["value"].to_list() == [7.0]
            assert source.link.opened.client.security_policy.URI.endswith(policy)

    asyncio.run(main())
    assert server.users.attempts[-1][0] == "bridge"
    assert pki.files("rejected") == []


def test_a_certificate_logs_in(tmp_path: Path, server: Plc, pki: Pki, identities: list[Identity]) -> None:
    """It is another one than that of the application."""
    user = Pki(tmp_path / "user")
    install(user, identities[3])
    files = {"user_certificate": "user/own/certificate.der", "user_key": "user/own/key.pem"}

    async def main() -> None:
        async with connected(connection_of(tmp_path, server.port, [SPEED], security="sign", **files)) as source:
            await heard(source, 1)

    asyncio.run(main())
    assert server.users.attempts == [(None, der_of(identities[3].certificate))]


def test_a_server_is_refused_until_its_certificate_is_trusted(
    tmp_path: Path, server: Plc, pki: Pki, identities: list[Identity]
) -> None:
    """The message has the fingerprint to compare; no session is requested of a server that is not trusted."""
    digits = fingerprint(identities[0].certificate)
    next(iter(pki.files("trusted"))).unlink()
    source = OpcuaSource(connection_of(tmp_path, server.port, [SPEED], security="sign-and-encrypt"))

    async def main() -> None:
        with pytest.raises(NotConnected, match=rf"is not trusted; its SHA-256 is {digits}.*certs trust {digits[:16]}"):
            await source.connect()
        assert server.users.attempts == []
        pki.trust(digits[:16])
        await source.connect()
        await heard(source, 1)
        await source.close()

    asyncio.run(main())


def test_a_probe_says_why_a_server_is_refused(tmp_path: Path, server: Plc, pki: Pki) -> None:
    """Its endpoints are shown nevertheless."""
    next(iter(pki.files("trusted"))).unlink()
    report = asyncio.run(probe_source(connection_of(tmp_path, server.port, security="sign-and-encrypt")))
    assert not report.ok
    assert "run penstock certs trust" in str(report.facts["session"])
    assert len(report.tables["endpoints"]) == 7


def test_a_server_that_does_not_trust_us_is_named(tmp_path: Path, server: Plc, pki: Pki) -> None:
    """With what to do on the server."""
    server.trusted = []
    source = OpcuaSource(connection_of(tmp_path, server.port, [SPEED], security="sign"))

    async def main() -> None:
        with pytest.raises(NotConnected, match=r"it refuses our certificate .*trust the file"):
            await source.connect()
        await source.close()

    asyncio.run(main())


def test_our_certificate_is_exchanged_without_a_lost_sample(
    tmp_path: Path, server: Plc, pki: Pki, identities: list[Identity]
) -> None:
    """While the server refuses the new one, the connection with the old one goes on."""
    old, new = (der_of(identities[number].certificate) for number in (2, 3))
    server.trusted, count = [old], 80

    async def main() -> list[float]:
        connection = connection_of(tmp_path, server.port, [SPEED], security="sign-and-encrypt")
        async with asyncio.timeout(40), connected(connection, upkeep_s=0.1) as source:
            await heard(source, 1)
            for number in range(1, count + 1):
                server.say("speed", float(number), second=number)
                await asyncio.sleep(0.02)
                if number == 5:
                    install(pki, identities[3])
                if number == 20:
                    server.trusted = [old, new]
            while source.link.opened.client.security_policy.host_certificate != new:
                await asyncio.sleep(0.02)
            server.say("speed", 1000.0, second=1000)
            found = list[float]()
            while 1000.0 not in found:
                found += (await heard(source, 1))["value"].to_list()
            return found

    assert set(asyncio.run(main())) >= {*map(float, range(1, count + 1)), 1000.0}


def test_the_servers_certificate_is_exchanged_without_a_lost_sample(
    tmp_path: Path, server: Plc, pki: Pki, identities: list[Identity]
) -> None:
    """The session is resumed once the new certificate is trusted, and what was queued meanwhile arrives."""
    pki.reject(identities[1].certificate)

    async def main() -> list[float]:
        connection = connection_of(tmp_path, server.port, [SPEED], security="sign-and-encrypt")
        async with asyncio.timeout(40), connected(connection) as source:
            await heard(source, 1)
            reading = asyncio.create_task(heard(source, 2))
            await asyncio.to_thread(server.stop)
            server.use(identities[1])
            server.say("speed", 1.0, second=1)
            await asyncio.to_thread(server.start)
            await asyncio.sleep(0.5)
            assert not reading.done()
            pki.trust(fingerprint(identities[1].certificate))
            server.say("speed", 2.0, second=2)
            return (await reading)["value"].to_list()

    try:
        assert asyncio.run(main()) == [1.0, 2.0]
    finally:
        server.stop()
        server.use(identities[0])
        server.start()
