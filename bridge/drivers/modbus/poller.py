"""Polls the devices of one connection, and keeps a device that is silent or refuses from costing the others anything.

It runs beside the reader of its mailbox: while rows are made durable, it goes on polling.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, Final

from pymodbus.constants import ExcCodes

from bridge.drivers.mailbox import Mailbox
from bridge.drivers.modbus.blocks import Block, halves
from bridge.drivers.modbus.client import Link, Response
from bridge.drivers.modbus.driver import Options
from bridge.drivers.modbus.places import BIT_TABLES, Place
from bridge.drivers.modbus.readings import Reading
from bridge.drivers.modbus.schedule import Schedule
from bridge.drivers.modbus.units import SEARCH_AGAIN_S, Unit
from historian.errors import NotConnected
from historian.logs import get_logger
from historian.quality import (
    BAD_COMMUNICATION_ERROR,
    BAD_DEVICE_FAILURE,
    BAD_OUT_OF_RANGE,
    BAD_TIMEOUT,
)
from historian.times import utc_now

_NARROWED: Final = (ExcCodes.ILLEGAL_ADDRESS, ExcCodes.ILLEGAL_VALUE, ExcCodes.DEVICE_FAILURE)
_REFUSALS: Final[dict[int, int]] = {
    ExcCodes.ILLEGAL_FUNCTION: BAD_OUT_OF_RANGE,
    ExcCodes.ILLEGAL_ADDRESS: BAD_OUT_OF_RANGE,
    ExcCodes.ILLEGAL_VALUE: BAD_OUT_OF_RANGE,
    ExcCodes.GATEWAY_PATH_UNAVIABLE: BAD_COMMUNICATION_ERROR,
    ExcCodes.GATEWAY_NO_RESPONSE: BAD_TIMEOUT,
}
"""Exception code -> quality; all others, failures of the device itself, are BadDeviceFailure.

The last two are those of a gateway, in place of a device that does not respond.
"""
SILENT_POLLS: Final = 3
"""After so many polls in a row in which no device has responded, the connection counts as lost."""

log = get_logger(__name__)


class Poller:
    """The polls of one connection, from `run` until the connection is lost."""

    def __init__(
        self,
        link: Link,
        units: Sequence[Unit],
        *,
        options: Options,
        source: str,
        reopen: Callable[[], Coroutine[Any, Any, Link]],
    ) -> None:
        """Prepare; nothing is requested before `run`.

        Args:
            link: an open connection; `link` is another one after it was reopened.
            units: the devices on it.
            options: the driver's options.
            source: name of the source, for the log.
            reopen: opens the connection again; raises `NotConnected`.
        """
        self.link = link
        self.heard_at = utc_now()
        """When a device last responded; at first, when the connection was made."""
        blocks = [block for unit in units for block in unit.blocks]
        self.schedule = Schedule((block.every for block in blocks), start=asyncio.get_running_loop().time())
        self.mailbox: Mailbox[list[Reading]] = Mailbox(
            max(4, 4000 // len(blocks)), peer=f"the Modbus connection to {options.peer}", silence_s=float("inf")
        )
        self._units = list(units)
        self._options = options
        self._reopen = reopen
        self._reopened = False
        self._silent_polls = 0
        self._skips = False
        self._named: set[str] = set()
        """Tags whose addresses have been logged as refused."""
        self._log = log.bind(source=source)

    async def run(self) -> None:
        """Poll until the connection is lost; cancel to stop earlier."""
        loop = asyncio.get_running_loop()
        while not self.link.lost:
            await asyncio.sleep(max(0.0, self.schedule.next_at - loop.time()))
            due = self.schedule.take(loop.time())
            self._report_skipped()
            if readings := await self._poll(due):
                await self.mailbox.put(readings)
            if self._silent_polls >= SILENT_POLLS:
                self.mailbox.fail(f"no device has responded in {SILENT_POLLS} polls")
                return
        self.mailbox.fail(f"it was closed by the other side{self._hint()}")

    def _report_skipped(self) -> None:
        """Log once a connection that polls take too long."""
        if self.schedule.skipped and not self._skips:
            self._skips = True
            self._log.warning("polls take longer than their interval and some are skipped; set a longer one in every")

    def _hint(self) -> str:
        """Return what a loss before the first response may mean."""
        if self._options.tls is None or self.link.responded:
            return ""
        return " before any response, as by a server that does not accept our certificate; check certificate and key"

    async def _poll(self, due: set[timedelta]) -> list[Reading]:
        """Read the blocks of the intervals that are due; devices that were silent come last."""
        self._reopened = False
        readings: list[Reading] = []
        for unit in sorted(self._units, key=lambda unit: unit.responds is False):
            blocks = [block for block in unit.blocks if block.every in due]
            if blocks and not self._is_left_alone(unit):
                readings += await self._read_unit(unit, blocks)
        self._silent_polls = 0 if self._anyone_responds() or not readings else self._silent_polls + 1
        return readings

    def _anyone_responds(self) -> bool:
        return any(unit.responds for unit in self._units)

    def _is_left_alone(self, unit: Unit) -> bool:
        """Return whether a silent device is not asked now, for the sake of the others."""
        return unit.responds is False and self._anyone_responds() and self._now() < unit.next_at

    async def _read_unit(self, unit: Unit, due: Sequence[Block]) -> list[Reading]:
        """Read some blocks of a device; one that is not known to respond is greeted first."""
        if not unit.responds:
            greeting = await self._ask(unit, unit.greeting)
            if not unit.responds:
                return [_reading(block, greeting)._replace(values=None) for block in due]
        before = list(unit.blocks)
        found, failed = await self._read_blocks(unit, due)
        if failed and not any(reading.values for reading in found):
            # It is the device that fails, not a register: searching at every poll would cost a request a tag.
            unit.blocks, unit.search_at = before, self._now() + SEARCH_AGAIN_S
        return found

    async def _read_blocks(self, unit: Unit, due: Sequence[Block]) -> tuple[list[Reading], bool]:
        """Return what the blocks came to, and whether the device has reported a failure."""
        found, todo, failed = [], deque(due), False
        while todo:
            block = todo.popleft()
            parts = unit.smaller(block, max_gap=self._options.max_gap)
            if len(parts) == 1:
                response = await self._ask(unit, block)
                failed = failed or response.exception == ExcCodes.DEVICE_FAILURE
                parts = self._parts(unit, block, response)
            if len(parts) > 1:
                unit.replace(block, parts)
                todo.extendleft(reversed(parts))
                continue
            found.append(_reading(block, response))
            if unit.responds is False:
                found += [_reading(each, response) for each in todo]
                break
        return found, failed

    def _parts(self, unit: Unit, block: Block, response: Response) -> list[Block]:
        """Return the blocks in which to read a block instead; the block alone if its response is final."""
        if unit.responds and response.quality == BAD_TIMEOUT and block.table not in BIT_TABLES:
            unit.largest = max(1, block.count // 2)
            self._log.warning(
                "a device responds to smaller requests only; set max_registers", device=unit.device_id, to=unit.largest
            )
            return unit.smaller(block, max_gap=self._options.max_gap)
        is_final = response.exception == ExcCodes.DEVICE_FAILURE and self._now() < unit.search_at
        if response.exception not in _NARROWED or is_final:
            return [block]
        if len(block.places) > 1:
            return halves(block)
        self._refused(block.places[0], response.exception)
        return [block]

    def _refused(self, place: Place, code: int) -> None:
        """Log once that a device refuses an address."""
        if place.tag not in self._named:
            self._named.add(place.tag)
            self._log.warning(
                "a device refuses an address; check it and address_base",
                tag=place.tag,
                device=place.device_id,
                address=place.reference,
                exception=code,
            )

    async def _ask(self, unit: Unit, block: Block) -> Response:
        """Request a block, and note whether the device responds.

        A device that leaves a request for several values unanswered is asked for a single one before it counts as
        silent: many drop requests that are too large for them.
        """
        began = self._now()
        response = await self._request(block, attempts=1 + (self._options.retries if unit.responds else 0))
        responded = _has_responded(response)
        if response.quality == BAD_TIMEOUT and len(block.places) > 1:
            responded = _has_responded(await self._request(unit.greeting, attempts=1))
        if responded:
            self.heard_at = utc_now()
            if unit.heard():
                self._log.info("a device responds again", device=unit.device_id)
        elif not self.link.lost and unit.silent(self._now(), cost_s=self._now() - began):
            self._log.warning(
                "a device does not respond; it is asked less often", device=unit.device_id, reason=_reason(response)
            )
        return response

    async def _request(self, block: Block, *, attempts: int) -> Response:
        """Request a block; once a poll, open a connection again that the device has closed, as many do when idle."""
        response = await self.link.ask(block, attempts=attempts)
        if not self.link.lost or not self.link.responded or self._reopened:
            return response
        self._reopened = True
        self.link.close()
        try:
            self.link = await self._reopen()
        except NotConnected:
            return response
        return await self.link.ask(block, attempts=attempts)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _has_responded(response: Response) -> bool:
    return _quality(response) not in (BAD_TIMEOUT, BAD_COMMUNICATION_ERROR)


def _quality(response: Response) -> int:
    """Return why a response has no values; Good if it has."""
    if response.exception is None:
        return response.quality
    return _REFUSALS.get(response.exception, BAD_DEVICE_FAILURE)


def _reading(block: Block, response: Response) -> Reading:
    return Reading(block, response.at_us, response.values, _quality(response))


def _reason(response: Response) -> str:
    return "no response" if response.exception is None else f"its gateway reports exception {response.exception}"
