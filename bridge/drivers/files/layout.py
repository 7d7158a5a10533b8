"""The protocol of a file layout: tables of process tags, or bursts of waveforms."""

from __future__ import annotations

from collections.abc import Generator, Sequence, Set
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

import polars as pl

from bridge.drivers.files.opening import ArchiveFile
from bridge.drivers.files.values import Parsed
from historian.plant.connections import Tag

PAGE_CELLS: Final = 4_000_000
"""Approximate number of samples in a page: 250 MB in memory while they are processed."""

MOST_SLICES: Final = 4_096
"""Largest number of slices to propose: each is a transaction of the edge database and a look at the list of files."""


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


class Outline(NamedTuple):
    """What a file has, as far as that is known without reading its samples."""

    span: Span | None
    """None if it has no samples."""
    absent: frozenset[str]
    """Addresses of the archive's tags that it does not have, or not as samples."""
    names: frozenset[str]
    """What addresses could be in it, for messages."""
    problems: tuple[str, ...] = ()
    """Why it has some of them not as samples."""
    is_exact: bool = True
    """Whether nothing of the file is outside its span, and it has all addresses that are not `absent`."""
    unseen: frozenset[str] = frozenset()
    """Addresses that were not seen in it; those `absent` among them."""

    def after(self, span: Span | None, names: Set[str]) -> Outline:
        """Return the exact outline once the whole file has been read.

        Args:
            span: the span of its rows.
            names: the names in its column of tags.
        """
        absent = self.unseen - names
        return Outline(span, absent, self.names | names, self.problems, unseen=absent)


class Layout(Protocol):
    """A reader for one layout of files; one object reads the files of one request, one after another."""

    def outline(self, file: ArchiveFile, tags: Sequence[Tag]) -> Outline:
        """Return what the file has, without reading its samples.

        Raises:
            SourceError: it cannot be read, or none of its times can.
        """
        ...

    def glance(self, file: ArchiveFile, tags: Sequence[Tag]) -> Outline:
        """Return what the file has as far as a look at its ends shows; what `outline` returns if that shows nothing.

        Raises:
            SourceError: as `outline` does.
        """
        ...

    def pages(
        self, file: ArchiveFile, outline: Outline, tags: Sequence[Tag], start: datetime, end: datetime
    ) -> Generator[Parsed, None, Outline]:
        """Yield the file's samples of `tags` with start <= timestamp < end, and every row whose time cannot be parsed.

        Tags that the file does not have are left out: `outline` names them. If the outline is that of a glance, rows
        outside its span are yielded too. Returns the exact outline.

        Raises:
            SourceError: something in the file cannot be read; everything else in it has been yielded before.
        """
        ...


def within(start: datetime, end: datetime, instant: str) -> pl.Expr:
    """Return an expression that is true for start <= instant < end, and where the instant is null."""
    return pl.col(instant).is_null() | pl.col(instant).is_between(start, end, closed="left")
