"""InfluxDB: peak memory of a process that reads ever longer ranges; pages bound it, not the range.

Prints a JSON line for each range: samples read, their size as columns, and the reader's peak resident memory. Run it
with `python -m benchmarks.influx_memory --samples 50000000`, which takes about eight minutes; fewer samples take less.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx
import numpy as np
import polars as pl

from benchmarks.memory import peak_bytes
from historian.samples import SCHEMA, sample_batch
from historian.stores.influx.address import parse_address
from historian.stores.influx.store import InfluxStore
from historian.stores.influx.wire import open_wire
from historian.times import from_micros
from tests.servers import influx1

_START_US: Final = 1_772_323_200_000_000
_STEP_US: Final = 40
_PART: Final = 2_000_000
_MIB: Final = 2**20


def _fill(store: InfluxStore, samples: int) -> None:
    """One vibration channel at 25 kHz."""
    noise = np.random.default_rng(0)
    for first in range(0, samples, _PART):
        times = (np.arange(first, min(first + _PART, samples)) * _STEP_US) + _START_US
        columns = {
            "tag": "c101.de_h",
            "timestamp": pl.Series(times).cast(SCHEMA["timestamp"]),
            "value": noise.normal(size=len(times)).round(4),
            "text": None,
            "quality": 0,
        }
        batch = sample_batch(pl.DataFrame(columns, schema_overrides=dict(SCHEMA)))
        store.write(batch, source="bench", now=from_micros(_START_US))


def _read(url: str, samples: int) -> None:
    """Read that many samples and print the peak memory of this process."""
    before = peak_bytes()
    store = InfluxStore(open_wire(parse_address(url), ""))
    start = from_micros(_START_US)
    pages = store.read(["c101.de_h"], start, start + samples * timedelta(microseconds=_STEP_US))
    sizes = [(page.height, page.estimated_size()) for page in pages]
    peak = peak_bytes()
    record = {
        "name": "influx_read_memory",
        "samples": sum(height for height, _ in sizes),
        "columns_mib": sum(size for _, size in sizes) // _MIB,
        "pages": len(sizes),
        "before_mib": before // _MIB,
        "peak_mib": peak // _MIB,
    }
    print(json.dumps(record), flush=True)


def _main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--samples", type=int, default=10_000_000)
    arguments.add_argument("--read", help="for the reading process: the url")
    given = arguments.parse_args()
    if given.read:
        _read(given.read, given.samples)
        return
    with tempfile.TemporaryDirectory() as directory:
        server = influx1(Path(directory))
        server.start()
        httpx.post(f"{server.base}/query", params={"q": "CREATE DATABASE memory"}).raise_for_status()
        url = f"influxdb://127.0.0.1:{server.port}/memory"
        _fill(InfluxStore(open_wire(parse_address(url), "")), given.samples)
        for part in (10, 5, 2, 1):
            reader = [sys.executable, "-m", "benchmarks.influx_memory", "--read", url]
            subprocess.run([*reader, "--samples", str(given.samples // part)], check=True)
        server.stop()


if __name__ == "__main__":
    _main()
