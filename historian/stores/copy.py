"""Copies samples from one store to another, verified page by page; `penstock store copy`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from historian.errors import StoreError
from historian.samples import SampleBatch
from historian.stores.protocols import Reader, Store

SOURCE = "copy"
"""What the target's ledger calls the source of copied samples."""


@dataclass
class Copied:
    """What a copy did."""

    samples: int = 0
    """Number of samples in the source."""
    written: int = 0
    """How many of them were in pages that the target did not have, or had with other contents."""
    pages: int = 0
    """Number of pages they were read in."""


def copy(
    source: Reader, target: Store, tags: Sequence[str], *, now: datetime, advance: Callable[[int], None]
) -> Copied:
    """Copy all samples of `tags`. A page that the target already has is only compared, so that a copy can be resumed.

    Args:
        source: store to read.
        target: store to write.
        tags: whose samples.
        now: time of the writes.
        advance: called with the number of samples of each page, once they are in both.

    Returns:
        How much there was, and how much of it was written.

    Raises:
        StoreError: the target does not return what was written to it.
    """
    done = Copied()
    for page in source.read(tags, datetime(1, 1, 2, tzinfo=now.tzinfo), datetime(9999, 12, 30, tzinfo=now.tzinfo)):
        if not _has(target, page):
            target.write(page, source=SOURCE, now=now)
            if not _has(target, page):
                instants = page["timestamp"].sort()
                raise StoreError(f"the target returns other samples than were written to it, from {instants[0]} on")
            done.written += page.height
        done.samples += page.height
        done.pages += 1
        advance(page.height)
    return done


def _has(target: Reader, page: SampleBatch) -> bool:
    """Whether the target has exactly these samples in the page's range of time, by count and hash."""
    first, last = page.select(pl.col("timestamp").min(), pl.col("timestamp").max().alias("last")).row(0)
    held = list(target.read(page["tag"].unique().to_list(), first, last + timedelta(microseconds=1)))
    return bool(held) and sum(map(len, held)) == page.height and sum(map(_digest, held)) % 2**64 == _digest(page)


def _digest(page: pl.DataFrame) -> int:
    """A sum over row hashes: the same whatever the order, and however the rows are cut into pages."""
    return int(page.hash_rows(seed=0).cast(pl.Int128).sum()) % 2**64
