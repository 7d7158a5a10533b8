"""InfluxDB: waveforms as a point a stretch, compared with the same samples as a point a sample.

Prints a JSON line for each figure; `ratio` is the rate of the stretches over that of the samples, turn by turn in one
run. Starts its own InfluxDB 1.6 on loopback. Run it with `python -m benchmarks.influx_waveforms`.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Final

import httpx
import numpy as np
import polars as pl

from benchmarks.influx import compare
from historian.samples import SampleBatch
from historian.stores.influx.address import parse_address
from historian.stores.influx.store import InfluxStore
from historian.stores.influx.wire import open_wire
from historian.waveforms.batch import WaveformBatch, waveform_batch
from historian.waveforms.encoding import HEADS, decode, encode
from historian.waveforms.packing import unpack
from tests.servers import influx1

_SAMPLES: Final = 4_000_000
_RATE: Final = 25_600.0
_START: Final = datetime(2026, 3, 1, tzinfo=UTC)
_LENGTH: Final = timedelta(seconds=_SAMPLES / _RATE)


def _waveform() -> WaveformBatch:
    """One channel of noise in float32."""
    values = np.random.default_rng(0).normal(size=_SAMPLES).astype(np.float32)
    head = {"tag": ["c101.de_h"], "timestamp": [_START], "sample_rate": [_RATE], "count": [_SAMPLES], "quality": [0]}
    return waveform_batch(encode(pl.DataFrame(head, schema=HEADS), values))


def _measure(store: InfluxStore) -> None:
    stretches = _waveform()
    samples = SampleBatch(unpack(stretches).with_columns(tag=pl.lit("c101.de_v")))
    rounds, within = (count(), count()), (_START, _START + _LENGTH)

    def write_stretches() -> int:
        later = pl.col("timestamp") + next(rounds[0]) * _LENGTH  # each turn writes where nothing is yet
        store.write_waveforms(WaveformBatch(stretches.with_columns(later)), source="bench", now=_START)
        return _SAMPLES

    def write_samples() -> int:
        later = pl.col("timestamp") + next(rounds[1]) * _LENGTH
        store.write(SampleBatch(samples.with_columns(later)), source="bench", now=_START)
        return _SAMPLES

    def read_stretches() -> int:
        return sum(len(decode(page).values) for page in store.read_waveforms(["c101.de_h"], *within))

    compare("influx_waveform_write_vs_samples", write_stretches, write_samples)
    read = sum(page.height for page in store.read(["c101.de_v"], *within))
    assert read == read_stretches() == _SAMPLES
    compare(
        "influx_waveform_read_vs_samples",
        read_stretches,
        lambda: sum(page.height for page in store.read(["c101.de_v"], *within)),
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        server = influx1(Path(directory))
        server.start()
        httpx.post(f"{server.base}/query", params={"q": "CREATE DATABASE ours"}).raise_for_status()
        opened = InfluxStore(open_wire(parse_address(f"influxdb://127.0.0.1:{server.port}/ours"), ""))
        _measure(opened)
        opened.close()
        server.stop()
