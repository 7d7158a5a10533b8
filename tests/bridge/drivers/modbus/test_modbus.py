"""The Modbus driver against real servers: a PLC whose registers hold their own address, and libmodbus."""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from socket import create_server
from typing import Final

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.drivers.modbus.source import ModbusSource, next_poll
from historian.errors import ConfigError
from historian.quality import (
    BAD_OUT_OF_RANGE,
    GOOD,
)
from tests.bridge.drivers.modbus.plc import (
    Row,
    connection_of,
    contents_of,
    polls_of,
    running_plc,
)

READ_FUNCTIONS: Final = {1, 2, 3, 4}


def test_every_table_type_and_order_is_read_with_read_functions_only(tmp_path: Path) -> None:
    """One poll gives each tag's true value at the poll instant; the PLC saw functions 1 to 4 and no other."""
    rows = [
        "100,1,holding,float32,ABCD,",
        "102,1,holding,float32,DCBA,",
        "104,,,int32,CDAB,",
        "9,7,input,uint16,,",
        "300,1,input,float64,BADC,",
        "5,1,holding,bool,,2",
        "5,1,holding,bool,,1",
        "3001,1,coil,,,",
        "3003,1,discrete,bool,,",
    ]
    before = datetime.now(UTC)

    async def one_poll() -> tuple[list[pl.DataFrame], list[int]]:
        async with running_plc() as plc:
            return await polls_of(connection_of(tmp_path, rows, port=plc.port)), plc.functions

    (read,), functions = asyncio.run(one_poll())

    expected = [
        struct.unpack(">f", struct.pack(">HH", 100, 101))[0],
        struct.unpack("<f", struct.pack(">HH", 102, 103))[0],
        (105 << 16) + 104,
        9,
        struct.unpack(">d", struct.pack("<HHHH", 300, 301, 302, 303))[0],
        1,
        0,
        1,
        1,
    ]
    assert contents_of(read) == [(f"t{number}", value, GOOD) for number, value in enumerate(expected)]
    assert read["timestamp"].is_between(before, datetime.now(UTC)).all()
    assert set(functions) == READ_FUNCTIONS
    assert len(functions) == 6  # holding 5, holding 100-105, input 9 of device 7, input 300, coil, discrete input


def test_a_timestamp_lies_between_request_and_answer(tmp_path: Path) -> None:
    """A device that takes half a second has taken the value at neither end of it."""
    seen: list[datetime] = []

    async def slow(*_: object) -> None:
        seen.append(datetime.now(UTC))
        await asyncio.sleep(0.5)
        seen.append(datetime.now(UTC))

    async def poll() -> datetime:
        async with running_plc(action=slow) as plc:
            [read] = await polls_of(connection_of(tmp_path, ["4,,,uint16,,"], port=plc.port, timeout="5s"))
            instant: datetime = read["timestamp"][0]
            return instant

    instant = asyncio.run(poll())
    assert seen[0] < instant < seen[-1]


def test_polls_keep_to_their_grid(tmp_path: Path) -> None:
    """Ten polls of 50 ms take nine intervals, however long each poll and the work between them takes."""

    async def slow(*_: object) -> None:
        await asyncio.sleep(0.02)

    async def polls() -> tuple[list[datetime], float]:
        async with running_plc(action=slow) as plc:
            source = ModbusSource(connection_of(tmp_path, ["4,,,uint16,,"], port=plc.port, every="50ms", pause="1ms"))
            await source.connect()
            loop = asyncio.get_running_loop()
            start, instants = loop.time(), []
            for _ in range(10):
                instants.append((await source.read()).samples["timestamp"][0])
            await source.close()
            return instants, loop.time() - start

    instants, took = asyncio.run(polls())

    assert instants == sorted(set(instants))
    assert 0.45 <= took < 0.9  # 9 x (50 + 20) ms = 0.63 s if it drifted; a busy machine may skip a poll or two


@settings(max_examples=60)
@given(
    lateness=st.lists(st.floats(0, 5, allow_nan=False), min_size=1, max_size=20), every=st.sampled_from([0.1, 0.5, 1.0])
)
def test_each_poll_is_on_the_grid_and_none_is_made_twice(lateness: list[float], every: float) -> None:
    """However long polls take, poll k starts at start + k * every or late within its own interval."""
    now, last = 0.0, -1
    for took in lateness:
        poll = next_poll(last, elapsed=now, every=every)
        begins = max(now, poll * every)
        assert poll > last
        assert poll * every <= begins < (poll + 1) * every + 1e-9
        now, last = begins + took, poll


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,,,float32,ABDC,", "plc.csv row 2: order: Input should be 'ABCD', 'BADC', 'CDAB' or 'DCBA', not 'ABDC'"),
        ("1,,,real,,", "'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64', 'float32', 'float64' or 'bool'"),
        ("1,,coil,float32,,", "a coil is a bool, not float32"),
        ("1,,holding,bool,,", "bit belongs to bool in a holding or input register, which needs one"),
        ("4x0001,,,,,", "plc.csv row 2: the address '4x0001' is not a register number"),
        ("65535,,,,,", "plc.csv row 2: the address 65535 is too large: the last holding is number 65535"),
    ],
)
def test_a_wrong_tag_list_is_reported_before_any_socket_opens(tmp_path: Path, row: str, message: str) -> None:
    """Unknown orders, types and addresses are named, with the allowed ones."""
    with pytest.raises(ConfigError) as caught:
        ModbusSource(connection_of(tmp_path, [row]))

    assert message in str(caught.value)


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
