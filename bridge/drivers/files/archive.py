"""The `files` driver: an archive in a folder of files, as historians, loggers and measurement systems export them.

    [archives.history]
    driver = "files"
    path = "history/*.csv"
    layout = "long"
    timezone = "Europe/Berlin"
    tags = "tags/history.csv"

    layout      a row, or a burst, is                        a tag's address is
    long        timestamp, tag, value, perhaps quality       its name in the file
    wide        timestamp and a column a tag                 its column
    waveform    .parquet: timestamp and a list a tag         its column
                .mat: the whole file                         its variable, or struct.field
                .csv, .txt: the whole file, no header        its column's number, from 1

Tables are .csv, .txt (both also .gz) or .parquet. The other keys are in `options.Options`.

Times without a zone need `timezone`; those that the clock change makes ambiguous are rejected, never guessed. The
sample rate of a waveform is its point's. A file that cannot be read stops no other; all such files are named last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from glob import glob
from typing import Final, cast

from bridge.drivers.files.layout import UNREADABLE, ArchiveFile, Layout, Span
from bridge.drivers.files.options import Columns, Options, suffix
from bridge.drivers.files.tables import TableFiles
from bridge.drivers.files.waveforms import WaveformFiles
from bridge.drivers.protocols import Driver, Extent, Page
from bridge.drivers.threads import in_thread
from historian.errors import ConfigError, Problem, SourceError
from historian.plant.connections import ConnectionConfig, Tag

_INSTANT: Final = timedelta(microseconds=1)


class FilesArchive:
    """An `Archive`; the module says what it reads."""

    def __init__(self, connection: ConnectionConfig) -> None:
        """Raises `ConfigError` for tags that the layout cannot bring."""
        self._connection = connection
        self._options = cast(Options, connection.options)
        self._spans: dict[tuple[str, int, int], Span | None] = {}
        _check_tags(connection, self._options)

    async def open(self) -> None:
        """See `Archive.open`: there is nothing to connect to."""

    async def close(self) -> None:
        """See `Archive.close`."""

    async def extents(self) -> Mapping[str, Extent]:
        """See `Archive.extents`. Reads the times of all files, and samples only where the first and last may be."""
        first, end = await asyncio.to_thread(self._extent)
        return {tag.name: (first, end) for tag in self._connection.tags}

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`.

        Raises:
            SourceError: files are missing or unreadable; everything that can be read was given before.
        """
        return in_thread(self._read(tags, start, end))

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
        first = [instant for page in head if isinstance(instant := page.rows["timestamp"].min(), datetime)]
        last = [instant for page in tail if isinstance(instant := page.rows["timestamp"].max(), datetime)]
        return min(first, default=earliest), max(last, default=latest) + _INSTANT

    def _pages(self, tags: Sequence[Tag], start: datetime, end: datetime, failures: list[str]) -> Iterator[Page]:
        """The pages of all files that can be read; what is wrong with the others goes to `failures`."""
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
        """The file's span, remembered for as long as the file stays as it is."""
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
    """What is wrong with a file, on one line."""
    if isinstance(error, SourceError):
        return f"{file.name}: {error}"
    first_line = next(iter(str(error).splitlines()), type(error).__name__)  # hints for programmers follow
    return f"{file.name}: cannot be read: {first_line}"


def _check_tags(connection: ConnectionConfig, options: Options) -> None:
    """Raises `ConfigError` for tags that the layout cannot bring."""
    problems = []
    for tag in connection.tags if options.layout == "waveform" else ():
        if tag.sample_rate is None:
            problems.append(
                Problem(*tag.listed, f"has no sample rate: waveforms fill vibration points, not {tag.kind} ones")
            )
        if suffix(options.path).startswith((".csv", ".txt")) and not tag.address.isdecimal():
            problems.append(
                Problem(*tag.listed, f"the address {tag.address!r} is not a column's number, counted from 1")
            )
    if problems:
        raise ConfigError(problems)


driver = Driver(options=Options, address=Columns, archive=FilesArchive)
