"""The oracle of stored waveforms: a dictionary with a row a sample, and histories of writes to hold stores against."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy.typing as npt
import polars as pl
from hypothesis import strategies as st

from historian.stores.protocols import EXTREMES, GAPS, Reader
from historian.waveforms.batch import WaveformBatch, empty_waveforms, waveform_batch
from historian.waveforms.encoding import HEADS, encode
from historian.waveforms.packing import unpack
from tests.contracts.stores import EVER
from tests.historian.waveforms.rows import bits, signals

T0 = datetime(2026, 3, 1, 23, 59, 59, 990_000, tzinfo=UTC)  # histories cross midnight
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
TAGS = ("a", "b")
Sample = tuple[datetime, bytes]


@dataclass(frozen=True)
class Stretch:
    """A stretch near a grid of samples that its tag has."""

    tag: str
    index: int
    """Where on the grid it begins."""
    shift: float
    """How far its clock is from the grid, in periods."""
    values: npt.NDArray[Any]


@dataclass
class Oracle:
    """What a store must return after some writes."""

    rate: float
    held: dict[tuple[str, int], tuple[datetime, float]] = field(default_factory=dict)

    def batch(self, stretches: list[Stretch]) -> WaveformBatch:
        """Return stretches as a batch, and remember their samples."""
        period, rows = 1e6 / self.rate, []
        for each in sorted(stretches, key=lambda each: each.tag):
            start = T0 + round((each.index + each.shift) * period) * MICROSECOND
            head = pl.DataFrame([(each.tag, start, self.rate, len(each.values), 0)], schema=HEADS, orient="row")
            rows.append(encode(head, each.values))
            for number, value in enumerate(each.values):
                time = start + round(number * period) * MICROSECOND
                self.held[each.tag, each.index + number] = time, float(value)
        return waveform_batch(pl.concat(rows))

    def of(self, tag: str) -> list[tuple[datetime, float]]:
        """Return the samples of a tag in order."""
        return sorted(sample for (name, _), sample in self.held.items() if name == tag)

    def samples(self, tag: str, start: datetime, end: datetime) -> list[Sample]:
        """Return the time and the bits of each sample of a tag in a range."""
        return [(time, bits(value)) for time, value in self.of(tag) if start <= time < end]

    def extremes(self, start: datetime, end: datetime, every: timedelta) -> pl.DataFrame:
        """Return what `Overview.extremes` must return."""
        found: dict[tuple[str, datetime], list[float]] = {}
        for tag in TAGS:
            for time, value in self.of(tag):
                if start <= time < end and math.isfinite(value):
                    since = (time - datetime(1970, 1, 1, tzinfo=UTC)) % every
                    found.setdefault((tag, time - since), []).append(value)
        rows = [(tag, time, min(values), max(values)) for (tag, time), values in sorted(found.items())]
        return pl.DataFrame(rows, schema=EXTREMES, orient="row")

    def gaps(self, start: datetime, end: datetime, longer_than: timedelta) -> pl.DataFrame:
        """Return what `Overview.gaps` must return."""
        rows = []
        for tag in TAGS:
            times = [start, *(time for time, _ in self.of(tag) if start <= time < end), end]
            rows += [(tag, after, before) for after, before in pairwise(times) if before - after > longer_than]
        return pl.DataFrame(rows, schema=GAPS, orient="row")


WRITES = st.lists(
    st.lists(
        st.builds(
            Stretch, st.sampled_from(TAGS), st.integers(0, 40), st.sampled_from([-0.125, 0, 0.125]), signals(longest=20)
        ),
        min_size=1,
        max_size=2,
        unique_by=lambda each: each.tag,
    ),
    max_size=6,
)
"""Writes of stretches that overlap, come late and contradict one another."""


def stretches(store: Reader, *tags: str, start: datetime = EVER[0], end: datetime = EVER[1]) -> WaveformBatch:
    """Return the stretches of a range in one batch, in the order of time of the pages."""
    return WaveformBatch(pl.concat([empty_waveforms(), *store.read_waveforms(tags, start, end)]))


def samples_of(store: Reader, tag: str, *, start: datetime = EVER[0], end: datetime = EVER[1]) -> list[Sample]:
    """Return the time and the bits of each sample of a tag in a range, as a store returns them."""
    rows = unpack(stretches(store, tag, start=start, end=end)).select("timestamp", "value").iter_rows()
    return [(time, bits(value)) for time, value in rows]


def assert_held(store: Any, oracle: Oracle, start: datetime, end: datetime, step: timedelta) -> None:
    """Assert that a store returns what the oracle does, from a range and in total."""
    for tag in TAGS:
        assert samples_of(store, tag) == oracle.samples(tag, *EVER)
        assert samples_of(store, tag, start=start, end=end) == oracle.samples(tag, start, end)
    assert store.extremes(TAGS, start, end, every=step).equals(oracle.extremes(start, end, step))
    assert store.gaps(TAGS, start, end, longer_than=step).equals(oracle.gaps(start, end, step))
    newest = {tag: oracle.of(tag)[-1] for tag in TAGS if oracle.of(tag)}
    latest = store.latest(TAGS)
    assert dict(zip(latest["tag"], latest["timestamp"], strict=True)) == {
        tag: time for tag, (time, _) in newest.items()
    }
    finite = {tag: value if math.isfinite(value) else None for tag, (_, value) in newest.items()}
    assert dict(zip(latest["tag"], latest["value"], strict=True)) == finite
