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
    """In the range, in the source."""
    written: int = 0
    """Of them, those that the target lacked or had otherwise."""
    pages: int = 0


def copy(
    source: Reader, target: Store, tags: Sequence[str], *, now: datetime, advance: Callable[[int], None]
) -> Copied:
    """Brings every sample of `tags` into the target. A page the target has is only compared, so a copy resumes.

    Raises:
        StoreError: the target does not give back what was written to it.
    """
    done = Copied()
    for page in source.read(tags, datetime(1, 1, 2, tzinfo=now.tzinfo), datetime(9999, 12, 30, tzinfo=now.tzinfo)):
        if not _has(target, page):
            target.write(page, source=SOURCE, now=now)
            if not _has(target, page):
                instants = page["timestamp"].sort()
                raise StoreError(f"the target gives back other samples than it was given from {instants[0]} on")
            done.written += page.height
        done.samples += page.height
        done.pages += 1
        advance(page.height)
    return done


def _has(target: Reader, page: SampleBatch) -> bool:
    """Whether the target holds just these samples in the page's stretch of time, by count and hash."""
    first, last = page.select(pl.col("timestamp").min(), pl.col("timestamp").max().alias("last")).row(0)
    held = list(target.read(page["tag"].unique().to_list(), first, last + timedelta(microseconds=1)))
    return bool(held) and sum(map(len, held)) == page.height and sum(map(_digest, held)) % 2**64 == _digest(page)


def _digest(page: pl.DataFrame) -> int:
    """A sum over row hashes: the same whatever the order, and however the rows are cut into pages."""
    return int(page.hash_rows(seed=0).cast(pl.Int128).sum()) % 2**64
