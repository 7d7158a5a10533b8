"""What a fleet costs when nothing is new: 5,000 assets with 10,000 tags, the commands' time from start to end.

    python -m benchmarks.fleet --assets 5000

Prints the seconds and the peak memory of `penstock compute` and of `penstock apply`, each run a second time, with the
start of Python and its imports, and the peak memory of `penstock serve` once it has answered with features; and the
seconds of `compute --follow` from the loaded plant file to the end of its first round, and of a second
round. With `--assets 20000` they show how time grows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Final

import httpx
import polars as pl

from benchmarks.memory import peak_of
from features.compute.follow import plant_follower
from historian.plant.load import load_plant
from historian.samples import SCHEMA, normalise
from historian.stores.open import open_store
from historian.times import utc_now

_LOOK_S: Final = 0.02
_MIB: Final = 2**20
_PENSTOCK: Final = Path(sys.executable).with_name("penstock")
_POINTS: Final = ("load", "oil")
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_PLANT: Final = """
[site]
name = "fleet"
[classes.pump.points]
load = {{ kind = "process", unit = "kW" }}
oil = {{ kind = "process", unit = "degC" }}
[classes.pump.features]
process = {{ window = "10m", points = ["load", "oil"] }}
{assets}
[archives.none]
driver = "files"
path = "*.csv"
layout = "long"
tags = "tags.csv"
"""


def write_fleet(directory: Path, assets: int) -> None:
    """Describe assets with two tags each, and store four samples of each tag."""
    names = [f"p{number:05}" for number in range(assets)]
    described = "\n".join(f'[assets.{name}]\nclass = "pump"' for name in names)
    (directory / "plant.toml").write_text(_PLANT.format(assets=described), encoding="utf-8")
    tags = [(f"{name}.{point}", name, point) for name in names for point in _POINTS]
    rows = [f"{tag},{asset},{point},x" for tag, asset, point in tags]
    (directory / "tags.csv").write_text("\n".join(["tag,asset,point,address", *rows]) + "\n", encoding="utf-8")
    times = pl.DataFrame({"timestamp": [_START + timedelta(minutes=at) for at in (0, 5, 11, 21)]})
    samples = pl.DataFrame({"tag": [tag for tag, _, _ in tags]}).join(times, how="cross")
    columns = samples.with_columns(value=pl.lit(1.0), text=pl.lit(None, pl.String), quality=pl.lit(0))
    batch = normalise(columns.select(SCHEMA.names()).cast(SCHEMA)).batch
    open_store(load_plant(directory)).write(batch, source="fleet", now=_START + timedelta(hours=1))


def cost_of(directory: Path, command: str) -> tuple[float, float, int]:
    """Run a command in the fleet's directory; how long it takes, its CPU time, and its peak memory in MiB."""
    begun, used, peak = perf_counter(), _children(), 0
    with subprocess.Popen(
        [_PENSTOCK, command], cwd=directory, env=_compiled(directory), stdout=subprocess.DEVNULL
    ) as run:
        while run.poll() is None:
            peak = max(peak, peak_of(run.pid))
            sleep(_LOOK_S)
    assert run.returncode == 0
    return perf_counter() - begun, _children() - used, peak // _MIB


def _compiled(directory: Path) -> dict[str, str]:
    """The environment of a command that finds modules compiled, as in an installed package, once it has run before."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(directory / "bytecode")}


def serving(directory: Path) -> int:
    """Peak memory in MiB of `penstock serve` once it has answered with an asset's features."""
    command = [str(_PENSTOCK), "serve", "--port", "0", "--json"]
    with subprocess.Popen(
        command, cwd=directory, env=_compiled(directory), stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            body = {"feature_service": "pump", "entities": {"asset": ["p00000"]}}
            httpx.post(f"{url}/get-online-features", json=body, timeout=120).raise_for_status()
            return peak_of(server.pid) // _MIB
        finally:
            server.terminate()


def _children() -> float:
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def following(directory: Path) -> tuple[float, float]:
    """Seconds of the first round, with what has to be opened for it, and of the second one."""
    plant, begun = load_plant(directory), perf_counter()
    follower = plant_follower(plant, open_store(plant), utc_now, [], memory=2 * 2**30)
    assert not follower.round()
    first = perf_counter()
    assert not follower.round()
    return first - begun, perf_counter() - first


def main() -> None:
    """Print the seconds of each command."""
    parser = argparse.ArgumentParser(description="What a fleet costs when nothing is new.")
    parser.add_argument("--assets", type=int, default=5_000)
    assets = parser.parse_args().assets
    with TemporaryDirectory() as temporary:
        directory = Path(temporary)
        write_fleet(directory, assets)
        for command in ("compute", "apply"):
            cost_of(directory, command)
        found: dict[str, float] = {}
        for command in ("compute", "apply"):
            found[command], found[f"{command}_cpu"], found[f"{command}_mib"] = cost_of(directory, command)
        found["follow"], found["round"] = following(directory)
        found["serve_mib"] = serving(directory)
    print(json.dumps({"name": "fleet", "assets": assets, **{name: round(each, 2) for name, each in found.items()}}))


if __name__ == "__main__":
    main()
