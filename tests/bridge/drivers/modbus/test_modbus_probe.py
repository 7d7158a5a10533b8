"""Probing the devices behind a Modbus connection."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from pymodbus.constants import ExcCodes

from bridge.drivers.discovery import BrowseLimits, Fact, ProbeReport
from bridge.run.discover import browse_source, probe_source
from historian.errors import InvalidInput, NotConnected
from tests.bridge.drivers.certificates import server_context
from tests.bridge.drivers.modbus.plc import Action, connection_of, running_plc


def probed(
    directory: Path, rows: Sequence[str], action: Action | None = None, **options: object
) -> tuple[ProbeReport, list[int]]:
    """The report on a PLC with the devices 1 and 7, and the functions that were requested of it."""

    async def probe() -> tuple[ProbeReport, list[int]]:
        async with running_plc(action=action) as plc:
            return await probe_source(connection_of(directory, rows, port=plc.port, **options)), plc.functions

    return asyncio.run(probe())


def responses_of(report: ProbeReport) -> list[tuple[Fact, Fact, Fact]]:
    """(device, whether it responds, remark) of each device; a device that responds does so within seconds."""
    devices: Sequence[Mapping[str, Fact]] = report.tables["devices"]
    assert all(isinstance(each["response_s"], float) == each["responds"] for each in devices)
    return [(each["device_id"], each["responds"], each["remark"]) for each in devices]


def test_each_configured_device_is_asked_once(tmp_path: Path) -> None:
    """Whatever its number of tags, and only by reading."""
    report, functions = probed(tmp_path, ["7,,,uint16,,", "8,,,uint16,,", "3,7,coil,,,"])
    assert (report.ok, responses_of(report), functions) == (True, [(1, True, ""), (7, True, "")], [3, 1])
    assert report.facts["encrypted"] is False


def test_a_device_that_refuses_an_address_responds(tmp_path: Path) -> None:
    """An exception is a response; one by which a gateway speaks for a silent device is not."""

    async def missing(*_: object) -> ExcCodes:
        return ExcCodes.ILLEGAL_ADDRESS

    async def silent(*_: object) -> ExcCodes:
        return ExcCodes.GATEWAY_NO_RESPONSE

    report, _ = probed(tmp_path, ["7,,,uint16,,"], missing)
    assert (report.ok, responses_of(report)) == (True, [(1, True, "holding 7: exception 2 (illegal address)")])
    report, _ = probed(tmp_path, ["7,,,uint16,,", "9,7,,uint16,,"], silent)
    gateway = (1, False, "holding 7: exception 11 (gateway no response)")
    assert (report.ok, responses_of(report)) == (False, [gateway, (7, True, "")])


def test_a_silent_device_does_not_hide_the_next(tmp_path: Path) -> None:
    """Each is waited for as long as the options say."""

    async def sleeps(*_: object) -> None:
        await asyncio.sleep(20)

    report, _ = probed(tmp_path, ["7,,,uint16,,", "9,7,,uint16,,"], sleeps, timeout="100ms", retries=0)
    assert responses_of(report) == [(1, False, "no response within 100ms"), (7, True, "")]


def test_an_encrypted_device_is_probed_as_it_is_read(tmp_path: Path, certificates: Path) -> None:
    """With the same certificates; an authority that does not fit is the reason given."""
    ours = {"certificate": f"{certificates}/client.pem", "key": f"{certificates}/client.key"}

    async def probe() -> ProbeReport:
        secure = server_context(certificates / "ca.pem", certificates / "server.pem")
        async with running_plc(secure=secure) as plc:
            wrong = {"ca": f"{certificates}/other.pem", **ours}
            with pytest.raises(NotConnected, match="certificate is not trusted"):
                await probe_source(connection_of(tmp_path, ["7,,,uint16,,"], port=plc.port, tls=wrong))
            right = {"ca": f"{certificates}/ca.pem", **ours}
            return await probe_source(connection_of(tmp_path, ["7,,,uint16,,"], port=plc.port, tls=right))

    report = asyncio.run(probe())
    assert (report.ok, report.facts["encrypted"]) == (True, True)


def test_a_driver_that_cannot_browse_says_so(tmp_path: Path) -> None:
    """Modbus devices have no list of their registers."""
    with pytest.raises(InvalidInput, match="the driver of plc cannot browse"):
        asyncio.run(browse_source(connection_of(tmp_path, ["7,,,uint16,,"]), BrowseLimits()))
