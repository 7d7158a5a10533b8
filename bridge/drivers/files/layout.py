"""What the two kinds of files, tables of process tags and bursts of waveforms, have in common."""

from __future__ import annotations

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
"""Samples in a page, about: 250 MB while they are on their way."""

UNREADABLE: Final = (
    SourceError,
    OSError,
    ValueError,
    TypeError,
    NotImplementedError,
    EOFError,
    zlib.error,
    pa.ArrowException,
    pl.exceptions.PolarsError,
)
"""What reading a damaged, truncated or foreign file may raise: NumPy's, SciPy's, PyArrow's and Polars' ways."""


class ArchiveFile(NamedTuple):
    """A file of the archive."""

    path: Path
    name: str
    """Its path as people know it: relative to `plant.toml`, where the archive's pattern is."""


class Span(NamedTuple):
    """Where a file's samples lie: earliest - slack <= t <= latest + slack."""

    earliest: datetime
    latest: datetime
    slack: timedelta = timedelta(0)

    def overlaps(self, start: datetime, end: datetime) -> bool:
        """Whether there may be samples with start <= t < end."""
        return self.earliest - self.slack < end and self.latest + self.slack >= start


class Layout(Protocol):
    """How samples lie in files; one object reads the files of one request, one after another."""

    def span(self, file: ArchiveFile, tags: Sequence[Tag]) -> Span | None:
        """When the file's samples were taken, without reading them; None if it does not say."""
        ...

    def pages(self, file: ArchiveFile, tags: Sequence[Tag], start: datetime, end: datetime) -> Iterator[Parsed]:
        """The file's samples of `tags` with start <= timestamp < end, and every row whose time cannot be read.

        Raises:
            SourceError: something is missing from the file; what the rest of it holds was given before.
        """
        ...


def within(start: datetime, end: datetime, instant: str) -> pl.Expr:
    """True for start <= instant < end, and where there is no instant."""
    return pl.col(instant).is_null() | pl.col(instant).is_between(start, end, closed="left")
