"""A gateway with awkward devices: none of them costs its neighbours anything, or a sample of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import polars as pl
import pytest
from pymodbus.framer import FramerRTU

from bridge.drivers.modbus.source import ModbusSource
from historian.errors import NotConnected
from historian.quality import BAD_DEVICE_FAILURE, BAD_OUT_OF_RANGE, BAD_TIMEOUT, GOOD
from tests.bridge.drivers.modbus.gateway import (
    SILENT,
    Device,
    Gateway,
    dropping_above,
    failing_at,
    good,
    running_gateway,
    silent,
)
from tests.bridge.drivers.modbus.plc import connection_of

FAST = {"every": "50ms", "timeout": "200ms"}


def rows_for(device: int, addresses: Sequence[int]) -> list[str]:
    """Rows of a tag list: registers of one device."""
    return [f"{address},{device},,uint16,," for address in addresses]


def read_for(
    directory: Path,
    rows: Sequence[str],
    line: dict[int, Device],
    *,
    seconds: float,
    then: Callable[[Gateway], None] = lambda _: None,
    idle_s: float = 3600.0,
    **options: object,
) -> tuple[pl.DataFrame, Gateway]:
    """The rows of a source that reads from a line's devices for some time; half-way, `then` may change something."""

    async def read() -> tuple[pl.DataFrame, Gateway]:
        async with running_gateway(line, idle_s=idle_s) as gateway:
            source = ModbusSource(connection_of(directory, rows, port=gateway.port, **{**FAST, **options}))
            await source.connect()
            end, changed, found = time.monotonic() + seconds, False, []
            while (left := end - time.monotonic()) > 0:
                if left < seconds / 2 and not changed:
                    then(gateway)
                    changed = True
                found.append((await source.read()).samples)
            await source.close()
            return pl.concat(found), gateway

    return asyncio.run(read())


def test_a_silent_device_costs_its_neighbours_next_to_nothing(tmp_path: Path) -> None:
    """Polled in vain at every turn it would leave them a fifth of their polls; it is asked for one value, ever less."""
    rows = [*rows_for(1, [5]), *rows_for(2, [5, 500, 5000]), *rows_for(3, [9])]

    read, gateway = read_for(tmp_path, rows, {1: good, 2: silent, 3: good}, seconds=2.0)

    polls = read.filter(tag="t0").height
    assert polls == read.filter(tag="t4").height
    assert polls > 0.6 * 2.0 / 0.05
    assert gateway.requests[2] <= 2
    assert set(read.filter(pl.col("tag").is_in(["t1", "t2", "t3"]))["quality"]) == {BAD_TIMEOUT}


def test_a_device_that_returns_is_read_again(tmp_path: Path) -> None:
    """Within the time after which a silent device is asked again: ten time-outs at first."""

    def revive(gateway: Gateway) -> None:
        gateway.devices[2] = good

    rows = [*rows_for(1, [5]), *rows_for(2, [7])]
    read, _ = read_for(tmp_path, rows, {1: good, 2: silent}, seconds=3.0, then=revive, timeout="50ms")

    assert read.filter(tag="t1")["quality"].to_list()[0] == BAD_TIMEOUT
    assert read.filter(tag="t1", quality=GOOD).height > 5


def test_a_lone_device_is_not_left_alone_and_its_connection_not_trusted(tmp_path: Path) -> None:
    """With no neighbours to protect, every poll asks; after three in vain the connection is opened again."""

    async def attempt() -> int:
        async with running_gateway({1: silent}) as gateway:
            slow = {**FAST, "every": "400ms"}
            source = ModbusSource(connection_of(tmp_path, rows_for(1, [5]), port=gateway.port, **slow))
            await source.connect()
            heard = source.heard_at()
            for _ in range(3):
                assert (await source.read()).samples["quality"].to_list() == [BAD_TIMEOUT]
            with pytest.raises(NotConnected, match="no device has responded in 3 polls"):
                await source.read()
            assert source.heard_at() == heard
            await source.close()
            return gateway.requests[1]

    assert asyncio.run(attempt()) == 3


@pytest.mark.parametrize(("code", "quality"), [(2, BAD_OUT_OF_RANGE), (3, BAD_OUT_OF_RANGE), (4, BAD_DEVICE_FAILURE)])
def test_whatever_the_exception_only_the_guilty_register_is_bad(tmp_path: Path, code: int, quality: int) -> None:
    """Devices use illegal address, illegal value and device failure for the same thing."""
    addresses = range(40, 60)
    read, _ = read_for(tmp_path, rows_for(5, addresses), {5: failing_at(50, code)}, seconds=0.3)

    bad = read.filter(pl.col("quality") != GOOD)
    assert set(bad["tag"]) == {"t10"}
    assert set(bad["quality"]) == {quality}
    assert set(read.filter(quality=GOOD).select("tag", "value").rows()) == {
        (f"t{n}", float(address)) for n, address in enumerate(addresses) if address != 50
    }


def test_a_device_that_fails_as_a_whole_is_not_searched_at_every_poll(tmp_path: Path) -> None:
    """A search costs two requests a tag; afterwards the block is one request again, and Good at once when it can be."""

    def mend(gateway: Gateway) -> None:
        gateway.devices[5] = good

    read, gateway = read_for(tmp_path, rows_for(5, range(16)), {5: lambda *_: 4}, seconds=1.0, then=mend, every="100ms")

    polls = read.filter(tag="t0").height
    assert set(read["quality"]) == {BAD_DEVICE_FAILURE, GOOD}
    assert gateway.requests[5] <= 1 + 31 + polls


def test_a_device_that_drops_large_requests_is_asked_in_small_ones(tmp_path: Path) -> None:
    """Found by halving: 120 registers, 60, and then 30 at a time; no value is lost but those of the search."""
    rows = [*rows_for(8, range(0, 240, 2)), *rows_for(1, [5])]
    read, gateway = read_for(tmp_path, rows, {8: dropping_above(32), 1: good}, seconds=2.0, retries=0)

    good_rows = read.filter(quality=GOOD)
    assert set(good_rows["tag"]) == {f"t{n}" for n in range(121)}
    assert 15 <= gateway.largest <= 32
    assert read.filter(pl.col("quality") != GOOD).is_empty()


def test_coils_that_are_not_answered_do_not_make_requests_for_registers_smaller(tmp_path: Path) -> None:
    """The limit is one of registers; the coils are Bad, and nothing else changes."""
    rows = [*rows_for(8, range(0, 40, 2)), "1000,8,coil,,,", "1010,8,coil,,,"]
    read, gateway = read_for(
        tmp_path, rows, {8: lambda first, _: SILENT if first >= 1000 else 0}, seconds=0.8, retries=0
    )

    assert set(read.filter(quality=BAD_TIMEOUT)["tag"]) == {"t20", "t21"}
    assert set(read.filter(quality=GOOD)["tag"]) == {f"t{n}" for n in range(20)}
    assert gateway.largest == 39
    assert gateway.requests[8] <= 1 + 3 * (read.filter(tag="t0").height + 1)


def test_a_limit_that_is_configured_is_never_exceeded(tmp_path: Path) -> None:
    """Then there is nothing to find out."""
    seen: list[int] = []

    def note(_first: int, count: int) -> int:
        seen.append(count)
        return 0

    read_for(tmp_path, rows_for(8, range(0, 240, 2)), {8: note}, seconds=0.3, devices={"8": {"max_registers": 32}})

    assert max(seen) in range(20, 33)


def test_a_connection_closed_when_idle_is_opened_again_within_the_poll(tmp_path: Path) -> None:
    """Many devices close it between two polls; not a row is Bad for that."""
    read, gateway = read_for(tmp_path, rows_for(1, [5]), {1: good}, seconds=1.5, idle_s=0.1, every="300ms")

    assert gateway.connections >= 4
    assert set(read["quality"]) == {GOOD}
    assert read.height >= 4


def test_tags_of_one_device_have_their_own_intervals(tmp_path: Path) -> None:
    """A tag a minute does not slow a tag at 20 Hz, nor the other way round."""
    rows = [*rows_for(1, [5]), "6,1,,uint16,,,1s"]
    read, _ = read_for(tmp_path, rows, {1: good}, seconds=1.5)

    assert read.filter(tag="t1").height == 2
    assert read.filter(tag="t0").height > 15


def test_rtu_by_network_drops_what_comes_too_late(tmp_path: Path) -> None:
    """RTU has no transaction numbers: the late response to one request is not taken for that to the next."""
    served: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Registers hold their own address; the third request is answered after its time-out."""
        with suppress(asyncio.IncompleteReadError), closing(writer):
            while True:
                request = await reader.readexactly(8)
                served.append(request)
                await asyncio.sleep(0.3 if len(served) == 3 else 0.03)
                frame = request[:2] + b"\x02" + request[2:4]
                writer.write(frame + FramerRTU.compute_CRC(frame).to_bytes(2, "big"))

    async def read() -> pl.DataFrame:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            options = {"framing": "rtu", "timeout": "200ms", "every": "200ms", "max_gap": 0, "retries": 0}
            rows, port = rows_for(1, [5, 700, 9]), server.sockets[0].getsockname()[1]
            source = ModbusSource(connection_of(tmp_path, rows, port=port, **options))
            await source.connect()
            frames = [(await source.read()).samples for _ in range(4)]
            await source.close()
            return pl.concat(frames)

    found = asyncio.run(read())

    assert set(found.filter(quality=GOOD).select("tag", "value").rows()) == {("t0", 5.0), ("t1", 700.0), ("t2", 9.0)}
    assert set(found["quality"]) == {GOOD, BAD_TIMEOUT}
