"""What the Modbus driver adds to pymodbus, which sends its requests, and what it saves.

The device is libmodbus in a process of its own, whose registers hold their own address.

`modbus_polls_vs_pymodbus` is the number of polls of 100 registers a second, made durable in the spool, beside a loop of
requests by pymodbus that keeps nothing; `modbus_block_vs_single` the number of registers a second beside a request a
register; `modbus_decode_vs_pymodbus` float32 values decoded a second beside `convert_from_registers`.

    python -m benchmarks.modbus [--seconds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
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
from tests.servers import free_port

_REGISTERS: Final = 100
_ROUNDS: Final = 3
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
def device() -> Iterator[int]:
    """A libmodbus server, compiled and running."""
    with tempfile.TemporaryDirectory() as directory:
        program, port = Path(directory) / "server", free_port()
        query = ["pkg-config", "--cflags", "--libs", "libmodbus"]
        flags = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
        source = _PEERS / "modbus" / "libmodbus_server.c"
        subprocess.run(["gcc", "-O2", "-o", program, source, *flags], check=True)  # noqa: S607
        with subprocess.Popen([program, str(port)], stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            running.stdout.readline()
            yield port
            running.kill()


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
    edge = Edge(directory / "edge.db")
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


def main(seconds: float) -> None:
    """Print a line for each figure: the median of rounds in which both sides take turns."""
    with device() as port, tempfile.TemporaryDirectory() as name:
        found: dict[str, list[float]] = {"polls": [], "block": [], "decode": []}
        for number in range(_ROUNDS):
            directory = Path(name) / str(number)
            directory.mkdir()
            bare = asyncio.run(bare_polls(port, seconds))
            found["polls"].append(asyncio.run(our_polls(directory, port, seconds)) / bare)
            single = asyncio.run(bare_polls(port, seconds / 2, count=1))
            found["block"].append(asyncio.run(block_registers(directory, port, seconds / 2)) / single)
            found["decode"].append(decode_ratio())
    for figure, ratios in found.items():
        against = "single" if figure == "block" else "pymodbus"
        print(json.dumps({"benchmark": f"modbus_{figure}_vs_{against}", "ratio": round(median(ratios), 2)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    main(parser.parse_args().seconds)
