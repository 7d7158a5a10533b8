"""The protocol of a file layout: tables of process tags, or bursts of waveforms."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import polars as pl
import pyarrow as pa

from bridge.drivers.files.values import Parsed
from historian.errors import SourceError
from historian.plant.connections import Tag

PAGE_CELLS: Final = 4_000_000
"""Approximate number of samples in a page: 250 MB in memory while they are processed."""

MOST_SLICES: Final = 64
"""Largest number of slices to propose: each is a transaction of the edge database and a look at every file."""

UNREADABLE: Final = (
    SourceError,
    OSError,
    ValueError,
    TypeError,
    NotImplementedError,
    EOFError,
    struct.error,
    zlib.error,
    pa.ArrowException,
    pl.exceptions.PolarsError,
)
"""The errors that NumPy, SciPy, PyArrow and Polars raise for a damaged, truncated or foreign file."""


class ArchiveFile(NamedTuple):
    """A file of the archive."""

    path: Path
    name: str
    """Its path relative to the directory of `plant.toml`, for messages."""


class Span(NamedTuple):
    """The time span of a file's samples: earliest - slack <= t <= latest + slack."""

    earliest: datetime
    latest: datetime
    slack: timedelta = timedelta(0)

    def overlaps(self, start: datetime, end: datetime) -> bool:
        """Return whether there may be samples with start <= t < end."""
        return self.earliest - self.slack < end and self.latest + self.slack >= start


def starts_between(spans: Sequence[Span]) -> list[datetime]:
    """Return where slices begin that cut no file: files whose times overlap share one.

    If that makes more than `MOST_SLICES`, neighbours share a slice too.
    """
    starts: list[datetime] = []
    latest: datetime | None = None
    for span in sorted(spans):
        if latest is None or span.earliest > latest:
            starts.append(span.earliest)
        latest = max(latest or span.latest, span.latest)
    return starts[:: max(1, -(-len(starts) // MOST_SLICES))]


class Layout(Protocol):
    """A reader for one layout of files; one object reads the files of one request, one after another."""

    def span(self, file: ArchiveFile, tags: Sequence[Tag]) -> Span | None:
        """Return the time span of the file's samples without reading them; None if it is unknown."""
        ...

    def pages(self, file: ArchiveFile, tags: Sequence[Tag], start: datetime, end: datetime) -> Iterator[Parsed]:
        """Yield the file's samples of `tags` with start <= timestamp < end, and every row whose time cannot be parsed.

        Raises:
            SourceError: something is missing from the file; everything else in it has been yielded before.
        """
        ...


def within(start: datetime, end: datetime, instant: str) -> pl.Expr:
    """Return an expression that is true for start <= instant < end, and where the instant is null."""
    return pl.col(instant).is_null() | pl.col(instant).is_between(start, end, closed="left")
