"""Waveforms in the spool: bytes on disk per byte of values, and the CPU time of a sample on its way through.

As an OPC UA source delivers them: every 250 ms, 0.1 s of 25.6 kHz at a time and channel. Prints JSON lines. Run it with
`python -m benchmarks.spool_waveforms`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from bridge.edge.batches import Batches
from bridge.edge.database import Edge
from bridge.edge.spool import Spool
from historian.waveforms.batch import WaveformBatch, waveform_batch
from historian.waveforms.encoding import HEADS, encode

_RATE: Final = 25_600.0
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_ARRAY: Final = 2_560
"""Samples in an array: 0.1 s."""
_CHANNELS: Final = 4
_ARRAYS: Final = (2, 3)
"""Arrays of a channel in a publish response, in turn: 250 ms are two and a half."""
_RESPONSES: Final = 240
"""One minute."""


def overhead() -> None:
    """Print bytes in the edge database per byte of values, of each type of values."""
    random = np.random.default_rng(1)
    noise = random.normal(size=_CHANNELS * max(_ARRAYS) * _ARRAY)
    kinds: dict[str, npt.NDArray[Any]] = {
        "int16": np.rint(noise * 3_000).astype(np.int16),
        "float32": noise.astype(np.float32),
        "float64": noise,
    }
    for name, values in kinds.items():
        with TemporaryDirectory() as root:
            edge = Edge(Path(root) / "edge.db")
            spool = Spool(edge)
            batches = [_response(number, values) for number in range(_RESPONSES)]
            appending = _cpu(partial(_append, spool, batches))
            [(pages,)] = edge.rows("PRAGMA page_count")
            segments = sum(file.stat().st_size for file in Path(root).glob("spool/*/*"))
            edge.close()
        samples = sum(int(batch["count"].sum()) for batch in batches)
        ratio = (4096 * pages + segments) / (samples * values.itemsize)
        _print("spool_waveform_overhead", ratio=ratio, values=name, samples=samples, ns_per_sample=appending / samples)


def _response(number: int, values: npt.NDArray[Any]) -> WaveformBatch:
    """Return what one publish response holds, as stretches."""
    arrays = _ARRAYS[number % 2]
    first = number // 2 * sum(_ARRAYS) + (number % 2) * _ARRAYS[0]
    heads = [
        (f"c{channel}.de_h", _START + timedelta(seconds=0.1 * (first + array)), _RATE, _ARRAY, 0)
        for channel in range(_CHANNELS)
        for array in range(arrays)
    ]
    frame = pl.DataFrame(heads, schema=HEADS, orient="row")
    return waveform_batch(encode(frame, values[: _CHANNELS * arrays * _ARRAY]))


def _append(spool: Spool, batches: Sequence[WaveformBatch]) -> None:
    for batch in batches:
        spool.append(Batches(waveforms=batch), source="line1", now=_START)


def _cpu(work: Callable[[], object]) -> float:
    """Return the CPU time of some work in nanoseconds."""
    began = time.process_time_ns()
    work()
    return time.process_time_ns() - began


def _print(name: str, **found: Any) -> None:
    print(json.dumps({"name": name, **found}), flush=True)


if __name__ == "__main__":
    overhead()
