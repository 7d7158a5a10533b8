"""Modbus devices that refuse, keep silent, answer late or wrongly, and connections that are lost."""

from __future__ import annotations

import asyncio
import struct
from contextlib import closing, suppress
from pathlib import Path

import polars as pl
import pytest
from pymodbus.constants import ExcCodes

from bridge.drivers.modbus.source import ModbusSource
from historian.errors import NotConnected
from historian.quality import (
    BAD_COMMUNICATION_ERROR,
    BAD_DECODING_ERROR,
    BAD_DEVICE_FAILURE,
    BAD_OUT_OF_RANGE,
    BAD_TIMEOUT,
    GOOD,
)
from tests.bridge.drivers.modbus.plc import (
    Row,
    connection_of,
    contents_of,
    polls_of,
    running_plc,
)


def test_a_register_that_does_not_exist_turns_bad_alone_and_is_isolated_once(tmp_path: Path) -> None:
    """Only the missing tag of a block is BadOutOfRange; the split is kept, so later polls do not search again."""
    addresses = [0, 4, 8, 98, 104, 12]  # the PLC ends at 99

    rows = [f"{address},,,uint16,," for address in addresses]

    async def two_reads() -> tuple[list[pl.DataFrame], int]:
        async with running_plc(registers=100) as plc:
            connection = connection_of(tmp_path, rows, port=plc.port, every="50ms", max_gap=100)
            return await polls_of(connection, 2), len(plc.functions)

    reads, requests = asyncio.run(two_reads())

    expected = [(f"t{n}", a, GOOD) if a < 100 else (f"t{n}", None, BAD_OUT_OF_RANGE) for n, a in enumerate(addresses)]
    assert [sorted(set(contents_of(read))) for read in reads] == [expected, expected]
    polls = sum(read.height for read in reads) // len(addresses)
    assert requests <= 1 + 7 + 4 * polls  # a greeting, the search, then the four blocks that are left of it


def test_an_illegal_register_between_two_tags_costs_a_request_not_a_tag(tmp_path: Path) -> None:
    """A gap the device refuses to read splits the block; both its tags stay Good."""

    async def refuse_gap(_function: int, _start: int, address: int, count: int, *_: object) -> ExcCodes | None:
        return ExcCodes.ILLEGAL_ADDRESS if address <= 5 < address + count else None

    async def poll() -> list[pl.DataFrame]:
        async with running_plc(action=refuse_gap) as plc:
            return await polls_of(connection_of(tmp_path, ["1,,,uint16,,", "9,,,uint16,,"], port=plc.port))

    assert contents_of(asyncio.run(poll())[0]) == [("t0", 1, GOOD), ("t1", 9, GOOD)]


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
        async with running_plc(action=refuse) as plc:
            return await polls_of(
                connection_of(tmp_path, ["1,1,,uint16,,", "9,1,,uint16,,", "3,7,,uint16,,"], port=plc.port)
            )

    assert contents_of(asyncio.run(poll())[0]) == [("t0", None, quality), ("t1", None, quality), ("t2", 3, GOOD)]


def test_a_timeout_is_a_bad_row_and_the_next_poll_recovers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A silent device gives BadTimeout, and a line in the log for the polls it costs; late responses are dropped."""
    late: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers nothing at first; the second request gets the late answer to the first one, and then its own."""
        with suppress(asyncio.IncompleteReadError), closing(writer):
            while request := await reader.readexactly(12):
                own = request[:4] + struct.pack(">H", 5) + request[6:8] + b"\x02" + request[8:10]  # its own address
                late.append(own)
                if len(late) >= 2:
                    writer.write(b"".join(late) if len(late) == 2 else own)

    async def polls() -> tuple[pl.DataFrame, pl.DataFrame]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        options = {"every": "100ms", "timeout": "300ms", "retries": 0}
        port = server.sockets[0].getsockname()[1]
        source = ModbusSource(connection_of(tmp_path, ["1,,,uint16,,", "900,,,uint16,,"], port=port, **options))
        await source.connect()
        timed_out = (await source.read()).samples
        recovered = (await source.read()).samples
        await source.close()
        server.close()
        return timed_out, recovered

    timed_out, recovered = asyncio.run(polls())

    assert contents_of(timed_out) == [("t0", None, BAD_TIMEOUT), ("t1", None, BAD_TIMEOUT)]
    assert sorted(set(contents_of(recovered))) == [("t0", 1, GOOD), ("t1", 900, GOOD)]
    assert sum("some are skipped" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("cut", ["between polls", "while waiting for an answer"])
def test_a_lost_connection_gives_bad_rows_then_raises_then_reconnects(tmp_path: Path, cut: str) -> None:
    """A read gives BadCommunicationError for every tag at once, the next raises NotConnected; connect() recovers."""
    rows = ["1,,,uint16,,", "900,,,uint16,,"]

    async def outage() -> list[list[Row]]:
        requested = asyncio.Event()

        async def wait_in_vain(*_: object) -> None:
            requested.set()
            await asyncio.sleep(30 if cut.startswith("while") else 0)

        async with running_plc(action=wait_in_vain) as plc:
            port = plc.port
            source = ModbusSource(connection_of(tmp_path, rows, port=port, every="50ms", timeout="20s"))
            await source.connect()
            if cut == "between polls":
                await source.read()
            pending = asyncio.ensure_future(source.read()) if cut.startswith("while") else None
            await asyncio.wait_for(requested.wait(), 20)
        lost = (await asyncio.wait_for(pending or source.read(), 20)).samples
        for _ in range(2):
            with pytest.raises(NotConnected, match=f"port {port}: it was closed by"):
                await source.read()
        with pytest.raises(NotConnected, match="does not accept a Modbus connection"):
            await source.connect()
        async with running_plc(port=port):
            await source.connect()
            healed = (await source.read()).samples
            await source.close()
        await source.close()
        return [contents_of(lost), contents_of(healed)]

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
            return await polls_of(connection_of(tmp_path, ["1,,,float32,,"], port=server.sockets[0].getsockname()[1]))

    assert contents_of(asyncio.run(poll())[0]) == [("t0", None, BAD_DECODING_ERROR)]


def test_a_nan_is_passed_on_to_normalise(tmp_path: Path) -> None:
    """A NaN in a float register stays in the raw row with the quality Good."""

    async def nan(_function: int, start: int, _address: int, _count: int, registers: list[int], _set: object) -> None:
        registers[4 - start : 6 - start] = [0x7FC0, 0]

    async def poll() -> list[pl.DataFrame]:
        async with running_plc(action=nan) as plc:
            return await polls_of(connection_of(tmp_path, ["4,,,float32,,"], port=plc.port))

    (read,) = asyncio.run(poll())

    assert read["value"].is_nan().to_list() == [True]
    assert read["quality"].to_list() == [GOOD]
