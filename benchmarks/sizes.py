"""Bytes a sample takes: the costs that `penstock size` reckons with.

Process samples of 200 tags, once a second, in the lake after compaction, in InfluxDB 1.6 and in the spool; vibration in
InfluxDB. Prints a JSON line for each figure. Run it with `python -m benchmarks.sizes`.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Final

import httpx
import numpy as np
import polars as pl

from bridge.edge.batches import Batches
from bridge.edge.database import Edge
from bridge.edge.spool import Spool
from historian.samples import SCHEMA, SampleBatch, sample_batch
from historian.stores.influx.address import parse_address
from historian.stores.influx.store import InfluxStore
from historian.stores.influx.wire import open_wire
from historian.stores.lake.store import LakeStore
from historian.stores.protocols import Store
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.packing import pack
from tests.servers import influx1

_START: Final = datetime(2026, 3, 1, tzinfo=UTC)
_TAGS: Final = [f"plant.line1.tag{number:03}" for number in range(200)]
_SECONDS: Final = 3600


def samples(first: int, seconds: int) -> SampleBatch:
    """Slow signals with the noise of a transmitter of 16 bits, rounded to two decimals."""
    step = np.arange(first, first + seconds)
    noise = np.random.default_rng(first).normal(size=(len(_TAGS), seconds))
    values = np.round(60 + 10 * np.sin(step / 900) + 0.05 * noise, 2)
    times = pl.Series(np.tile(step, len(_TAGS)) * 1_000_000).cast(pl.Duration("us")) + _START
    columns = {"tag": np.repeat(_TAGS, seconds), "timestamp": times, "value": values.ravel()}
    return sample_batch(pl.DataFrame({**columns, "text": None, "quality": 0}, schema=SCHEMA))


def waveforms() -> WaveformBatch:
    """Two million float32 samples of one channel of 25.6 kHz."""
    values = np.random.default_rng(0).normal(size=2_000_000).astype(np.float32)
    times = pl.Series(np.round(np.arange(len(values)) * 1e6 / 25_600).astype(np.int64)).cast(pl.Duration("us")) + _START
    rows = pl.DataFrame({"tag": "c101.de_h", "timestamp": times, "value": values, "text": None, "quality": 0})
    return pack(rows, {"c101.de_h": 25_600.0}).batch


def written(store: Store) -> int:
    """Write an hour minute by minute; the number of samples."""
    for first in range(0, _SECONDS, 60):
        store.write(samples(first, 60), source="line1", now=_START + timedelta(seconds=first + 60))
    return _SECONDS * len(_TAGS)


@contextmanager
def database(directory: Path) -> Iterator[InfluxStore]:
    """An InfluxDB 1.6 that moves what it is given into its files at once."""
    os.environ["INFLUXDB_DATA_CACHE_SNAPSHOT_WRITE_COLD_DURATION"] = "1s"
    server = influx1(directory)
    server.start()
    httpx.post(f"{server.base}/query", params={"q": "CREATE DATABASE sizes"}).raise_for_status()
    try:
        yield InfluxStore(open_wire(parse_address(f"influxdb://127.0.0.1:{server.port}/sizes"), ""))
    finally:
        server.stop()


def size_of(directory: Path, pattern: str = "*") -> int:
    """Bytes of the files below a directory."""
    return sum(file.stat().st_size for file in directory.rglob(pattern) if file.is_file())


def report(name: str, size: int, count: int) -> None:
    """Print a figure."""
    print(json.dumps({"name": name, "bytes": round(size / count, 2), "samples": count}), flush=True)


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        lake = LakeStore(root / "lake")
        count = written(lake)
        lake.compact()
        report("lake_sample_bytes", lake.size()["disk_bytes"], count)
        with closing(Edge(root / "edge.db")) as edge:
            spool = Spool(edge)
            for first in range(500):  # a poll of all tags of a device, each in a batch of its own
                spool.append(Batches(samples(first, 1)), source="line1", now=_START)
        spooled = size_of(root, "edge.db*") + size_of(root / "spool")
        report("spool_sample_bytes", spooled, 500 * len(_TAGS))
        for name, number in (("influx_sample_bytes", 0), ("influx_waveform_bytes", 1)):
            directory = root / name
            directory.mkdir()
            with database(directory) as store:
                stretches = waveforms()
                if number:
                    store.write_waveforms(stretches, source="line1", now=_START)
                    count = int(stretches["count"].sum())
                else:
                    count = written(store)
                while size_of(directory, "*.wal") or not size_of(directory, "*.tsm"):
                    sleep(1)
                report(name, size_of(directory, "*.tsm"), count)


if __name__ == "__main__":
    main()
