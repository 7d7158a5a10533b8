"""What reading the history of an OPC UA server costs its client: our archive, and asyncua's `read_raw_history`.

The server, in a process of its own, is node-opcua (`PENSTOCK_TEST_PEERS` has its script, `NPEER` the package), or else
asyncua. Both sides read the same values of the same nodes turn by turn, and count them; medians of the client's CPU
time. Ours ends at raw rows, asyncua's at its objects.

    python -m benchmarks.opcua_history [--values 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from asyncua import Client, Server, ua

from benchmarks.opcua_values import running, server_command
from bridge.drivers.opcua.history_archive import OpcuaArchive
from bridge.drivers.protocols import open_archive
from historian.plant.connections import ConnectionConfig
from historian.plant.load import load_plant
from tests.servers import free_port

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_NODES: Final = 4
_ROUNDS: Final = 3
_PLANT: Final = """
[site]
name = "values"
[classes.line.points]
{points}
[assets.l1]
class = "line"
[archives.old]
driver = "opcua"
endpoint = "opc.tcp://127.0.0.1:{port}"
tags = "old.csv"
"""


def archive_of(directory: Path, port: int) -> ConnectionConfig:
    """Describe an archive with the nodes that have a history."""
    points = "\n".join(f'p{number} = {{ kind = "process" }}' for number in range(_NODES))
    (directory / "plant.toml").write_text(_PLANT.format(points=points, port=port), encoding="utf-8")
    rows = [f"l1.p{number},l1,p{number},ns=1;s=Tag{number}" for number in range(_NODES)]
    (directory / "old.csv").write_text("\n".join(["tag,asset,point,address", *rows]) + "\n", encoding="utf-8")
    return load_plant(directory).archives["old"]


async def serve(port: int, values: int) -> None:
    """Serve a history as node-opcua does, by asyncua; runs until it is killed."""
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    storage = server.iserver.history_manager.storage
    for number in range(_NODES):
        node = ua.NodeId(f"Tag{number}", 1)
        await server.nodes.objects.add_variable(node, str(node.Identifier), 0.0, ua.VariantType.Double)
        await storage.new_historized_node(node, None, 0)
        for second in range(values):
            at = _START + timedelta(seconds=second)
            value = ua.DataValue(ua.Variant(float(number + second % 1000)), ua.StatusCode(0), at, at)
            await storage.save_node_value(node, value)
    async with server:
        print("READY", flush=True)
        await asyncio.Event().wait()


async def by_archive(archive: OpcuaArchive, end: datetime) -> int:
    """Read with our archive, up to raw rows; return the number of values."""
    tags = [f"l1.p{number}" for number in range(_NODES)]
    return sum([page.rows.samples.height async for page in archive.read(tags, _START, end)])


async def by_asyncua(client: Client, end: datetime) -> int:
    """Read as a program with asyncua does; return the number of values."""
    found = 0
    for number in range(_NODES):
        node = client.get_node(f"ns=1;s=Tag{number}")
        last = end - timedelta(seconds=1)
        found += len(await node.read_raw_history(_START, last, return_bounds=False))
    return found


async def measure(connection: ConnectionConfig, port: int, values: int) -> dict[str, float]:
    """Return both sides' CPU time a value, and the ratio."""
    archive = open_archive(connection)
    assert isinstance(archive, OpcuaArchive)
    end = _START + timedelta(seconds=values)
    ours, theirs = list[float](), list[float]()
    for _ in range(_ROUNDS):
        await archive.open()
        ours.append(await _cpu_us(partial(by_archive, archive, end), values * _NODES))
        await archive.close()
        async with Client(f"opc.tcp://127.0.0.1:{port}", timeout=60, watchdog_intervall=600) as client:
            theirs.append(await _cpu_us(partial(by_asyncua, client, end), values * _NODES))
    us, against = median(ours), median(theirs)
    return {"ratio": round(against / us, 1), "ours_us": round(us, 2), "asyncua_us": round(against, 2)}


async def _cpu_us(work: Callable[[], Awaitable[int]], expected: int) -> float:
    """Return the CPU time a value in microseconds; all threads count."""
    began = time.process_time()
    found = await work()
    spent = time.process_time() - began
    if found != expected:
        raise SystemExit(f"{found:,} of {expected:,} values were read")
    return spent / found * 1e6


def main() -> None:
    """Serve, or measure and print a line."""
    parser = argparse.ArgumentParser(description="What reading OPC UA history costs the client.")
    parser.add_argument("--values", type=int, default=100_000, help="values of each of the nodes")
    parser.add_argument("--serve", type=int, help="only serve, on this port")
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.serve, given.values))
        return
    port = free_port()
    node = server_command(port, _NODES, 0, history=_NODES)
    own = [sys.executable, "-m", "benchmarks.opcua_history", "--serve", str(port), "--values", str(given.values)]
    with tempfile.TemporaryDirectory() as directory, running(*(node if node[0] == "node" else own)) as server:
        assert server.stdout is not None
        while not (line := server.stdout.readline()).startswith("READY"):
            assert line, "the server does not start"
        found = asyncio.run(measure(archive_of(Path(directory), port), port, given.values))
    print(json.dumps({"name": "opcua_history_cpu_vs_asyncua", "server": Path(node[0]).name, **found}), flush=True)


if __name__ == "__main__":
    main()
