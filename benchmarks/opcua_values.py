"""What 10,000 tags of an OPC UA server cost a core: receiving them, and the whole way to the lake.

The server, in a process of its own, changes each tag once a second; its values are one sequence, so that what is
missing can be counted. It is node-opcua (`PENSTOCK_TEST_PEERS` has its script, `NPEER` the package), or else asyncua.

`opcua_cpu_vs_handler` is the CPU time a value of asyncua's stock handler beside that of our driver up to raw rows;
`bridge_core_share` the CPU time of `penstock stream` to the lake, as a share of a core. Both fail if values
are missing.

    python -m benchmarks.opcua_values [--tags 10000] [--rate 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from asyncua import Client, Server, ua

from bridge.drivers.opcua.client import disconnect, opened
from bridge.drivers.opcua.driver import Options
from bridge.drivers.opcua.source import OpcuaSource
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.stores.urls import lake_path
from tests.servers import free_port

_WARM_UP_S: Final = 10
_MEASURED_S: Final = 30
_TICK_S: Final = 0.05
_ITEMS_PER_CALL: Final = 1_000
_ROOT: Final = Path(__file__).parents[1]
_PEERS: Final = Path(os.environ.get("PENSTOCK_TEST_PEERS", _ROOT.parent / "shared" / "peers"))
_NODE_PEER: Final = _PEERS / "opcua" / "node_opcua_server.js"
_PENSTOCK: Final = Path(sys.executable).with_name("penstock")
_PLANT: Final = """
[site]
name = "values"
[classes.line.points]
{points}
[assets.l1]
class = "line"
[sources.line1]
driver = "opcua"
endpoint = "opc.tcp://127.0.0.1:{port}"
tags = "line1.csv"
"""


def write_plant(directory: Path, tags: int, port: int) -> Plant:
    """Describe one asset with a point a tag."""
    points = "\n".join(f'p{number} = {{ kind = "process" }}' for number in range(tags))
    (directory / "plant.toml").write_text(_PLANT.format(points=points, port=port), encoding="utf-8")
    rows = [f"l1.p{number},l1,p{number},ns=1;s=Tag{number}" for number in range(tags)]
    (directory / "line1.csv").write_text("\n".join(["tag,asset,point,address", *rows]) + "\n", encoding="utf-8")
    return load_plant(directory)


async def serve(port: int, tags: int, rate: int) -> None:
    """Offer the sequence as node-opcua does, by asyncua; runs until it is killed."""
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    nodes = [ua.NodeId(f"Tag{number}", 1) for number in range(tags)]
    for node in nodes:
        await server.nodes.objects.add_variable(node, str(node.Identifier), 0.0, ua.VariantType.Double)
    async with server:
        print("READY", flush=True)
        start, sent = time.monotonic(), 0
        while True:
            for _ in range(round(rate * _TICK_S)):
                value = ua.DataValue(ua.Variant(float(sent + 1)), ua.StatusCode(0), datetime.now(UTC))
                await server.write_attribute_value(nodes[sent % tags], value)
                sent += 1
            await asyncio.sleep(max(0.0, start + sent / rate - time.monotonic()))


def server_command(port: int, tags: int, rate: int, *, history: int = 0) -> list[str]:
    """Return how to start the server; the first `history` tags have one, if it is node-opcua."""
    if shutil.which("node") and _NODE_PEER.exists() and "NPEER" in os.environ:
        options = ["--port", port, "--tags", tags, "--rate", rate, "--tick", round(_TICK_S * 1000), "--hist", history]
        return ["node", str(_NODE_PEER), *map(str, options)]
    options = ["--serve", port, "--tags", tags, "--rate", rate]
    return [sys.executable, "-m", "benchmarks.opcua_values", *map(str, options)]


@contextmanager
def running(*command: str | Path, directory: Path = _ROOT) -> Iterator[subprocess.Popen[str]]:
    """Run a process until the block ends."""
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)


async def by_handler(port: int, tags: int) -> dict[str, float]:
    """Receive as a program with asyncua's handler does."""
    values: list[float] = []

    class Handler:
        def datachange_notification(self, _node: object, value: float, _data: object) -> None:
            values.append(value)

    url = f"opc.tcp://127.0.0.1:{port}"
    client: Client = (await opened(Options(endpoint=url), url, _ROOT)).client
    nodes = [client.get_node(f"ns=1;s=Tag{number}") for number in range(tags)]
    subscription = await client.create_subscription(250, Handler())
    for first in range(0, tags, _ITEMS_PER_CALL):
        some = nodes[first : first + _ITEMS_PER_CALL]
        await subscription.subscribe_data_change(some, queuesize=100, sampling_interval=0.0)
    await asyncio.sleep(_WARM_UP_S)
    began, cpu = len(values), time.process_time()
    await asyncio.sleep(_MEASURED_S)
    spent, found = time.process_time() - cpu, np.array(values[began:])
    await disconnect(client)
    return _received(found, spent)


async def by_source(plant: Plant) -> dict[str, float]:
    """Receive with our driver, up to raw rows."""
    source = OpcuaSource(plant.sources["line1"])
    await source.connect()
    try:
        await _read_for(source, _WARM_UP_S)
        cpu = time.process_time()
        found = await _read_for(source, _MEASURED_S)
        return _received(found, time.process_time() - cpu)
    finally:
        await source.close()


async def _read_for(source: OpcuaSource, seconds: float) -> Any:
    until, parts = time.monotonic() + seconds, []
    while time.monotonic() < until:
        parts.append((await source.read()).samples["value"].to_numpy())
    return np.concatenate(parts)


def _received(values: Any, cpu_s: float) -> dict[str, float]:
    """Return the CPU time a value, and how many values of the sequence are missing between its first and last."""
    distinct = np.unique(values)
    missing = int(distinct[-1] - distinct[0]) + 1 - len(distinct)
    return {"values": len(values), "us_per_value": cpu_s / len(values) * 1e6, "missing": missing}


def stream(plant: Plant, directory: Path) -> dict[str, float]:
    """Run `penstock stream`; return its share of a core, its memory, and what has reached the lake when."""
    with running(_PENSTOCK, "stream", directory=directory) as process:
        time.sleep(2 * _WARM_UP_S)
        began, cpu = datetime.now(UTC), _cpu_s(process.pid)
        time.sleep(_MEASURED_S)
        spent, ended = _cpu_s(process.pid) - cpu, datetime.now(UTC)
        peak = next(line for line in _proc(process.pid, "status").splitlines() if line.startswith("VmHWM"))
    path = lake_path(plant) / "samples"
    rows = pl.scan_delta(str(path)).filter(pl.col("timestamp").is_between(began, ended)).collect()
    late = (rows["ingested_at"] - rows["timestamp"]).dt.total_milliseconds()
    commits = rows["ingested_at"].n_unique() / _MEASURED_S
    found = _received(rows["value"].to_numpy(), spent)
    return {
        "ratio": round(spent / _MEASURED_S, 3),
        "peak_mib": round(int(peak.split()[1]) / 1024),
        "freshness_p99_s": round(float(late.quantile(0.99) or 0) / 1000, 2),
        "commits_per_s": round(commits, 2),
        **found,
    }


def _proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text(encoding="ascii")


def _cpu_s(pid: int) -> float:
    fields = _proc(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(tags: int, rate: int) -> None:
    """Measure one after the other, each with a server of its own, and print a line for each figure."""
    found: dict[str, dict[str, float]] = {}
    for role in ("handler", "source", "stream"):
        with tempfile.TemporaryDirectory() as temporary:
            port = free_port()
            plant = write_plant(Path(temporary), tags, port)
            with running(*server_command(port, tags, rate)) as server:
                assert server.stdout is not None
                while not (line := server.stdout.readline()).startswith("READY"):
                    assert line, "the server does not start"
                if role == "stream":
                    found[role] = stream(plant, Path(temporary))
                else:
                    found[role] = _in_process(role, port, tags, temporary)
    against, ours = found["handler"], found["source"]
    lost = {"missing": ours["missing"], "missing_by_handler": against["missing"]}
    times = {"ours_us": round(ours["us_per_value"], 2), "handler_us": round(against["us_per_value"], 2)}
    ratio = round(against["us_per_value"] / ours["us_per_value"], 1)
    print(json.dumps({"name": "opcua_cpu_vs_handler", "ratio": ratio, "tags": tags, **times, **lost}), flush=True)
    print(json.dumps({"name": "bridge_core_share", "tags": tags, "rate": rate, **found["stream"]}), flush=True)
    if found["stream"]["missing"] or ours["missing"]:
        raise SystemExit("values are missing")


def _in_process(role: str, port: int, tags: int, directory: str) -> dict[str, float]:
    options = ["--role", role, "--serve", str(port), "--tags", str(tags), "--plant", directory]
    command = [sys.executable, "-m", "benchmarks.opcua_values", *options]
    done = subprocess.run(command, cwd=_ROOT, check=True, stdout=subprocess.PIPE, text=True)
    record: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return record


def main() -> None:
    """Run a server or a client, or measure."""
    parser = argparse.ArgumentParser(description="What 10,000 tags of an OPC UA server cost a core.")
    parser.add_argument("--tags", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=10_000, help="values a second, of all tags together")
    parser.add_argument("--serve", type=int, help="only serve, on this port")
    parser.add_argument("--role", choices=["handler", "source"], help="only receive, from that port")
    parser.add_argument("--plant", type=Path)
    given = parser.parse_args()
    if given.role == "handler":
        print(json.dumps(asyncio.run(by_handler(given.serve, given.tags))))
    elif given.role:
        print(json.dumps(asyncio.run(by_source(load_plant(given.plant)))))
    elif given.serve:
        asyncio.run(serve(given.serve, given.tags, given.rate))
    else:
        measure(given.tags, given.rate)


if __name__ == "__main__":
    main()
