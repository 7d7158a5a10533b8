"""Modbus/TCP Security: certificates on both sides, against a real server."""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from pathlib import Path

import pytest

from bridge.drivers.modbus.driver import Options
from bridge.drivers.modbus.source import ModbusSource
from historian.errors import NotConnected
from historian.quality import BAD_COMMUNICATION_ERROR, GOOD
from tests.bridge.drivers.certificates import server_context
from tests.bridge.drivers.modbus.plc import connection_of, contents_of, polls_of, running_plc

ROWS = ["7,,,uint16,,", "9,7,,uint16,,"]


def tls_of(directory: Path, ca: str = "ca", client: str | None = "client", **more: str) -> dict[str, str]:
    """Settings with files of the directory."""
    own = {"certificate": f"{directory}/{client}.pem", "key": f"{directory}/{client}.key"} if client else {}
    return {"ca": f"{directory}/{ca}.pem", **own, **more}


def test_registers_are_read_over_tls_by_device_id(tmp_path: Path, certificates: Path) -> None:
    """Each side checks the other's certificate, and each device behind the connection gives its own values."""

    async def poll() -> list[object]:
        secure = server_context(certificates / "ca.pem", certificates / "server.pem")
        async with running_plc(secure=secure) as plc:
            [read] = await polls_of(connection_of(tmp_path, ROWS, port=plc.port, tls=tls_of(certificates)))
            return [contents_of(read), set(plc.functions)]

    assert asyncio.run(poll()) == [[("t0", 7, GOOD), ("t1", 9, GOOD)], {3}]


def test_a_certificate_may_name_the_device_otherwise_than_the_host(tmp_path: Path, certificates: Path) -> None:
    """With `server_name` it is accepted, without it refused."""

    async def poll() -> list[object]:
        secure = server_context(certificates / "ca.pem", certificates / "named.pem")
        async with running_plc(secure=secure) as plc:
            with pytest.raises(NotConnected, match=r"IP address mismatch.*check host, or set tls.server_name"):
                await polls_of(connection_of(tmp_path, ROWS, port=plc.port, tls=tls_of(certificates)))
            named = tls_of(certificates, server_name="plc.plant")
            [read] = await polls_of(connection_of(tmp_path, ROWS, port=plc.port, tls=named))
            return [contents_of(read)]

    assert asyncio.run(poll()) == [[("t0", 7, GOOD), ("t1", 9, GOOD)]]


def test_a_server_of_another_authority_is_refused(tmp_path: Path, certificates: Path) -> None:
    """Nothing is sent to it, and the reason is neither its address nor its cable."""

    async def attempt() -> list[int]:
        secure = server_context(certificates / "ca.pem", certificates / "server.pem")
        async with running_plc(secure=secure) as plc:
            source = ModbusSource(connection_of(tmp_path, ROWS, port=plc.port, tls=tls_of(certificates, ca="other")))
            with pytest.raises(NotConnected, match=r"certificate is not trusted: self-signed.*check tls.ca") as raised:
                await source.connect()
            assert "cable" not in str(raised.value)
            return plc.functions

    assert asyncio.run(attempt()) == []


def test_a_server_without_tls_is_reported_as_such(tmp_path: Path, certificates: Path) -> None:
    """Port 502 instead of 802 is the usual mistake."""

    async def mute(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            writer.write(b"no TLS here")

    async def attempt() -> None:
        async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await ModbusSource(connection_of(tmp_path, ROWS, port=port, tls=tls_of(certificates))).connect()

    with pytest.raises(
        NotConnected, match=r"handshake failed \(wrong version number\); check that the port is one for"
    ):
        asyncio.run(attempt())


def test_a_server_that_wants_a_certificate_ends_a_connection_without(tmp_path: Path, certificates: Path) -> None:
    """It does so after the handshake (TLS 1.3), so that the loss says what it may mean."""

    async def attempt() -> list[object]:
        secure = server_context(certificates / "ca.pem", certificates / "server.pem")
        async with running_plc(secure=secure) as plc:
            settings = tls_of(certificates, client=None)
            source = ModbusSource(connection_of(tmp_path, ROWS, port=plc.port, tls=settings))
            await source.connect()
            lost = contents_of((await source.read()).samples)
            with pytest.raises(NotConnected, match=r"before any response.*check certificate and key"):
                await source.read()
            await source.close()
            return [lost, plc.functions]

    assert asyncio.run(attempt()) == [
        [("t0", None, BAD_COMMUNICATION_ERROR), ("t1", None, BAD_COMMUNICATION_ERROR)],
        [],
    ]


def test_a_response_in_several_records_is_one_response(tmp_path: Path, certificates: Path) -> None:
    """TLS keeps no borders of messages; the length in the header counts."""

    async def in_pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError), closing(writer):
            while True:
                request = await reader.readexactly(12)
                for piece in (request[:4] + bytes([0, 5, request[6], 3]), bytes([2, 0, 42])):
                    writer.write(piece)
                    await asyncio.sleep(0.05)

    async def poll() -> list[object]:
        secure = server_context(certificates / "ca.pem", certificates / "server.pem")
        async with await asyncio.start_server(in_pieces, "127.0.0.1", 0, ssl=secure) as server:
            port = server.sockets[0].getsockname()[1]
            [read] = await polls_of(connection_of(tmp_path, ROWS[:1], port=port, tls=tls_of(certificates)))
            return list(contents_of(read))

    assert asyncio.run(poll()) == [("t0", 42, GOOD)]


def test_the_port_is_that_of_the_protocol() -> None:
    """502 plain, 802 with TLS, unless another is given."""
    given: list[dict[str, object]] = [{}, {"tls": {}}, {"tls": {}, "port": 8802}]
    assert [Options.model_validate({"host": "plc", **keys}).port_number for keys in given] == [502, 802, 8802]
