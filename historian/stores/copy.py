"""Copies samples from one store to another, verified page by page, for `penstock store copy`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from historian.errors import StoreError
from historian.samples import SampleBatch
from historian.stores.protocols import Reader, Store

SOURCE = "copy"
"""Name of the source of copied samples in the target's ledger."""


@dataclass
class Copied:
    """The result of a copy."""

    samples: int = 0
    """Number of samples in the source."""
    written: int = 0
    """Number of samples in pages that the target lacked, or had with other contents."""
    pages: int = 0
    """Number of pages in which the samples were read."""


def copy(
    source: Reader, target: Store, tags: Sequence[str], *, now: datetime, advance: Callable[[int], None]
) -> Copied:
    """Copy all samples of `tags`. A page that the target already has is only compared, so that a copy can be resumed.

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
    """Return whether the target has exactly these samples in the page's range of time, by count and hash."""
    first, last = page.select(pl.col("timestamp").min(), pl.col("timestamp").max().alias("last")).row(0)
    held = list(target.read(page["tag"].unique().to_list(), first, last + timedelta(microseconds=1)))
    return bool(held) and sum(map(len, held)) == page.height and sum(map(_digest, held)) % 2**64 == _digest(page)


def _digest(page: pl.DataFrame) -> int:
    """Return a sum over row hashes, which depends neither on the order of rows nor on their division into pages."""
    return int(page.hash_rows(seed=0).cast(pl.Int128).sum()) % 2**64
