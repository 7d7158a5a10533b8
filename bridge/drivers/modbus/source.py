"""The live source over one Modbus connection; `bridge.drivers.modbus.driver` is its manual."""

from __future__ import annotations

import asyncio
from datetime import datetime
from itertools import chain
from typing import Final, cast

from bridge.drivers.modbus.client import encryption, open_link
from bridge.drivers.modbus.driver import Options, places_of
from bridge.drivers.modbus.poller import Poller
from bridge.drivers.modbus.readings import rows_of
from bridge.drivers.modbus.units import units_of
from bridge.drivers.raw_rows import RawRows
from historian.errors import NotConnected
from historian.plant.connections import ConnectionConfig

BATCH_S: Final = 0.25
"""Polls of this long are read, made durable and stored together."""
STOP_S: Final = 0.1


class ModbusSource:
    """A `Source` that polls Modbus devices; `bridge.drivers.modbus.driver` is its manual."""

    def __init__(self, connection: ConnectionConfig) -> None:
        self._context = encryption(connection)
        self._name = connection.name
        self._options = cast(Options, connection.options)
        self._places = places_of(connection)
        self._poller: Poller | None = None
        self._polling: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """See `Source.connect`."""
        await self.close()
        options = self._options
        largest = {device: limits.max_registers for device, limits in options.devices.items()}
        self._poller = Poller(
            await open_link(options, self._context),
            units_of(self._places, max_gap=options.max_gap, largest=largest),
            options=options,
            source=self._name,
            reopen=lambda: open_link(options, self._context),
        )
        self._polling = asyncio.create_task(self._poller.run())

    async def read(self) -> RawRows:
        """See `Source.read`: a row for each tag of each poll since the last call."""
        if self._poller is None:
            raise NotConnected(f"the Modbus connection to {self._options.peer} is not open")
        polls = await self._poller.mailbox.take(check=self._fault, every_s=BATCH_S)
        return RawRows(rows_of(chain.from_iterable(polls)))

    def heard_at(self) -> datetime | None:
        """See `Audible.heard_at`: when a device last responded."""
        return None if self._poller is None else self._poller.heard_at

    async def close(self) -> None:
        """See `Source.close`."""
        while self._polling is not None and not self._polling.done():
            self._polling.cancel()  # again: until Python 3.12, wait_for loses a cancellation that meets its result
            await asyncio.wait([self._polling], timeout=STOP_S)
        if self._poller is not None:
            self._poller.link.close()
        self._poller = self._polling = None

    def _fault(self) -> str:
        """Return the error that has ended the polling, which is one of ours; an empty string if there is none."""
        ended = self._polling is not None and self._polling.done() and not self._polling.cancelled()
        error = self._polling.exception() if ended and self._polling is not None else None
        return "" if error is None else f"{type(error).__name__}: {error}"
