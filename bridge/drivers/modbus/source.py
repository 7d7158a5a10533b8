"""The live source over one Modbus TCP connection; `bridge.drivers.modbus.driver` is its manual."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from bridge.drivers.modbus.blocks import Block, halves, plan_blocks
from bridge.drivers.modbus.client import connect_client, encryption, request
from bridge.drivers.modbus.driver import Options, places_of
from bridge.drivers.modbus.places import BIT_TABLES
from bridge.drivers.raw_rows import RawRows
from historian.errors import NotConnected
from historian.plant.connections import ConnectionConfig
from historian.quality import (
    BAD_COMMUNICATION_ERROR,
    BAD_DECODING_ERROR,
    BAD_DEVICE_FAILURE,
    BAD_OUT_OF_RANGE,
    BAD_TIMEOUT,
    GOOD,
)
from historian.samples import SCHEMA
from historian.times import utc_now

_NO_SUCH_REGISTER: Final = (ExcCodes.ILLEGAL_ADDRESS, ExcCodes.ILLEGAL_VALUE)
_REFUSALS: Final[dict[int, int]] = {
    ExcCodes.ILLEGAL_FUNCTION: BAD_OUT_OF_RANGE,
    ExcCodes.ILLEGAL_ADDRESS: BAD_OUT_OF_RANGE,
    ExcCodes.ILLEGAL_VALUE: BAD_OUT_OF_RANGE,
    ExcCodes.GATEWAY_PATH_UNAVIABLE: BAD_COMMUNICATION_ERROR,
    ExcCodes.GATEWAY_NO_RESPONSE: BAD_TIMEOUT,
}
"""Modbus exception code -> quality; all other codes, failures of the device itself, are BadDeviceFailure."""


@dataclass
class _Connection:
    """The state of one connection, from `connect` to `close`."""

    client: AsyncModbusTcpClient
    lost: asyncio.Future[None]
    blocks: list[Block]
    start: float
    """Time of poll 0 on the event loop's clock, in seconds."""
    poll: int = -1
    answered: bool = False
    """Whether the device has responded to anything."""
    loss_reported: bool = False
    """Whether the loss has been reported in Bad rows; only then does `read` raise."""


class ModbusSource:
    """A `Source` that polls a Modbus TCP device; `bridge.drivers.modbus.driver` is its manual."""

    def __init__(self, connection: ConnectionConfig) -> None:
        self.skipped_polls = 0
        """Number of polls skipped because earlier ones took longer than `every`."""
        self._context = encryption(connection)
        self._options = cast(Options, connection.options)
        self._plan = plan_blocks(places_of(connection), max_gap=self._options.max_gap)
        self._connection: _Connection | None = None

    async def connect(self) -> None:
        """See `Source.connect`."""
        await self.close()
        options, loop = self._options, asyncio.get_running_loop()
        lost: asyncio.Future[None] = loop.create_future()

        def changed(connected: bool) -> None:  # noqa: FBT001 (pymodbus calls it so)
            if not connected and not lost.done():
                lost.set_result(None)

        client = await connect_client(options, self._context, on_change=changed)
        self._connection = _Connection(client, lost, list(self._plan), loop.time())

    async def read(self) -> RawRows:
        """See `Source.read`: one row per tag and poll."""
        connection = self._connection
        if connection is None or connection.loss_reported:
            raise NotConnected(f"the Modbus connection to {self._options.peer} is lost{self._hint(connection)}")
        await self._wait_for_poll(connection)
        frames = [rows for block in tuple(connection.blocks) for rows in await self._read_block(connection, block)]
        connection.loss_reported = connection.lost.done()
        return RawRows(pl.concat(frames))

    async def close(self) -> None:
        """See `Source.close`."""
        if self._connection is not None:
            self._connection.client.close()
            self._connection = None

    def _hint(self, connection: _Connection | None) -> str:
        """Return what a loss before the first response may mean."""
        if self._context is None or connection is None or connection.answered:
            return ""
        return " before any response, as by a server that does not accept our certificate; check certificate and key"

    async def _wait_for_poll(self, connection: _Connection) -> None:
        """Wait until start + k * every: late polls do not shift later ones, and skipped polls are counted."""
        every, loop = self._options.every.total_seconds(), asyncio.get_running_loop()
        poll = next_poll(connection.poll, elapsed=loop.time() - connection.start, every=every)
        self.skipped_polls += poll - connection.poll - 1
        connection.poll = poll
        await asyncio.sleep(max(0.0, connection.start + poll * every - loop.time()))

    async def _read_block(self, connection: _Connection, block: Block) -> list[pl.DataFrame]:
        asked_at = utc_now()
        answer = await self._request(connection, block)
        instant = asked_at + (utc_now() - asked_at) / 2
        if isinstance(answer, int):
            return [_rows(block, None, answer, instant)]
        connection.answered = True
        if not answer.isError():
            values = answer.bits[: block.count] if block.table in BIT_TABLES else answer.registers
            if len(values) != block.count:
                return [_rows(block, None, BAD_DECODING_ERROR, instant)]
            return [_rows(block, block.numbers(values), GOOD, instant)]
        if answer.exception_code in _NO_SUCH_REGISTER and len(block.places) > 1:
            at, parts = connection.blocks.index(block), halves(block)
            connection.blocks[at : at + 1] = parts
            return [rows for part in parts for rows in await self._read_block(connection, part)]
        return [_rows(block, None, _REFUSALS.get(answer.exception_code, BAD_DEVICE_FAILURE), instant)]

    async def _request(self, connection: _Connection, block: Block) -> ModbusPDU | int:
        """Return the device's response, or the quality that says why there is none."""
        if self._options.pause is not None:
            await asyncio.sleep(self._options.pause.total_seconds())
        if connection.lost.done():
            return BAD_COMMUNICATION_ERROR
        # Time-outs and retries are left to pymodbus: a shorter wait here would leave a late response in the stream. But
        # pymodbus goes on waiting after the connection is lost, when no response can arrive any more.
        response = asyncio.ensure_future(
            request(connection.client, block.table, block.first, count=block.count, device_id=block.device_id)
        )
        try:
            await asyncio.wait((response, connection.lost), return_when=asyncio.FIRST_COMPLETED)
            return response.result() if response.done() else BAD_COMMUNICATION_ERROR
        except ModbusException:
            return BAD_TIMEOUT
        finally:
            response.cancel()


def next_poll(last: int, *, elapsed: float, every: float) -> int:
    """Return the number of the next poll: the one that is due, or the one after `last`.

    Args:
        last: number of the last poll.
        elapsed: seconds since poll 0.
        every: seconds between polls.
    """
    return max(last + 1, int(elapsed // every))


def _rows(block: Block, numbers: NDArray[np.float64] | None, quality: int, instant: datetime) -> pl.DataFrame:
    columns = {"tag": block.tags, "timestamp": instant, "value": numbers, "text": None, "quality": quality}
    return pl.DataFrame(columns, schema=SCHEMA)
