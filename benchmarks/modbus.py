"""What the Modbus driver adds to pymodbus, which sends its requests, and what it saves.

The device is a server in a process of its own, whose registers hold their own address: that of pymodbus, which takes
1.5 ms to respond, as fast PLCs do, or libmodbus, which takes no time at all.

`modbus_polls_vs_pymodbus` is the number of polls of 100 registers a second, made durable in the spool, beside a loop of
requests by pymodbus that keeps nothing; `modbus_polls_at_once` the same with libmodbus; `modbus_block_vs_single` the
number of registers a second beside a request a register; `modbus_decode_vs_pymodbus` float32 values decoded a second
beside `convert_from_registers`.

    python -m benchmarks.modbus [--seconds 4]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from pymodbus.client import AsyncModbusTcpClient

from bridge.drivers.modbus.blocks import plan_blocks
from bridge.drivers.modbus.places import Place
from bridge.drivers.modbus.source import ModbusSource
from bridge.edge.database import Edge
from bridge.run.source_runner import SourceRunner
from historian.plant.connections import ConnectionConfig
from historian.plant.load import load_plant
from tests.bridge.drivers.modbus.plc import running_plc
from tests.servers import free_port

_REGISTERS: Final = 100
_ROUNDS: Final = 3
_RESPONSE_S: Final = 0.0015
_PEERS: Final = Path(os.environ.get("PENSTOCK_TEST_PEERS", Path(__file__).parents[2] / "shared" / "peers"))
_PLANT: Final = """
[site]
name = "polls"
[classes.plc.points]
{points}
[assets.a]
class = "plc"
[sources.plc]
driver = "modbus"
host = "127.0.0.1"
port = {port}
every = "{every}"
tags = "plc.csv"
"""


@contextmanager
def libmodbus() -> Iterator[int]:
    """A libmodbus server, compiled and running; its port."""
    with tempfile.TemporaryDirectory() as directory:
        program, port = Path(directory) / "server", free_port()
        query = ["pkg-config", "--cflags", "--libs", "libmodbus"]
        flags = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
        source = _PEERS / "modbus" / "libmodbus_server.c"
        subprocess.run(["gcc", "-O2", "-o", program, source, *flags], check=True)  # noqa: S607 - as a shell would find it
        with _started(str(program), str(port)):
            yield port


@contextmanager
def slow_device() -> Iterator[int]:
    """A server that takes 1.5 ms to respond; its port."""
    port = free_port()
    with _started(sys.executable, "-m", "benchmarks.modbus", "--serve", str(port)):
        yield port


@contextmanager
def _started(*command: str) -> Iterator[None]:
    """A process that prints a line once it listens."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        running.stdout.readline()
        yield
        running.kill()


async def serve(port: int) -> None:
    """Respond after 1.5 ms; runs until it is killed."""

    async def wait(*_: object) -> None:
        await asyncio.sleep(_RESPONSE_S)

    async with running_plc(port=port, action=wait):
        print("READY", flush=True)
        await asyncio.Event().wait()


def connection_of(directory: Path, port: int, *, tags: int, every: str) -> ConnectionConfig:
    """A source with a tag a register."""
    points = "\n".join(f'p{number} = {{ kind = "process" }}' for number in range(tags))
    (directory / "plant.toml").write_text(_PLANT.format(points=points, port=port, every=every), encoding="utf-8")
    rows = [f"t{number},a,p{number},{number},uint16" for number in range(tags)]
    (directory / "plc.csv").write_text("\n".join(["tag,asset,point,address,type", *rows, ""]), encoding="utf-8")
    return load_plant(directory).sources["plc"]


async def bare_polls(port: int, seconds: float, *, count: int = _REGISTERS) -> float:
    """Requests of some registers that pymodbus makes a second."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    began, polls = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        await client.read_holding_registers(0, count=count, device_id=1)
        polls += 1
    client.close()
    return polls / (time.perf_counter() - began)


async def our_polls(directory: Path, port: int, seconds: float) -> float:
    """Polls a second that reach the spool."""
    connection = connection_of(directory, port, tags=_REGISTERS, every="100us")
    edge = Edge(Path(tempfile.mkdtemp(dir=directory)) / "edge.db")
    runner = SourceRunner(connection, edge)
    running = asyncio.create_task(runner.run())
    await asyncio.sleep(seconds)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return runner.ingest.samples / _REGISTERS / seconds


async def block_registers(directory: Path, port: int, seconds: float) -> float:
    """Registers a second that the driver reads in blocks."""
    source = ModbusSource(connection_of(directory, port, tags=1000, every="100us"))
    await source.connect()
    began, rows = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        rows += (await source.read()).samples.height
    await source.close()
    return rows / (time.perf_counter() - began)


def decode_ratio() -> float:
    """float32 values that the driver decodes a second, beside pymodbus."""
    places = [Place(f"t{number}", 1, "holding", 2 * number, "float32") for number in range(60)]
    (block,) = plan_blocks(places, max_gap=0)
    responses = np.random.default_rng(0).integers(0, 2**15, (1000, 120), np.uint16)
    began = time.perf_counter()
    ours = block.decode(responses).numbers
    took = time.perf_counter() - began
    client, lists = AsyncModbusTcpClient, responses.tolist()
    began = time.perf_counter()
    theirs = [client.convert_from_registers(registers, client.DATATYPE.FLOAT32) for registers in lists]
    bare = time.perf_counter() - began
    np.testing.assert_array_equal(ours, np.array(theirs))
    return bare / took


def polls(directory: Path, port: int, seconds: float) -> float:
    """Polls a second that reach the spool, beside those of pymodbus: the median of rounds in which they take turns."""
    return median(
        asyncio.run(our_polls(directory, port, seconds)) / asyncio.run(bare_polls(port, seconds))
        for _ in range(_ROUNDS)
    )


def blocks(directory: Path, port: int, seconds: float) -> float:
    """Registers a second that are read in blocks, beside a request a register."""
    return median(
        asyncio.run(block_registers(directory, port, seconds)) / asyncio.run(bare_polls(port, seconds, count=1))
        for _ in range(_ROUNDS)
    )


def main(seconds: float) -> None:
    """Print a line for each figure."""
    with tempfile.TemporaryDirectory() as name, libmodbus() as fast, slow_device() as slow:
        found = {
            "modbus_polls_vs_pymodbus": polls(Path(name), slow, seconds),
            "modbus_polls_at_once": polls(Path(name), fast, seconds),
            "modbus_block_vs_single": blocks(Path(name), slow, seconds),
            "modbus_decode_vs_pymodbus": median(decode_ratio() for _ in range(_ROUNDS)),
        }
    for figure, ratio in found.items():
        print(json.dumps({"name": figure, "ratio": round(ratio, 2)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--serve", type=int, help="only serve, on this port")
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.serve))
    else:
        main(given.seconds)
