"""The Modbus driver against real servers: a PLC whose registers hold their own address, and libmodbus."""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from socket import create_server
from typing import Any, Final

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from bridge.drivers.modbus.source import ModbusSource, next_poll
from historian.errors import ConfigError, NotConnected
from historian.plant.connections import ConnectionConfig
from historian.plant.load import load_plant
from historian.quality import (
    BAD_COMMUNICATION_ERROR,
    BAD_DECODING_ERROR,
    BAD_DEVICE_FAILURE,
    BAD_OUT_OF_RANGE,
    BAD_TIMEOUT,
    GOOD,
)

READ_FUNCTIONS: Final = {1, 2, 3, 4}
Action = Callable[..., Coroutine[None, None, ExcCodes | None]]
Row = tuple[str, float | None, int]


def _plant(directory: Path, rows: Sequence[str], **options: object) -> Path:
    """A plant with one Modbus source; `rows` are `address,device_id,table,type,order,bit` of tags t0, t1, …"""
    points = "\n".join(f'p{number} = {{ kind = "process" }}' for number in range(len(rows)))
    keys = "\n".join(f"{key} = {value!r}" for key, value in options.items())
    (directory / "plant.toml").write_text(
        f"[site]\nname = 'test'\n[classes.plc.points]\n{points}\n[assets.a]\nclass = 'plc'\n"
        f"[sources.plc]\ndriver = 'modbus'\nhost = '127.0.0.1'\ntags = 'plc.csv'\n{keys}\n"
    )
    lines = [f"t{number},a,p{number},{row}" for number, row in enumerate(rows)]
    (directory / "plc.csv").write_text(
        "\n".join(["tag,asset,point,address,device_id,table,type,order,bit", *lines, ""])
    )
    return directory


def _connection(directory: Path, rows: Sequence[str], **options: object) -> ConnectionConfig:
    return load_plant(_plant(directory, rows, **options)).sources["plc"]


class _Plc:
    """A pymodbus server that records the function codes it receives."""

    def __init__(self, devices: list[SimDevice], port: int) -> None:
        self.functions: list[int] = []
        self.server: Any = ModbusTcpServer(devices, address=("127.0.0.1", port), trace_pdu=self._note)

    def _note(self, sending: bool, pdu: ModbusPDU) -> ModbusPDU:  # noqa: FBT001 (pymodbus calls it so)
        if not sending:
            self.functions.append(pdu.function_code)
        return pdu

    @property
    def port(self) -> int:
        return int(self.server.transport.sockets[0].getsockname()[1])


@asynccontextmanager
async def _plc(*, registers: int = 10_000, action: Action | None = None, port: int = 0) -> AsyncIterator[_Plc]:
    """Registers hold their own address, odd coils are on, every third discrete input is on."""
    own_address = [SimData(0, values=list(range(registers)), datatype=DataType.REGISTERS)]
    coils = [SimData(0, values=[address % 2 == 1 for address in range(4800)], datatype=DataType.BITS)]
    discrete = [SimData(0, values=[address % 3 == 0 for address in range(4800)], datatype=DataType.BITS)]
    tables = (coils, discrete, own_address, list(own_address))
    plc = _Plc([SimDevice(1, tables, action=action), SimDevice(7, tables)], port)
    await plc.server.serve_forever(background=True)
    try:
        yield plc
    finally:
        await plc.server.shutdown()


async def _polls(connection: ConnectionConfig, count: int = 1) -> list[pl.DataFrame]:
    """The frames of the first `count` reads of a new connection."""
    source = ModbusSource(connection)
    await source.connect()
    read = [await source.read() for _ in range(count)]
    await source.close()
    return read


def _contents(frame: pl.DataFrame) -> list[Row]:
    assert frame["text"].null_count() == frame.height
    return sorted(frame.select("tag", "value", "quality").rows())


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
        async with _plc() as plc:
            return await _polls(_connection(tmp_path, rows, port=plc.port)), plc.functions

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
    assert _contents(read) == [(f"t{number}", value, GOOD) for number, value in enumerate(expected)]
    assert read["timestamp"].is_between(before, datetime.now(UTC)).all()
    assert set(functions) == READ_FUNCTIONS
    assert len(functions) == 6  # holding 5, holding 100-105, input 9 of device 7, input 300, coil, discrete input


def test_a_register_that_does_not_exist_turns_bad_alone_and_is_isolated_once(tmp_path: Path) -> None:
    """Only the missing tag of a block is BadOutOfRange; the split is kept, so later polls do not search again."""
    addresses = [0, 4, 8, 98, 104, 12]  # the PLC ends at 99

    rows = [f"{address},,,uint16,," for address in addresses]

    async def two_polls() -> tuple[list[pl.DataFrame], int]:
        async with _plc(registers=100) as plc:
            connection = _connection(tmp_path, rows, port=plc.port, every="50ms", max_gap=100)
            return await _polls(connection, 2), len(plc.functions)

    (first, second), requests = asyncio.run(two_polls())

    expected = [(f"t{n}", a, GOOD) if a < 100 else (f"t{n}", None, BAD_OUT_OF_RANGE) for n, a in enumerate(addresses)]
    assert _contents(first) == _contents(second) == expected
    assert requests == 7 + 4  # the search, then the four blocks that are left of it


def test_an_illegal_register_between_two_tags_costs_a_request_not_a_tag(tmp_path: Path) -> None:
    """A gap the device refuses to read splits the block; both its tags stay Good."""

    async def refuse_gap(_function: int, _start: int, address: int, count: int, *_: object) -> ExcCodes | None:
        return ExcCodes.ILLEGAL_ADDRESS if address <= 5 < address + count else None

    async def poll() -> list[pl.DataFrame]:
        async with _plc(action=refuse_gap) as plc:
            return await _polls(_connection(tmp_path, ["1,,,uint16,,", "9,,,uint16,,"], port=plc.port))

    assert _contents(asyncio.run(poll())[0]) == [("t0", 1, GOOD), ("t1", 9, GOOD)]


@pytest.mark.parametrize(
    ("code", "quality"),
    [
        (ExcCodes.ILLEGAL_FUNCTION, BAD_OUT_OF_RANGE),
        (ExcCodes.DEVICE_FAILURE, BAD_DEVICE_FAILURE),
        (ExcCodes.DEVICE_BUSY, BAD_DEVICE_FAILURE),
        (ExcCodes.GATEWAY_NO_RESPONSE, BAD_TIMEOUT),
        (ExcCodes.GATEWAY_PATH_UNAVIABLE, BAD_COMMUNICATION_ERROR),
    ],
)
def test_a_refusal_becomes_the_quality_that_says_why(tmp_path: Path, code: ExcCodes, quality: int) -> None:
    """Exception codes of device 1 turn its tags Bad; device 7 on the same connection stays Good."""

    async def refuse(*_: object) -> ExcCodes:
        return code

    async def poll() -> list[pl.DataFrame]:
        async with _plc(action=refuse) as plc:
            return await _polls(
                _connection(tmp_path, ["1,1,,uint16,,", "9,1,,uint16,,", "3,7,,uint16,,"], port=plc.port)
            )

    assert _contents(asyncio.run(poll())[0]) == [("t0", None, quality), ("t1", None, quality), ("t2", 3, GOOD)]


def test_a_timeout_is_a_bad_row_and_the_next_poll_recovers(tmp_path: Path) -> None:
    """A silent device gives BadTimeout at the poll instant; a late answer is not mistaken for the next one."""
    late: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers nothing at first; the third request gets the late answers to the first two, and then its own."""
        with suppress(asyncio.IncompleteReadError), closing(writer):
            while request := await reader.readexactly(12):
                own = request[:4] + struct.pack(">H", 5) + request[6:8] + b"\x02" + request[8:10]  # its own address
                late.append(own)
                if len(late) >= 3:
                    writer.write(b"".join(late) if len(late) == 3 else own)

    async def polls() -> tuple[pl.DataFrame, pl.DataFrame, int]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        options = {"every": "100ms", "timeout": "300ms", "retries": 0}
        port = server.sockets[0].getsockname()[1]
        source = ModbusSource(_connection(tmp_path, ["1,,,uint16,,", "900,,,uint16,,"], port=port, **options))
        await source.connect()
        timed_out = await source.read()
        recovered = await source.read()
        await source.close()
        server.close()
        return timed_out, recovered, source.skipped_polls

    timed_out, recovered, skipped = asyncio.run(polls())

    assert _contents(timed_out) == [("t0", None, BAD_TIMEOUT), ("t1", None, BAD_TIMEOUT)]
    assert _contents(recovered) == [("t0", 1, GOOD), ("t1", 900, GOOD)]
    assert skipped >= 1


@pytest.mark.parametrize("cut", ["between polls", "while waiting for an answer"])
def test_a_lost_connection_gives_bad_rows_then_raises_then_reconnects(tmp_path: Path, cut: str) -> None:
    """A read gives BadCommunicationError for every tag at once, the next raises NotConnected; connect() recovers."""
    rows = ["1,,,uint16,,", "900,,,uint16,,"]

    async def outage() -> list[list[Row]]:
        requested = asyncio.Event()

        async def wait_in_vain(*_: object) -> None:
            requested.set()
            await asyncio.sleep(30 if cut.startswith("while") else 0)

        async with _plc(action=wait_in_vain) as plc:
            port = plc.port
            source = ModbusSource(_connection(tmp_path, rows, port=port, every="50ms", timeout="20s"))
            await source.connect()
            if cut == "between polls":
                await source.read()
            pending = asyncio.ensure_future(source.read()) if cut.startswith("while") else None
            await asyncio.wait_for(requested.wait(), 20)
        lost = await asyncio.wait_for(pending or source.read(), 20)
        for _ in range(2):
            with pytest.raises(NotConnected, match=f"port {port} is lost"):
                await source.read()
        with pytest.raises(NotConnected, match="does not accept a Modbus connection"):
            await source.connect()
        async with _plc(port=port):
            await source.connect()
            healed = await source.read()
            await source.close()
        await source.close()
        return [_contents(lost), _contents(healed)]

    lost, healed = asyncio.run(outage())

    assert lost == [("t0", None, BAD_COMMUNICATION_ERROR), ("t1", None, BAD_COMMUNICATION_ERROR)]
    assert healed == [("t0", 1, GOOD), ("t1", 900, GOOD)]


def test_an_answer_of_another_length_is_bad_not_shifted(tmp_path: Path) -> None:
    """A device that sends fewer registers than requested gives BadDecodingError, never a wrong value."""

    async def short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError), closing(writer):
            while True:
                request = await reader.readexactly(12)
                writer.write(request[:4] + bytes([0, 5, request[6], 3, 2, 0, 42]))

    async def poll() -> list[pl.DataFrame]:
        async with await asyncio.start_server(short, "127.0.0.1", 0) as server:
            return await _polls(_connection(tmp_path, ["1,,,float32,,"], port=server.sockets[0].getsockname()[1]))

    assert _contents(asyncio.run(poll())[0]) == [("t0", None, BAD_DECODING_ERROR)]


def test_a_nan_is_passed_on_to_normalise(tmp_path: Path) -> None:
    """A NaN in a float register stays in the raw row with the quality Good."""

    async def nan(_function: int, start: int, _address: int, _count: int, registers: list[int], _set: object) -> None:
        registers[4 - start : 6 - start] = [0x7FC0, 0]

    async def poll() -> list[pl.DataFrame]:
        async with _plc(action=nan) as plc:
            return await _polls(_connection(tmp_path, ["4,,,float32,,"], port=plc.port))

    (read,) = asyncio.run(poll())

    assert read["value"].is_nan().to_list() == [True]
    assert read["quality"].to_list() == [GOOD]


def test_a_timestamp_lies_between_request_and_answer(tmp_path: Path) -> None:
    """A device that takes half a second has taken the value at neither end of it."""
    seen: list[datetime] = []

    async def slow(*_: object) -> None:
        seen.append(datetime.now(UTC))
        await asyncio.sleep(0.5)
        seen.append(datetime.now(UTC))

    async def poll() -> datetime:
        async with _plc(action=slow) as plc:
            [read] = await _polls(_connection(tmp_path, ["4,,,uint16,,"], port=plc.port, timeout="5s"))
            instant: datetime = read["timestamp"][0]
            return instant

    instant = asyncio.run(poll())
    assert seen[0] < instant < seen[-1]


def test_polls_keep_to_their_grid(tmp_path: Path) -> None:
    """Ten polls of 50 ms take nine intervals, however long each poll and the work between them takes."""

    async def slow(*_: object) -> None:
        await asyncio.sleep(0.02)

    async def polls() -> tuple[list[datetime], float]:
        async with _plc(action=slow) as plc:
            source = ModbusSource(_connection(tmp_path, ["4,,,uint16,,"], port=plc.port, every="50ms", pause="1ms"))
            await source.connect()
            loop = asyncio.get_running_loop()
            start, instants = loop.time(), []
            for _ in range(10):
                instants.append((await source.read())["timestamp"][0])
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
        ModbusSource(_connection(tmp_path, [row]))

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

    (read,) = asyncio.run(_polls(_connection(tmp_path, rows, port=libmodbus_port)))

    expected: list[Row] = [(f"t{number}", address, GOOD) for number, address in enumerate(addresses * 2)]
    expected += [(f"t{len(expected)}", 0, GOOD), (f"t{len(expected) + 1}", None, BAD_OUT_OF_RANGE)]
    assert _contents(read) == sorted(expected)
