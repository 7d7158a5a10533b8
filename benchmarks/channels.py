"""How many channels of 25.6 kHz one core of ours carries, from an OPC UA server to online features.

An OPC UA server in a process of its own offers float32 arrays of 0.1 s. `penstock stream` moves them to the store,
`penstock compute --follow` computes 1 s windows with all features of the groups time and spectrum and writes them
online. After a warm-up, the CPU time of both processes is measured over a minute. The figure is channels per core of
that time; the run fails if a sample is missing at its end, or if the newest window lags further behind than before.

    python -m benchmarks.channels --channels 32 --store lake

The store is the lake, then InfluxDB 1.6, whose own CPU time is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Final

import numpy as np
import polars as pl
from asyncua import Server, ua

from features.tables.feature_table import table_path
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from tests.servers import free_port, influx1

RATE: Final = 25_600
PIECE: Final = 2_560
"""Samples in an array: 0.1 s."""
_POINTS: Final = 4
_WARM_UP_S: Final = 20
_MEASURED_S: Final = 60
_TICK: Final = timedelta(seconds=PIECE / RATE)
_PENSTOCK: Final = Path(sys.executable).with_name("penstock")
_VIEW: Final = "rig_vibration"
_STORES: Final = {"lake": "channels_per_core_lake", "influx": "channels_per_core_influx"}
"""Store -> the name of its figure."""

_PLANT: Final = """
[site]
name = "channels"
[historian]
url = "{url}"
[classes.rig.points]
{points}
[classes.rig.features]
vibration = {{ window = "1s", points = [{names}] }}
{assets}
[sources.line1]
driver = "opcua"
endpoint = "opc.tcp://127.0.0.1:{port}"
tags = "line1.csv"
publishing_interval = "500ms"
sampling_interval = "0s"
queue_size = 100
"""


def write_plant(directory: Path, channels: int, port: int, url: str) -> Plant:
    """Describe assets of four channels each."""
    names = [f"ch{number}" for number in range(_POINTS)]
    assets = [f"a{number:03}" for number in range(-(-channels // _POINTS))]
    point = f'kind = "vibration", unit = "g", sample_rate = {RATE}'
    plant = _PLANT.format(
        url=url,
        port=port,
        points="\n".join(f"{name} = {{ {point} }}" for name in names),
        names=", ".join(f'"{name}"' for name in names),
        assets="\n".join(f'[assets.{asset}]\nclass = "rig"' for asset in assets),
    )
    (directory / "plant.toml").write_text(plant, encoding="utf-8")
    rows = [f"{asset}.{name},{asset},{name},ns=2;s={asset}.{name}" for asset in assets for name in names][:channels]
    (directory / "line1.csv").write_text("\n".join(["tag,asset,point,address", *rows]) + "\n", encoding="utf-8")
    return load_plant(directory)


async def serve(port: int, names: list[str]) -> None:
    """Offer an array per name every 0.1 s, stamped with its first sample's time; runs until it is killed."""
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace("urn:channels")
    nodes = [ua.NodeId(name, index) for name in names]
    for node in nodes:
        await server.nodes.objects.add_variable(node, str(node.Identifier), [0.0], ua.VariantType.Float)
    noise = np.random.default_rng(0).normal(size=(16, PIECE)).astype(np.float32)
    pieces = [ua.Variant(piece.tolist(), ua.VariantType.Float) for piece in noise]
    async with server:
        print("READY", flush=True)
        start, tick = datetime.now(UTC), 0
        while True:
            at = start + tick * _TICK
            for number, node in enumerate(nodes):
                value = ua.DataValue(pieces[(tick + number) % len(pieces)], ua.StatusCode(0), at)
                await server.write_attribute_value(node, value)
            tick += 1
            await asyncio.sleep(max(0.0, (start + tick * _TICK - datetime.now(UTC)).total_seconds()))


@contextmanager
def running(directory: Path, *command: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process until the block ends."""
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for_rows(plant: Plant) -> None:
    """Wait until both processes work: starting them takes seconds."""
    for _ in range(240):
        path = table_path(plant, _VIEW)
        if path.exists() and pl.scan_delta(str(path)).select(pl.len()).collect().item():
            return
        sleep(0.5)
    raise TimeoutError("no feature row within two minutes")


def lag_s(plant: Plant) -> float:
    """Seconds since the end of the newest window that every asset has."""
    rows = pl.scan_delta(str(table_path(plant, _VIEW)))
    newest = rows.group_by("asset").agg(pl.col("event_timestamp").max()).collect()
    ends: list[datetime] = newest["event_timestamp"].to_list()
    return (datetime.now(UTC) - min(ends)).total_seconds()


def invalid_windows(plant: Plant) -> int:
    """Windows after the first of each asset that lack a sample."""
    rows = pl.scan_delta(str(table_path(plant, _VIEW))).sort("event_timestamp").collect()
    complete = pl.all_horizontal(pl.col("^ch[0-9]+_valid$").fill_null(value=True))
    first = pl.col("event_timestamp") > pl.col("event_timestamp").min().over("asset") + pl.duration(seconds=2)
    return rows.filter(first & ~complete).height


def measure(directory: Path, channels: int, url: str) -> dict[str, float | int]:
    """Stream and follow; return CPU seconds of both, the lag before and after, and how many windows are incomplete."""
    port = free_port()
    plant = write_plant(directory, channels, port, url)
    subprocess.run([_PENSTOCK, "store", "init"], cwd=directory, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([_PENSTOCK, "apply"], cwd=directory, check=True, stdout=subprocess.DEVNULL)
    server = sys.executable, "-m", "benchmarks.channels", "--serve", str(port), "--channels", str(channels)
    with ExitStack() as stack:
        source = stack.enter_context(running(Path(__file__).parents[1], *server))
        assert source.stdout is not None
        assert source.stdout.readline() == "READY\n"
        stream = stack.enter_context(running(directory, _PENSTOCK, "stream", "--json"))
        follow = stack.enter_context(running(directory, _PENSTOCK, "compute", "--follow", "--every", "1s"))
        wait_for_rows(plant)
        sleep(_WARM_UP_S)
        before, lag_before = {p.pid: cpu_seconds(p.pid) for p in (source, stream, follow)}, lag_s(plant)
        sleep(_MEASURED_S)
        spent = [cpu_seconds(p.pid) - before[p.pid] for p in (source, stream, follow)]
        lag_after = lag_s(plant)
    return {
        "server_cpu_s": round(spent[0], 1),
        "stream_cpu_s": round(spent[1], 1),
        "compute_cpu_s": round(spent[2], 1),
        "lag_before_s": round(lag_before, 1),
        "lag_after_s": round(lag_after, 1),
        "incomplete_windows": invalid_windows(plant),
    }


def main() -> None:
    """Run the server, or measure."""
    parser = argparse.ArgumentParser(description="Channels of 25.6 kHz a core carries, from OPC UA to online features.")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--store", choices=[*_STORES], help="both if absent")
    parser.add_argument("--serve", type=int, help="only serve, on this port")
    given = parser.parse_args()
    if given.serve:
        names = [f"a{number // _POINTS:03}.ch{number % _POINTS}" for number in range(given.channels)]
        asyncio.run(serve(given.serve, names))
        return
    for store in [given.store] if given.store else _STORES:
        print(json.dumps(result(store, given.channels)), flush=True)


def result(store: str, channels: int) -> dict[str, float | int | str]:
    """Measure with a store of its own; the line to print."""
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        directory, url = Path(temporary) / "plant", ""
        directory.mkdir()
        if store == "influx":
            (Path(temporary) / "influx").mkdir()
            database = influx1(Path(temporary) / "influx")
            database.start()
            stack.callback(database.stop)
            url = f"influxdb://127.0.0.1:{database.port}/channels"
        found = measure(directory, channels, url)
    cores = (found["stream_cpu_s"] + found["compute_cpu_s"]) / _MEASURED_S
    return {"name": _STORES[store], "ratio": round(channels / cores, 1), "channels": channels, **found}


if __name__ == "__main__":
    main()
