"""The archive over a folder of files; `bridge.drivers.files.driver` is its manual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from glob import glob
from typing import Final, cast

from bridge.drivers.files.driver import check_tags
from bridge.drivers.files.layout import UNREADABLE, ArchiveFile, Layout, Span, starts_between
from bridge.drivers.files.options import Options, suffix
from bridge.drivers.files.tables import TableFiles
from bridge.drivers.files.waveforms import WaveformFiles
from bridge.drivers.protocols import Extent, Page
from bridge.drivers.threads import in_thread
from historian.errors import SourceError
from historian.plant.connections import ConnectionConfig, Tag

_INSTANT: Final = timedelta(microseconds=1)


class FilesArchive:
    """An `Archive` over files; `bridge.drivers.files.driver` is its manual."""

    def __init__(self, connection: ConnectionConfig) -> None:
        """Check the tags. Raises `ConfigError` for tags that the layout cannot provide."""
        self._connection = connection
        self._options = cast(Options, connection.options)
        self._spans: dict[tuple[str, int, int], Span | None] = {}
        check_tags(connection)

    async def open(self) -> None:
        """See `Archive.open`: there is nothing to connect to."""

    async def close(self) -> None:
        """See `Archive.close`."""

    async def extents(self) -> Mapping[str, Extent]:
        """See `Archive.extents`. Reads the times of all files, and samples only where the first or last may be."""
        first, end = await asyncio.to_thread(self._extent)
        return {tag.name: (first, end) for tag in self._connection.tags}

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`.

        Raises:
            SourceError: files are missing or unreadable; everything readable has been yielded before.
        """
        return in_thread(self._read(tags, start, end))

    async def slice_starts(self, start: datetime, end: datetime) -> Sequence[datetime]:
        """See `ProposesSlices.slice_starts`: a table is read as a whole, so each lies in one slice.

        Waveforms make no proposal: only the bursts of a slice are read.
        """
        if self._options.layout == "waveform":
            return []
        return await asyncio.to_thread(self._slice_starts, start, end)

    def _read(self, tags: Sequence[str], start: datetime, end: datetime) -> Generator[Page]:
        failures: list[str] = []
        yield from self._pages([tag for tag in self._connection.tags if tag.name in tags], start, end, failures)
        if failures:
            listed = "\n".join(failures)
            raise SourceError(f"archive {self._connection.name}: what could be read was read, but not\n{listed}")

    def _extent(self) -> Extent:
        layout, failures = self._layout(), list[str]()
        spans = [span for file in self._files() if (span := self._span(layout, file, failures))]
        if not spans:
            listed = "\n".join(["it has no times that can be read", *failures])
            raise SourceError(f"archive {self._connection.name}: {listed}")
        earliest, latest = min(span.earliest for span in spans), max(span.latest for span in spans)
        slack = max(span.slack for span in spans)
        if not slack:
            return earliest, latest + _INSTANT
        tags = self._connection.tags
        head = self._pages(tags, earliest - slack, earliest + _INSTANT, failures)
        tail = self._pages(tags, latest, latest + slack + _INSTANT, failures)
        first = [instant for page in head if isinstance(instant := page.rows.spans()["first"].min(), datetime)]
        last = [instant for page in tail if isinstance(instant := page.rows.spans()["last"].max(), datetime)]
        return min(first, default=earliest), max(last, default=latest) + _INSTANT

    def _slice_starts(self, start: datetime, end: datetime) -> list[datetime]:
        layout = self._layout()
        spans = [self._span(layout, file, []) for file in self._files()]  # `read` reports problems
        return starts_between([span for span in spans if span is not None and span.overlaps(start, end)])

    def _pages(self, tags: Sequence[Tag], start: datetime, end: datetime, failures: list[str]) -> Iterator[Page]:
        """Yield the pages of all readable files; problems with the others are added to `failures`."""
        layout = self._layout()
        for file in self._files():
            known = len(failures)
            span = self._span(layout, file, failures)
            if len(failures) > known or (span is not None and not span.overlaps(start, end)):
                continue
            try:
                for rows, rejected in layout.pages(file, tags, start, end):
                    yield Page(rows, file.name, rejected)
            except UNREADABLE as error:
                failures.append(_describe(file, error))

    def _layout(self) -> Layout:
        return WaveformFiles(self._options) if self._options.layout == "waveform" else TableFiles(self._options)

    def _files(self) -> list[ArchiveFile]:
        root = self._connection.root
        names = sorted(glob(self._options.path, root_dir=root, recursive=True))  # noqa: PTH207 (may be absolute)
        files = [ArchiveFile(root / name, name) for name in names if suffix(name) and (root / name).is_file()]
        if not files:
            raise SourceError(
                f"archive {self._connection.name}: no file matches {self._options.path!r} in {root}; check path"
            )
        return files

    def _span(self, layout: Layout, file: ArchiveFile, failures: list[str]) -> Span | None:
        """Return the file's span, cached while the file does not change."""
        try:
            state = file.path.stat()
            key = (file.name, state.st_size, state.st_mtime_ns)
            if key not in self._spans:
                self._spans[key] = layout.span(file, self._connection.tags)
            return self._spans[key]
        except UNREADABLE as error:
            failures.append(_describe(file, error))
            return None


def _describe(file: ArchiveFile, error: Exception) -> str:
    """Return the problem with a file on one line."""
    if isinstance(error, SourceError):
        return f"{file.name}: {error}"
    first_line = next(iter(str(error).splitlines()), type(error).__name__)  # hints for programmers follow
    return f"{file.name}: cannot be read: {first_line}"
