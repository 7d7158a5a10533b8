"""The Modbus driver against libmodbus, which shares no line with ours: by network and by serial line."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_server

import pytest

from historian.errors import NotConnected
from historian.quality import BAD_OUT_OF_RANGE, GOOD
from tests.bridge.drivers.modbus.plc import Row, connection_of, contents_of, polls_of


@pytest.fixture(scope="session")
def libmodbus_server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The libmodbus peer, compiled: an implementation that shares no line with ours."""
    peers = Path(os.environ.get("PENSTOCK_TEST_PEERS", Path(__file__).parents[5] / "shared" / "peers"))
    source, program = peers / "modbus" / "libmodbus_server.c", tmp_path_factory.mktemp("libmodbus") / "server"
    tools = [tool for tool in ("gcc", "pkg-config") if shutil.which(tool) is None]
    flags: list[str] = []
    if not tools:
        query = ["pkg-config", "--cflags", "--libs", "libmodbus"]
        flags = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    if not flags or not source.is_file():
        message = f"the libmodbus peer needs gcc, pkg-config, libmodbus-dev and {source}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    subprocess.run(["gcc", "-O2", "-o", program, source, *flags], check=True, timeout=60)
    return program


@pytest.fixture
def libmodbus_port(libmodbus_server: Path) -> Iterator[int]:
    """A running libmodbus server: 10,000 holding and input registers, each holding its own address."""
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([libmodbus_server, str(port)], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "READY\n"
        yield port
        running.kill()


def test_libmodbus_gives_the_same_values_and_refuses_the_same_register(tmp_path: Path, libmodbus_port: int) -> None:
    """An independent server agrees on addresses, block limits, both register tables, coils and illegal addresses."""
    addresses = [*range(0, 500, 3), 9_999]
    rows = [f"{address},,{table},uint16,," for table in ("holding", "input") for address in addresses]
    rows += ["1999,,coil,,,", "10000,,holding,uint16,,"]

    (read,) = asyncio.run(polls_of(connection_of(tmp_path, rows, port=libmodbus_port)))

    expected: list[Row] = [(f"t{number}", address, GOOD) for number, address in enumerate(addresses * 2)]
    expected += [(f"t{len(expected)}", 0, GOOD), (f"t{len(expected) + 1}", None, BAD_OUT_OF_RANGE)]
    assert contents_of(read) == sorted(expected)


@contextmanager
def serial_line() -> Iterator[tuple[str, str]]:
    """A pair of pseudo terminals: what is sent into one comes out of the other."""
    (here, near), (there, far) = os.openpty(), os.openpty()
    for end in (here, there, near, far):
        tty.setraw(end)

    def pass_on(source: int, sink: int) -> None:
        with suppress(OSError):  # closed at the end of the test
            while data := os.read(source, 1024):
                os.write(sink, data)

    for ends in ((here, there), (there, here)):
        threading.Thread(target=pass_on, args=ends, daemon=True).start()
    yield os.ttyname(near), os.ttyname(far)
    for end in (near, far, here, there):
        os.close(end)


def test_a_serial_line_gives_the_same_values(tmp_path: Path, libmodbus_server: Path) -> None:
    """RTU: the registers of both tables, and the one that does not exist."""
    rows = ["1,,,uint16,,", "9999,,input,uint16,,", "10000,,holding,uint16,,"]
    options = {"baud_rate": 115200, "parity": "N", "timeout": "5s"}
    with (
        serial_line() as (near, far),
        subprocess.Popen([libmodbus_server, "0", far], stdout=subprocess.PIPE, text=True) as running,
    ):
        assert running.stdout is not None
        assert running.stdout.readline() == "READY rtu\n"
        (read,) = asyncio.run(polls_of(connection_of(tmp_path, rows, serial=near, **options)))
        running.kill()

    assert contents_of(read) == [("t0", 1, GOOD), ("t1", 9_999, GOOD), ("t2", None, BAD_OUT_OF_RANGE)]


def test_a_serial_line_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With the reason of the operating system."""
    line = str(tmp_path / "ttyUSB9")
    with pytest.raises(NotConnected, match=r"ttyUSB9 does not accept a Modbus connection: .*[Nn]o such file"):
        asyncio.run(polls_of(connection_of(tmp_path, ["1,,,uint16,,"], serial=line)))
