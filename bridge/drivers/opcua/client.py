"""Opens sessions with an OPC UA server, and divides requests as its limits demand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from asyncua import Client, ua
from asyncua.client.ua_session import UaSession

from bridge.drivers.opcua.driver import Options
from historian.errors import NotConnected

CONNECT_S: Final = 10.0
REQUEST_S: Final = 4.0
CLOSE_S: Final = 2.0
WATCHDOG_S: Final = 30.0
"""Seconds between asyncua's probes of the connection, and the longest a probe may take; a busy server needs seconds."""
ABANDONED_S: Final = 60.0
"""Seconds without contact after which the server may drop our session and subscription."""
ITEMS_PER_CALL: Final = 1_000

# At INFO and below asyncua formats every publish response as text, and logs errors with tracebacks; `NotConnected`
# reports what matters of them.
logging.getLogger("asyncua").setLevel(logging.CRITICAL)


def new_client(options: Options) -> Client:
    """Create a client for the server, not connected yet."""
    client = Client(options.endpoint, timeout=REQUEST_S, watchdog_intervall=WATCHDOG_S)
    client.name = client.description = "Penstock"
    client.session_timeout = int(ABANDONED_S * 1000)
    if options.username is not None and options.password is not None:
        client.set_user(options.username)
        client.set_password(options.password.get_secret_value())
    return client


async def disconnect(client: Client) -> None:
    """Close session and connection, as far as that is still possible."""
    with suppress(Exception):  # a lost connection cannot be closed properly
        async with asyncio.timeout(CLOSE_S):
            await client.disconnect()
    client.disconnect_socket()


def not_connected(options: Options, error: Exception) -> NotConnected:
    """Return the error that says which server cannot be used, and why."""
    return NotConnected(f"cannot connect to {options.endpoint}: {str(error) or 'no answer'}")


@asynccontextmanager
async def session_of(options: Options) -> AsyncIterator[UaSession]:
    """Open a session while the block runs. Raises `NotConnected` if that fails, or the server stops answering."""
    client = new_client(options)
    try:
        async with asyncio.timeout(CONNECT_S):
            await client.connect()
        yield client.uaclient.session
    except (OSError, TimeoutError, ua.UaError) as error:
        raise not_connected(options, error) from None
    finally:
        await disconnect(client)


async def per_call(session: UaSession, limit: int) -> int:
    """Return the most nodes to put into one request: the server's limit, if it has one, and never more than ours.

    Args:
        session: the session.
        limit: number of the variable that holds the limit, of `ua.ObjectIds`.
    """
    [answer] = await session.read_attributes([ua.NodeId(limit)], ua.AttributeIds.Value)
    own = answer.Value.Value if answer.StatusCode.is_good() and answer.Value else None
    return min(own, ITEMS_PER_CALL) if own else ITEMS_PER_CALL


async def attributes(
    session: UaSession, nodes: Sequence[ua.NodeId], attribute: ua.AttributeIds, *, size: int
) -> list[object]:
    """Read one attribute of nodes, `size` in a request; None where there is none or it cannot be read."""
    found: list[object] = []
    for first in range(0, len(nodes), size):
        for answer in await session.read_attributes(list(nodes[first : first + size]), attribute):
            good = answer.StatusCode is None or answer.StatusCode.is_good()
            found.append(answer.Value.Value if good and answer.Value is not None else None)
    return found
