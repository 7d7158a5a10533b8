"""Batches for the tests of the spool."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from hypothesis import strategies as st

from bridge.edge.batches import Batches
from historian.samples import SCHEMA, SampleBatch, sample_batch
from historian.times import from_micros
from historian.waveforms.batch import WaveformBatch, waveform_batch
from tests.historian.waveforms.rows import stretch

T0 = datetime(2026, 3, 1, tzinfo=UTC)
SAMPLE = Batches(sample_batch(pl.DataFrame([("a", T0, 0.0, None, 0)], schema=SCHEMA, orient="row"))).memory
"""What a sample counts towards the size of an item."""

samples = st.tuples(
    st.sampled_from(["a", "käse", 'x"y']),
    st.integers(0, 4_000_000_000_000_000).map(from_micros),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.text(max_size=8),
    st.integers(0, 2**32 - 1),
)


def numbered(first: int, count: int, *, tag: str = "a") -> SampleBatch:
    """A sample a second whose value is its number."""
    rows = [(tag, T0 + timedelta(seconds=number), float(number), None, 0) for number in range(first, first + count)]
    return sample_batch(pl.DataFrame(rows, schema=SCHEMA, orient="row"))


def bursts(first: int, count: int, *, encoding: str = "float32", tag: str = "a") -> WaveformBatch:
    """So many arrays of 0.1 s at 25.6 kHz, from the one with this number on; they join."""
    values = np.random.default_rng(first).normal(size=2_560 * count)
    content = np.rint(values * 5000).astype(np.int16) if encoding == "int16" else values.astype(encoding)
    frames = [
        stretch(100_000 * (first + number), content[2_560 * number : 2_560 * (number + 1)], rate=25_600.0, tag=tag)
        for number in range(count)
    ]
    return waveform_batch(pl.concat(frames))
