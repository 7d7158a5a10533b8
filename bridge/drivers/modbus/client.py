"""Opens a connection to Modbus devices, by network or serial line, and asks them, by pymodbus."""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, cast

from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.pdu import ModbusPDU

from bridge.drivers.modbus.blocks import Block
from bridge.drivers.modbus.driver import Options
from bridge.drivers.modbus.places import BIT_TABLES
from bridge.drivers.tls import client_context, handshake_problem
from historian.errors import NotConnected
from historian.plant.connections import ConnectionConfig
from historian.quality import BAD_COMMUNICATION_ERROR, BAD_DECODING_ERROR, BAD_TIMEOUT, GOOD
from historian.times import format_duration

# What pymodbus logs is reported as Bad rows and NotConnected; without a handler it would also go to standard error.
logging.getLogger("pymodbus").addHandler(logging.NullHandler())

Client = AsyncModbusTcpClient | AsyncModbusSerialClient
_FUNCTIONS: Final = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
QUIET_S: Final = 0.5
"""RTU has no transaction numbers: after a time-out, responses that arrive within this time are dropped."""


class Response(NamedTuple):
    """What a request came to."""

    at_us: int
    """Halfway between request and response, microseconds since 1970."""
    values: Sequence[int] | Sequence[bool] | None = None
    """Registers or bits, as many as requested."""
    exception: int | None = None
    """The exception code of the device, or of its gateway."""
    quality: int = GOOD
    """Why there is neither."""


def encryption(connection: ConnectionConfig) -> ssl.SSLContext | None:
    """Return how connections are encrypted; None if they are not.

    Raises:
        ConfigError: the certificates cannot be used.
    """
    tls = cast(Options, connection.options).tls
    return None if tls is None else client_context(tls, root=connection.root, table=f"sources.{connection.name}.tls")


class Link:
    """One connection. One request at a time: devices behind it share a line."""

    def __init__(self, options: Options, client: Client) -> None:
        """Take over a client that `open_link` has connected."""
        self.lost = False
        self.responded = False
        """Whether a device has responded to anything on this connection."""
        self._options = options
        self._client = client

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def drop(self) -> None:
        """Note that the connection is lost. No response can arrive any more, but pymodbus would go on waiting."""
        self.lost = True
        waiting = self._client.ctx.response_future
        if not waiting.done():
            waiting.set_exception(ConnectionException("the connection is lost"))
            waiting.exception()  # retrieved: nobody may be waiting

    async def ask(self, block: Block, *, attempts: int) -> Response:
        """Request the values of a block by function 1 to 4, which only read.

        Args:
            block: what to request.
            attempts: how often to ask before the device counts as silent.
        """
        began = time.time_ns()
        for _ in range(attempts):
            response = await self._once(block, began)
            if response.quality != BAD_TIMEOUT:
                break
        return response

    async def _once(self, block: Block, began: int) -> Response:
        if self._options.pause is not None:
            await asyncio.sleep(self._options.pause.total_seconds())
        if self.lost:
            return Response(_halfway(began), quality=BAD_COMMUNICATION_ERROR)
        began = time.time_ns()
        try:
            # Time-outs are left to pymodbus: a shorter wait here would leave a late response in the stream.
            answer = await _request(self._client, block)
        except ConnectionException:
            self.lost = True
            return Response(_halfway(began), quality=BAD_COMMUNICATION_ERROR)
        except ModbusException:
            await self._drain()
            return Response(_halfway(began), quality=BAD_TIMEOUT)
        self.responded = True
        return _response(answer, block, _halfway(began))

    async def _drain(self) -> None:
        if self._options.by_rtu:
            await asyncio.sleep(min(QUIET_S, self._options.timeout.total_seconds()))


def _halfway(began_ns: int) -> int:
    return (began_ns + time.time_ns()) // 2000


def _request(client: Client, block: Block) -> Awaitable[ModbusPDU]:
    read = {
        "coil": client.read_coils,
        "discrete": client.read_discrete_inputs,
        "holding": client.read_holding_registers,
        "input": client.read_input_registers,
    }[block.table]
    return read(block.first, count=block.count, device_id=block.device_id)


def _response(answer: ModbusPDU, block: Block, at_us: int) -> Response:
    if answer.isError():
        return Response(at_us, exception=answer.exception_code)
    values = answer.bits[: block.count] if block.table in BIT_TABLES else answer.registers
    if answer.function_code != _FUNCTIONS[block.table] or len(values) != block.count:
        return Response(at_us, quality=BAD_DECODING_ERROR)
    return Response(at_us, values)


async def open_link(options: Options, context: ssl.SSLContext | None) -> Link:
    """Connect to a device or gateway.

    Args:
        options: the driver's options.
        context: how to encrypt, as `encryption` returns it.

    Raises:
        NotConnected: with the reason.
    """
    link: Link | None = None

    def changed(connected: bool) -> None:  # noqa: FBT001 (pymodbus calls it so)
        if not connected and link is not None:
            link.drop()

    client = _serial(options, changed) if options.serial else _network(options, changed)
    if reason := await _connect(client, options, context):
        client.close()
        raise NotConnected(f"{options.peer} does not accept a Modbus connection: {reason}")
    # pymodbus would close a connection on which several devices in a row are silent; the poller decides about that.
    client.ctx.max_until_disconnect = client.ctx.count_until_disconnect = sys.maxsize
    link = Link(options, client)
    return link


def _network(options: Options, changed: Callable[[bool], None]) -> Client:
    return AsyncModbusTcpClient(
        options.host,
        framer=FramerType.RTU if options.by_rtu else FramerType.SOCKET,
        port=options.port_number,
        timeout=options.timeout.total_seconds(),
        retries=0,
        reconnect_delay=0,  # the runner decides when to connect again
        trace_connect=changed,
    )


def _serial(options: Options, changed: Callable[[bool], None]) -> Client:
    return AsyncModbusSerialClient(
        options.serial,
        baudrate=options.baud_rate,
        parity=options.parity,
        stopbits=options.stop_bits,
        timeout=options.timeout.total_seconds(),
        retries=0,
        reconnect_delay=0,
        trace_connect=changed,
    )


async def _connect(client: Client, options: Options, context: ssl.SSLContext | None) -> str:
    """Connect; return why that failed, or an empty string."""
    name = None if options.tls is None else options.tls.server_name or options.host
    reason = f"no answer within {format_duration(options.timeout)}; check the address, the cable and the device"
    open_serial: Callable[[], Awaitable[tuple[asyncio.BaseTransport, asyncio.BaseProtocol]]] = client.ctx.call_create

    # pymodbus only logs why it cannot connect, and knows no server name apart from the host. Its TLS client would also
    # take any piece of a response for a whole one.
    async def create() -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        nonlocal reason
        try:
            if options.serial:
                return await open_serial()
            return await asyncio.get_running_loop().create_connection(
                client.ctx.handle_new_connection, options.host, options.port_number, ssl=context, server_hostname=name
            )
        except OSError as error:
            reason = _problem(error)
            raise

    client.ctx.call_create = create
    return "" if await client.connect() else reason


def _problem(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return handshake_problem(error)
    return f"{error.strerror or error}; check the address, the cable and the device"
