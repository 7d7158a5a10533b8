"""Opens a connection to a Modbus device, plain or encrypted, by pymodbus."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import cast

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU

from bridge.drivers.modbus.driver import Options
from bridge.drivers.modbus.places import Table
from bridge.drivers.tls import client_context, handshake_problem
from historian.errors import NotConnected
from historian.plant.connections import ConnectionConfig
from historian.times import format_duration

# What pymodbus logs is reported as Bad rows and NotConnected; without a handler it would also go to standard error.
logging.getLogger("pymodbus").addHandler(logging.NullHandler())


def encryption(connection: ConnectionConfig) -> ssl.SSLContext | None:
    """Return how connections are encrypted; None if they are not.

    Raises:
        ConfigError: the certificates cannot be used.
    """
    tls = cast(Options, connection.options).tls
    return None if tls is None else client_context(tls, root=connection.root, table=f"sources.{connection.name}.tls")


async def connect_client(
    options: Options, context: ssl.SSLContext | None, *, on_change: Callable[[bool], None] = lambda _: None
) -> AsyncModbusTcpClient:
    """Connect to a device.

    Args:
        options: the driver's options.
        context: how to encrypt, as `encryption` returns it.
        on_change: called with whether the connection has been made or lost.

    Raises:
        NotConnected: with the reason.
    """
    client = AsyncModbusTcpClient(
        options.host,
        port=options.port_number,
        timeout=options.timeout.total_seconds(),
        retries=options.retries,
        reconnect_delay=0,  # the runner decides when to connect again
        trace_connect=on_change,
    )
    name = None if options.tls is None else options.tls.server_name or options.host
    reason = f"no answer within {format_duration(options.timeout)}; check the address, the cable and the device"

    # pymodbus only logs why it cannot connect, and knows no server name apart from the host. Its TLS client would also
    # take any piece of a response for a whole one.
    async def create() -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        nonlocal reason
        try:
            return await asyncio.get_running_loop().create_connection(
                client.ctx.handle_new_connection, options.host, options.port_number, ssl=context, server_hostname=name
            )
        except OSError as error:
            reason = _problem(error)
            raise

    client.ctx.call_create = create
    if not await client.connect():
        client.close()
        raise NotConnected(f"{options.peer} does not accept a Modbus connection: {reason}")
    return client


def request(
    client: AsyncModbusTcpClient, table: Table, first: int, *, count: int, device_id: int
) -> Awaitable[ModbusPDU]:
    """Return the request for some values of a device: functions 1 to 4, which only read."""
    read = {
        "coil": client.read_coils,
        "discrete": client.read_discrete_inputs,
        "holding": client.read_holding_registers,
        "input": client.read_input_registers,
    }[table]
    return read(first, count=count, device_id=device_id)


def _problem(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return handshake_problem(error)
    return f"{error.strerror or error}; check the address, the cable and the device"
