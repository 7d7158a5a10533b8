"""Waveforms in the lake: writing them, their size on disk, and a plot of a month, compared with samples.

Both sides run turn by turn, so that a busy machine slows both; medians of CPU time. Prints JSON lines. Run it with
`python -m benchmarks.lake_waveforms`; the plot needs 1.5 GB of disk for a minute.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from historian.samples import SampleBatch, sample_batch
from historian.stores.lake.store import LakeStore
from historian.waveforms.batch import WaveformBatch, waveform_batch
from historian.waveforms.encoding import HEADS, decode, encode
from historian.waveforms.packing import unpack

_RATE: Final = 25_600.0
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_BATCH: Final = 1_000_000
_ROUNDS: Final = 5
_DAYS, _BURSTS, _BURST = 30, 1440, 16_384
"""Days of a plot, bursts a day (one in each minute; pixels cut some), and samples in a burst (0.64 s)."""
_PIXELS: Final = 2000

_SIDES: Final = ("samples", "waveforms")


class _Written(NamedTuple):
    """What writing took."""

    seconds: float
    """CPU time."""
    disk_bytes: int


def main() -> None:
    """All figures."""
    write_and_size()
    year_plot()


def write_and_size() -> None:
    """Writing 4 million samples of one channel, as stretches and as samples, and what the stretches take on disk."""
    counts = (np.clip(np.random.default_rng(0).normal(size=4 * _BATCH), -4, 4) * 8191).astype(np.int16)
    signals: dict[str, npt.NDArray[Any]] = {"int16": counts, "float32": counts / np.float32(3000.1)}
    for kind, values in signals.items():
        waves = list(_batches(values))
        samples = [sample_batch(unpack(batch)) for batch in waves]
        turns = [_written(samples, waves) for _ in range(1 + _ROUNDS)][1:]
        ratio = median(rows.seconds / stretches.seconds for rows, stretches in turns)
        each = {
            f"{name}_ns": median(turn[at].seconds for turn in turns) / len(values) * 1e9
            for at, name in enumerate(_SIDES)
        }
        _print("lake_waveform_write_vs_samples", ratio=ratio, values=kind, **each)
        sizes = {name: turns[0][at].disk_bytes / len(values) for at, name in enumerate(_SIDES)}
        _print("lake_waveform_bytes", values=kind, **sizes)


def year_plot() -> None:
    """Lowest and highest value in 2,000 pixels of 30 days of one channel, and reading its samples to an array."""
    random = np.random.default_rng(0)
    burst = (random.normal(size=_BURSTS * _BURST) * 5000).astype(np.int16)
    with TemporaryDirectory() as root:
        store = LakeStore(Path(root))
        for day in range(_DAYS):
            late = random.uniform(0, 59, _BURSTS)
            starts = [_START + timedelta(days=day, seconds=60 * each + late[each]) for each in range(_BURSTS)]
            heads = {"tag": "a", "timestamp": starts, "sample_rate": _RATE, "count": _BURST, "quality": 0}
            batch = waveform_batch(encode(pl.DataFrame(heads, schema=HEADS), burst, divisor=3276.8))
            store.write_waveforms(batch, source="benchmark", now=_START)
        span = _START, _START + timedelta(days=_DAYS)
        every = (span[1] - span[0]) / _PIXELS

        def plot() -> None:
            assert store.extremes(["a"], *span, every=every).height == _PIXELS

        def read() -> None:
            found = sum(len(decode(page).values) for page in store.read_waveforms(["a"], *span))
            assert found == _DAYS * _BURSTS * _BURST

        turns = [(_cpu(read), _cpu(plot)) for _ in range(4)][1:]
    reading, plotting = (median(turn[side] for turn in turns) for side in (0, 1))
    ratio = median(theirs / ours for theirs, ours in turns)
    _print("year_plot", ratio=ratio, samples=_DAYS * _BURSTS * _BURST, read_s=reading, plot_s=plotting)


def _batches(values: npt.NDArray[Any]) -> Iterator[WaveformBatch]:
    for first in range(0, len(values), _BATCH):
        part = values[first : first + _BATCH]
        start = _START + timedelta(seconds=first / _RATE)
        head = pl.DataFrame([("a", start, _RATE, len(part), 0)], schema=HEADS, orient="row")
        yield waveform_batch(encode(head, part, divisor=3276.8 if part.dtype == np.int16 else 1.0))


def _written(samples: list[SampleBatch], waves: list[WaveformBatch]) -> tuple[_Written, _Written]:
    """Write the same to two lakes that exist already."""
    with TemporaryDirectory() as root:
        rows, stretches = LakeStore(Path(root) / "samples"), LakeStore(Path(root) / "waveforms")
        rows.write(sample_batch(samples[0].head(1)), source="benchmark", now=_START)
        stretches.write_waveforms(waveform_batch(waves[0].head(1)), source="benchmark", now=_START)
        before = process_time()
        for batch in samples:
            rows.write(batch, source="benchmark", now=_START)
        between = process_time()
        for wave in waves:
            stretches.write_waveforms(wave, source="benchmark", now=_START)
        seconds = between - before, process_time() - between
        return _Written(seconds[0], rows.size()["disk_bytes"]), _Written(seconds[1], stretches.size()["disk_bytes"])


def _cpu(work: Callable[[], None]) -> float:
    before = process_time()
    work()
    return process_time() - before


def _print(name: str, **values: Any) -> None:
    print(json.dumps({"name": name, **values}), flush=True)


if __name__ == "__main__":
    main()
