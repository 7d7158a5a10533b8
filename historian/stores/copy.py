"""Copies samples and waveforms from one store to another, verified page by page, for `penstock store copy`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain

import polars as pl

from historian.errors import StoreError
from historian.samples import SampleBatch
from historian.stores.protocols import Reader, Store
from historian.times import from_micros
from historian.waveforms.adjoining import digest
from historian.waveforms.batch import WaveformBatch, empty_waveforms
from historian.waveforms.timing import last_us, starts_us

SOURCE = "copy"
"""Name of the source of what was copied in the target's ledger."""
_MICROSECOND = timedelta(microseconds=1)


@dataclass
class Copied:
    """The result of a copy. Samples of stretches are counted like any others."""

    samples: int = 0
    """Number of samples in the source."""
    written: int = 0
    """Number of samples in pages that the target lacked, or had with other contents."""
    pages: int = 0
    """Number of pages in which the samples were read."""


@dataclass(frozen=True)
class _Page:
    """Samples or stretches that are to be in both stores."""

    samples: int
    first: datetime
    is_held: Callable[[], bool]
    """Returns whether the target has exactly them in their range of time."""
    write: Callable[[], None]
    """Writes them to the target."""

    def copy(self, done: Copied) -> None:
        """Write the page unless the target has it, and count it."""
        if not self.is_held():
            self.write()
            if not self.is_held():
                raise StoreError(f"the target returns other samples than were written to it, from {self.first} on")
            done.written += self.samples
        done.samples += self.samples
        done.pages += 1


def copy(
    source: Reader, target: Store, tags: Sequence[str], *, now: datetime, advance: Callable[[int], None]
) -> Copied:
    """Copy everything of `tags`. A page that the target already has is only compared, so that a copy can be resumed.

    Args:
        source: store to read.
        target: store to write.
        tags: the tags to copy.
        now: time of the writes.
        advance: called with the number of samples of each page, once they are in both.

    Returns:
        The numbers of samples found and written.

    Raises:
        StoreError: the target returned other samples than were written to it.
    """
    done, ever = Copied(), (datetime(1, 1, 2, tzinfo=now.tzinfo), datetime(9999, 12, 30, tzinfo=now.tzinfo))
    pages = (_samples(target, batch, now) for batch in source.read(tags, *ever))
    waves = (_waveforms(target, batch, now) for batch in source.read_waveforms(tags, *ever))
    for page in chain(pages, waves):
        page.copy(done)
        advance(page.samples)
    return done


def _samples(target: Store, batch: SampleBatch, now: datetime) -> _Page:
    first, last = batch.select(pl.col("timestamp").min(), pl.col("timestamp").max().alias("last")).row(0)
    tags = batch["tag"].unique().to_list()

    def is_held() -> bool:
        held = list(target.read(tags, first, last + _MICROSECOND))
        return sum(map(len, held)) == batch.height and sum(map(_digest, held)) % 2**64 == _digest(batch)

    return _Page(batch.height, first, is_held, partial(target.write, batch, source=SOURCE, now=now))


def _waveforms(target: Store, batch: WaveformBatch, now: datetime) -> _Page:
    first, last = from_micros(int(starts_us(batch).min())), from_micros(int(last_us(batch).max()))
    tags = batch["tag"].unique().to_list()

    def is_held() -> bool:
        held = pl.concat([empty_waveforms(), *target.read_waveforms(tags, first, last + _MICROSECOND)])
        return digest(held.sort("tag", "timestamp")) == digest(batch)  # however stretches are divided

    count = int(batch["count"].sum())
    return _Page(count, first, is_held, partial(target.write_waveforms, batch, source=SOURCE, now=now))


def _digest(page: pl.DataFrame) -> int:
    """Return a sum over row hashes, which depends neither on the order of rows nor on their division into pages."""
    return int(page.hash_rows(seed=0).cast(pl.Int128).sum()) % 2**64
