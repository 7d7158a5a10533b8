"""The Modbus driver against real servers: a PLC whose registers hold their own address, and libmodbus."""

from __future__ import annotations

import asyncio
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.drivers.modbus.schedule import next_poll
from bridge.drivers.modbus.source import ModbusSource
from historian.errors import ConfigError
from historian.quality import (
    GOOD,
)
from tests.bridge.drivers.modbus.plc import (
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
    # A greeting for each device; then holding 5, holding 100-105, input 9 of device 7, input 300, coil, discrete input.
    assert len(functions) == 2 + 6


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
    """Polls of 50 ms stay on their grid, however long each poll takes; some are read at once."""

    async def slow(*_: object) -> None:
        await asyncio.sleep(0.02)

    async def polls() -> list[datetime]:
        async with running_plc(action=slow) as plc:
            source = ModbusSource(connection_of(tmp_path, ["4,,,uint16,,"], port=plc.port, every="50ms", pause="1ms"))
            await source.connect()
            instants: list[datetime] = []
            while len(instants) < 12:
                instants += (await source.read()).samples["timestamp"].to_list()
            await source.close()
            return instants

    instants = asyncio.run(polls())[1:]  # the first follows the greeting

    assert instants == sorted(set(instants))
    steps = [(instant - instants[0]).total_seconds() / 0.05 for instant in instants]
    assert sorted(abs(step - round(step)) for step in steps)[len(steps) // 2] < 0.2  # a busy machine may delay some


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
        ("1,,,real,,", "'float64', 'bcd16', 'bcd32', 'bool' or 'string'"),
        ("1,,coil,float32,,", "a coil is a bool, not float32"),
        ("1,,holding,bool,,", "bool in a holding or input register needs bit"),
        ("4,,,float32,,3", "bit belongs to bool, int8 and uint8 in a holding or input register"),
        ("4,,,uint8,,3", "bit of uint8 is 0 for the low byte of the register or 8 for the high one"),
        ("4,,,string,,", "length belongs to string, which needs it"),
        ("4x0001,,,,,", "plc.csv row 2: the address '4x0001' is not a register number"),
        ("65535,,,,,", "plc.csv row 2: the address 65535 is too large: the last holding is number 65535"),
    ],
)
def test_a_wrong_tag_list_is_reported_before_any_socket_opens(tmp_path: Path, row: str, message: str) -> None:
    """Unknown orders, types and addresses are named, with the allowed ones."""
    with pytest.raises(ConfigError) as caught:
        ModbusSource(connection_of(tmp_path, [row]))

    assert message in str(caught.value)
