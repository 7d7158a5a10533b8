"""What the spool keeps and returns: samples and stretches that were accepted together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from bridge.drivers.raw_rows import number_of_samples
from historian.samples import SampleBatch, empty_batch, newest_wins
from historian.waveforms.batch import WaveformBatch, empty_waveforms
from historian.waveforms.joining import newest_wins_waveforms

_SAMPLE_BYTES: Final = 48
"""Approximate bytes of a sample in memory."""


class Batches(NamedTuple):
    """Samples and stretches that were accepted together."""

    samples: SampleBatch = empty_batch()
    waveforms: WaveformBatch = empty_waveforms()

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a sample nor a stretch."""
        return self.samples.is_empty() and self.waveforms.is_empty()

    @property
    def total(self) -> int:
        """How many samples there are, also in stretches."""
        return self.samples.height + number_of_samples(self.waveforms)

    @property
    def memory(self) -> int:
        """Approximate size in memory, in bytes."""
        return _SAMPLE_BYTES * self.samples.height + int(self.waveforms["values"].bin.size().sum())


@dataclass(frozen=True)
class SpoolItem:
    """The oldest samples and stretches of a source that have not been delivered to a sink yet."""

    source: str
    first: int
    last: int
    """Ids of the first and last spool row it was made of, both included."""
    rows: int
    """Number of samples in these rows, repeats included."""
    batches: Batches
    covered: pl.DataFrame
    """Intervals that are completely in the store once this item has been written to it."""
    more: bool
    """Whether more batches of the source wait after this item."""


def joined(batches: Sequence[Batches]) -> Batches:
    """Return several batches as one, in which the newest sample and the newest stretch count.

    Rows of valid batches make a valid one, so they are not checked again.
    """
    samples = [each.samples for each in batches if each.samples.height]
    waveforms = [each.waveforms for each in batches if each.waveforms.height]
    return Batches(
        SampleBatch(newest_wins(pl.concat(samples))) if samples else empty_batch(),
        WaveformBatch(newest_wins_waveforms(pl.concat(waveforms))) if waveforms else empty_waveforms(),
    )
