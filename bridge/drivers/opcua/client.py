"""Opens sessions with an OPC UA server, resumes them over a new connection, and divides requests as its limits demand.

Every connection has a new asyncua client. Its supervisor, its watchdog and its reconnecting are not used: what they do
when packets are lost leaves a session without notifications.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from asyncua import Client, ua
from asyncua.client.ua_client import UaClientState
from asyncua.client.ua_session import UaSession
from cryptography import x509

from bridge.drivers.opcua.driver import Options
from bridge.drivers.opcua.nodes import node_of
from bridge.drivers.opcua.security import secure, set_login
from historian.errors import ConfigError, NotConnected
from historian.times import utc_now

Answer = TypeVar("Answer")

CONNECT_S: Final = 10.0
REQUEST_S: Final = 4.0
CLOSE_S: Final = 2.0
ABANDONED_S: Final = 60.0
"""Seconds without contact after which the server may drop our session and subscription."""
ITEMS_PER_CALL: Final = 1_000
FAILURES: Final = (OSError, TimeoutError, ua.UaError)
"""What asyncua raises if a server cannot be reached or does not do what is requested."""
_RENEWED: Final = 0.75
"""Share of a secure channel's lifetime after which it is renewed (OPC UA Part 4, 5.5.2.1)."""
_REFUSED: Final = (
    ua.uaerrors.BadUserAccessDenied,
    ua.uaerrors.BadIdentityTokenInvalid,
    ua.uaerrors.BadIdentityTokenRejected,
    ua.uaerrors.BadUserSignatureInvalid,
)
_NOBODY: Final = "Connect call failed"
"""What asyncio says if a connection is refused, or no way leads to the host."""
_NOT_TRUSTED: Final = (ua.uaerrors.BadCertificateUntrusted, ua.uaerrors.BadSecurityChecksFailed)
_TOO_LARGE: Final = (
    ua.uaerrors.BadTooManyOperations,
    ua.uaerrors.BadRequestTooLarge,
    ua.uaerrors.BadResponseTooLarge,
    ua.uaerrors.BadEncodingLimitsExceeded,
)

# At INFO and below asyncua formats every publish response as text, and logs errors with tracebacks; `NotConnected`
# reports what matters of them.
logging.getLogger("asyncua").setLevel(logging.CRITICAL)


class LoginRefused(NotConnected):
    """The server refuses the user; trying again may lock the account."""


class Unreachable(NotConnected):
    """Nobody answers at the server's address."""


class SessionLost(NotConnected):
    """The server does not know the session any more."""


@dataclass(frozen=True)
class Former:
    """A session that a server may still keep."""

    token: str
    """Its authentication token, a node id. Whoever knows it can take the session over."""
    nonce: bytes
    """What the server's last response wants to be signed."""
    policies: tuple[tuple[int, str, str], ...] = ()
    """How the endpoint takes logins: number of the kind, id, and URI of its security policy."""


@dataclass(frozen=True)
class Opened:
    """A client with an active session."""

    client: Client
    certificate: x509.Certificate | None
    """The server's, if the connection is secured."""

    @property
    def session(self) -> UaSession:
        """The session's services."""
        return self.client.uaclient.session

    @property
    def is_up(self) -> bool:
        """Whether the connection is open, as far as is known."""
        return bool(self.client.state is UaClientState.CONNECTED)

    @property
    def login_policies(self) -> list[ua.UserTokenPolicy]:
        """How the server's endpoint takes logins."""
        return list(self.client._policy_ids or ())

    def former(self) -> Former:
        """Return what is needed to resume the session."""
        policies = [
            (int(each.TokenType), each.PolicyId or "", each.SecurityPolicyUri or "") for each in self.login_policies
        ]
        token = self.session.authentication_token.to_string()
        return Former(token, bytes(self.client._server_nonce or b""), tuple(policies))


async def opened(options: Options, url: str, root: Path, former: Former | None = None) -> Opened:
    """Open a session, or resume one that was opened before.

    Args:
        options: the source's options.
        url: the server.
        root: directory to which files in the options are relative.
        former: the session to resume.

    Raises:
        LoginRefused: the server refuses the user.
        SessionLost: the server does not resume the session.
        NotConnected: the server cannot be reached, refuses us, or must not be trusted.
    """
    client = Client(url, timeout=REQUEST_S)
    client.name = client.description = "Penstock"
    client.session_timeout = int(ABANDONED_S * 1000)
    try:
        async with asyncio.timeout(CONNECT_S):
            set_login(client, options, root)
            certificate = await secure(client, options, root, utc_now())
            await client.connect_socket()
            await client.send_hello()
            await client.open_secure_channel()
            await _activate(client, former)
    except BaseException as error:
        abandon(client)
        if isinstance(error, ConfigError):  # a file may have been replaced since it was checked
            raise NotConnected(f"cannot connect to {url}: {error}") from None
        if isinstance(error, FAILURES):
            raise not_connected(url, error) from None
        raise
    return Opened(client, certificate)


async def _activate(client: Client, former: Former | None) -> None:
    """Create and activate a session, or activate the former one on this channel."""
    try:
        if former is None:
            await client.create_session()
        else:
            _adopt(client, former)
        certificate = client.user_certificate
        await client.activate_session(username=client._username, password=client._password, certificate=certificate)
    except ua.UaStatusCodeError as error:
        if former is None:
            with suppress(*FAILURES):  # or the server keeps a session that nobody can use
                await client.uaclient.close_session(delete_subscriptions=False)
        raise _refusal(client, former, error) from None


def _refusal(client: Client, former: Former | None, error: ua.UaStatusCodeError) -> Exception:
    """Return what it means that the server does not activate a session."""
    user = client._username or ("of user_certificate" if client.user_certificate else "")
    if isinstance(error, _REFUSED) and user:
        return LoginRefused(f"{client.server_url.geturl()} refuses the user {user} ({type(error).__name__})")
    if former is not None:
        return SessionLost(f"the server does not resume the session ({type(error).__name__})")
    found: Exception = error
    return found


def _adopt(client: Client, former: Former) -> None:
    client.uaclient.session.restore_authentication_token(node_of(former.token))
    client._server_nonce = former.nonce
    client._policy_ids = [
        ua.UserTokenPolicy(PolicyId=name, TokenType=ua.UserTokenType(kind), SecurityPolicyUri=uri)
        for kind, name, uri in former.policies
    ]


async def keep_channel(client: Client) -> None:
    """Renew the secure channel for as long as the connection lasts; an error ends it, and is noticed as silence."""
    while True:
        await asyncio.sleep(_RENEWED * client.secure_channel_timeout / 1000)
        await client.open_secure_channel(renew=True)
        client.uaclient.revolve_security_token()


async def disconnect(client: Client) -> None:
    """Close session and connection, as far as that is still possible."""
    with suppress(Exception):  # a lost connection cannot be closed properly
        async with asyncio.timeout(CLOSE_S):
            await client.disconnect()
    client.disconnect_socket()


def abandon(client: Client) -> None:
    """Close the connection, and leave its session with the server."""
    client.uaclient.request_disconnect()
    client.disconnect_socket()


def not_connected(url: str, error: Exception) -> NotConnected:
    """Return the error that says which server cannot be used, and why."""
    reason = str(error) or "no answer"
    if isinstance(error, _NOT_TRUSTED):
        named = "trust the file that penstock certs show names as own on the server"
        reason = f"it refuses our certificate ({type(error).__name__}); {named}"
    elif isinstance(error, ua.uaerrors.BadTooManySessions | ua.uaerrors.BadMaxConnectionsReached):
        reason = f"it has no session left ({type(error).__name__}); close others, or raise its limit"
    kind = Unreachable if _NOBODY in str(error) else NotConnected
    return kind(f"cannot connect to {url}: {reason}")


@asynccontextmanager
async def session_of(options: Options, root: Path) -> AsyncIterator[UaSession]:
    """Open a session while the block runs. Raises `NotConnected` if that fails, or the server stops answering."""
    one = await opened(options, options.endpoint, root)
    try:
        yield one.session
    except FAILURES as error:
        raise not_connected(options.endpoint, error) from None
    finally:
        await disconnect(one.client)


async def per_call(session: UaSession, limit: int, most: int = ITEMS_PER_CALL) -> int:
    """Return the most nodes to put into one request: the server's limit, if it has one, and never more than ours.

    Args:
        session: the session.
        limit: number of the variable that holds the limit, of `ua.ObjectIds`.
        most: our own limit.
    """
    [answer] = await session.read_attributes([ua.NodeId(limit)], ua.AttributeIds.Value)
    own = answer.Value.Value if answer.StatusCode.is_good() and answer.Value else None
    return min(own, most) if own else most


async def in_parts(count: int, size: int, request: Callable[[range], Awaitable[Sequence[Answer]]]) -> list[Answer]:
    """Return the answers to a request for `count` things, `size` at a time, or fewer where the server takes fewer.

    Args:
        count: number of things.
        size: most of them in one request.
        request: sends a request for the things of these numbers.
    """
    answers: list[Answer] = []
    while len(answers) < count:
        part = range(len(answers), min(len(answers) + size, count))
        try:
            answers += await request(part)
        except _TOO_LARGE:
            if len(part) == 1:
                raise
            size = len(part) // 2
    return answers


async def attributes(
    session: UaSession, nodes: Sequence[ua.NodeId], attribute: ua.AttributeIds, *, size: int
) -> list[object]:
    """Read one attribute of nodes, `size` in a request; None where there is none or it cannot be read."""

    async def request(part: range) -> list[ua.DataValue]:
        answers: list[ua.DataValue] = await session.read_attributes([nodes[place] for place in part], attribute)
        return answers

    found: list[object] = []
    for answer in await in_parts(len(nodes), size, request):
        good = answer.StatusCode is None or answer.StatusCode.is_good()
        found.append(answer.Value.Value if good and answer.Value is not None else None)
    return found
