"""Which of the configured Modbus devices respond, and how fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Final, cast

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusException

from bridge.drivers.discovery import Fact, ProbeReport
from bridge.drivers.modbus.client import connect_client, encryption, request
from bridge.drivers.modbus.driver import Options, places_of
from bridge.drivers.modbus.places import Place
from historian.plant.connections import ConnectionConfig
from historian.times import format_duration

_GATEWAY: Final = (ExcCodes.GATEWAY_PATH_UNAVIABLE, ExcCodes.GATEWAY_NO_RESPONSE)
"""Exceptions that a gateway returns in place of a device that does not respond."""


async def probe(connection: ConnectionConfig) -> ProbeReport:
    """See `discovery.Probe`. Each device is asked for the value of the first of its tags."""
    options, context = cast(Options, connection.options), encryption(connection)
    began = time.monotonic()
    (await connect_client(options, context)).close()
    connect_s = round(time.monotonic() - began, 4)
    first: dict[int, Place] = {}
    for place in places_of(connection):
        first.setdefault(place.device_id, place)
    devices = []
    for place in first.values():
        # A connection each: pymodbus drops one on which several devices in a row have not responded.
        with closing(await connect_client(options, context)) as client:
            devices.append(await _device(client, place, options))
    facts: dict[str, Fact] = {"device": options.peer, "encrypted": context is not None, "connect_s": connect_s}
    return ProbeReport(facts, {"devices": devices}, ok=all(device["responds"] for device in devices))


async def _device(client: AsyncModbusTcpClient, place: Place, options: Options) -> Mapping[str, Fact]:
    began = time.monotonic()
    remark, responds = "", True
    try:
        # pymodbus waits on after the connection is lost.
        async with asyncio.timeout(options.timeout.total_seconds() * (options.retries + 2)):
            answer = await request(client, place.table, place.first, count=place.width, device_id=place.device_id)
    except (ModbusException, TimeoutError):
        responds, remark = False, f"no response within {format_duration(options.timeout)}"
    else:
        if answer.isError():
            responds = answer.exception_code not in _GATEWAY
            remark = f"{place.table} {place.first}: {_exception(answer.exception_code)}"
    elapsed = round(time.monotonic() - began, 4) if responds else None
    return {"device_id": place.device_id, "responds": responds, "response_s": elapsed, "remark": remark}


def _exception(code: int) -> str:
    known = {each.value: each.name.replace("_", " ").lower() for each in ExcCodes}
    return f"exception {code} ({known.get(code, 'unknown')})"
