"""`Signal`: the samples of one tag from one side, in the order of time, in the form in which sides are compared. Pure.

Of waveforms, the time of a sample is known to within the rounding of timestamps, or half a period if its source has a
row a sample: stretches are cut and joined. So samples of both sides are matched by the nearest time first, and those of
the store get the time of their counterpart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from historian.plant.connections import Tag
from historian.samples import SCHEMA, SampleBatch
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.packing import unpack
from historian.waveforms.timing import SECOND, Booleans, Integers, runs_of


@dataclass(frozen=True)
class Signal:
    """Samples of one tag, sorted by time; the arrays are of one length."""

    times: Integers
    """Microseconds since the epoch, ascending; of a sample that was matched, that of its counterpart."""
    recorded: Integers
    """Microseconds since the epoch, as this side has them."""
    bits: Integers
    """The 64 bits of each value; those of NaN for a null value and for every NaN."""
    quality: npt.NDArray[np.uint32]
    """Codes."""
    texts: pl.Series | None = None
    """Texts; None if no sample has one. An empty text is none: files do not tell them apart."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.times)

    def part(self, first: int, last: int) -> Signal:
        """Return the samples from index `first` to `last`, excluded; nothing is copied."""
        texts = None if self.texts is None else self.texts[first:last]
        few = slice(first, last)
        return Signal(self.times[few], self.recorded[few], self.bits[few], self.quality[few], texts)

    def chosen(self, keep: Booleans) -> Signal:
        """Return some of the samples."""
        if keep.all():
            return self
        texts = None if self.texts is None else self.texts.filter(pl.Series(keep))
        return Signal(self.times[keep], self.recorded[keep], self.bits[keep], self.quality[keep], texts)

    def equals(self, other: Signal) -> bool:
        """Return whether both have the same samples: time, value, quality and text."""
        pairs = ((self.times, other.times), (self.bits, other.bits), (self.quality, other.quality))
        return all(np.array_equal(*pair) for pair in pairs) and same_texts(self.texts, other.texts)


def same_texts(some: pl.Series | None, others: pl.Series | None) -> bool:
    """Return whether two columns of texts of one length are the same; None is a column of nulls."""
    if some is not None and others is not None:
        return some.equals(others, null_equal=True)
    return all(each is None or each.null_count() == len(each) for each in (some, others))


NOTHING = Signal(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint32))
"""A signal without samples."""


def slack_us(tag: Tag) -> int:
    """Return how far the times of a sample may be apart on the two sides: 0, or just below half a period."""
    return 0 if tag.sample_rate is None else max(1, int(SECOND / tag.sample_rate / 2) - 1)


def sample_signals(batches: Iterable[SampleBatch]) -> dict[str, Signal]:
    """Return tag -> its samples.

    Args:
        batches: each wholly later than the one before.
    """
    return {tag: signal_of(rows) for tag, rows in _by_tag(batches)}


def waveform_signals(batches: Iterable[WaveformBatch]) -> dict[str, Signal]:
    """Return tag -> the samples of its stretches.

    Args:
        batches: each wholly later than the one before.
    """
    return {tag: signal_of(unpack(rows)) for tag, rows in _by_tag(batches)}


def _by_tag(batches: Iterable[pl.DataFrame]) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each tag with its rows, of batches that are sorted by tag."""
    found: dict[str, list[pl.DataFrame]] = {}
    for batch in batches:
        for first, last in runs_of(batch["tag"]):
            found.setdefault(batch.item(first, "tag"), []).append(batch[first:last])
    yield from ((tag, pl.concat(parts, rechunk=True)) for tag, parts in sorted(found.items()))


def signal_of(rows: pl.DataFrame) -> Signal:
    """Return the samples of one tag.

    Args:
        rows: columns of `SCHEMA` and any others, in the order of time.
    """
    times, values = rows["timestamp"].to_physical().to_numpy(), rows["value"].to_numpy()
    undefined = np.isnan(values)
    if undefined.any():
        values = np.where(undefined, np.nan, values)
    texts = None if rows["text"].null_count() == rows.height else rows["text"].cast(SCHEMA["text"]).replace("", None)
    return Signal(times, times, values.view(np.int64), rows["quality"].to_numpy(), texts)


def aligned(store: Signal, source: Signal, slack: int) -> Signal:
    """Return the samples of the store, each with the time of the nearest sample of the source within the slack.

    Args:
        store: samples of the store.
        source: samples of the source.
        slack: microseconds; less than half the distance of two samples of one side.
    """
    if not slack or not len(source) or not len(store):
        return store
    first, count = int(np.searchsorted(store.times, source.times[0] - slack)), len(source)
    opposite = store.times[first : first + count]
    if len(opposite) == count and (np.abs(opposite - source.times) <= slack).all():
        times = store.times.copy()
        times[first : first + count] = source.times
        return replace(store, times=times)
    return replace(store, times=_matched(store.times, source.times, slack))


def _matched(times: Integers, others: Integers, slack: int) -> Integers:
    """Return each time, or the nearest of the others if it is within the slack and no earlier time has taken it."""
    after = np.searchsorted(others, times).clip(1, max(1, len(others) - 1))
    if len(others) == 1:
        after = np.zeros(len(times), np.int64)
        near = after
    else:
        near = np.where(times - others[after - 1] <= others[after] - times, after - 1, after)
    close = np.abs(others[near] - times) <= slack
    close[1:] &= (near[1:] != near[:-1]) | ~close[:-1]
    return np.where(close, others[near], times)
