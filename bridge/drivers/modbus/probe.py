"""Which of the configured Modbus devices respond, and how fast."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Final, cast

from pymodbus.constants import ExcCodes

from bridge.drivers.discovery import Fact, ProbeReport
from bridge.drivers.modbus.client import Link, encryption, open_link
from bridge.drivers.modbus.driver import Options, places_of
from bridge.drivers.modbus.units import Unit, units_of
from historian.plant.connections import ConnectionConfig
from historian.quality import BAD_DECODING_ERROR, GOOD
from historian.times import format_duration

_GATEWAY: Final = (ExcCodes.GATEWAY_PATH_UNAVIABLE, ExcCodes.GATEWAY_NO_RESPONSE)
"""Exceptions that a gateway returns in place of a device that does not respond."""


async def probe(connection: ConnectionConfig) -> ProbeReport:
    """See `discovery.Probe`. Each device is asked for the value of one of its tags."""
    options, context = cast(Options, connection.options), encryption(connection)
    began = time.monotonic()
    (await open_link(options, context)).close()
    connect_s = round(time.monotonic() - began, 4)
    devices = []
    for unit in units_of(places_of(connection), max_gap=options.max_gap, largest={}):
        with closing(await open_link(options, context)) as link:  # some devices close it instead of responding
            devices.append(await _device(link, unit, options))
    facts: dict[str, Fact] = {"device": options.peer, "encrypted": context is not None, "connect_s": connect_s}
    return ProbeReport(facts, {"devices": devices}, ok=all(device["responds"] for device in devices))


async def _device(link: Link, unit: Unit, options: Options) -> Mapping[str, Fact]:
    began = time.monotonic()
    response = await link.ask(unit.greeting, attempts=1 + options.retries)
    remark, responds = "", response.quality in (GOOD, BAD_DECODING_ERROR)
    if not responds:
        remark = f"no response within {format_duration(options.timeout)}"
    elif response.exception is not None:
        responds = response.exception not in _GATEWAY
        remark = f"{unit.greeting.table} {unit.greeting.first}: {_exception(response.exception)}"
    elapsed = round(time.monotonic() - began, 4) if responds else None
    return {"device_id": unit.device_id, "responds": responds, "response_s": elapsed, "remark": remark}


def _exception(code: int) -> str:
    known = {each.value: each.name.replace("_", " ").lower() for each in ExcCodes}
    return f"exception {code} ({known.get(code, 'unknown')})"
