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

Tables are .csv, .txt (both also .gz) or .parquet. The other keys are in `files_options.Options`.

Times without a zone need `timezone`; those that the clock change makes ambiguous are rejected, never guessed. The
sample rate of a waveform is its point's. A file that cannot be read stops no other; all such are told at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from glob import glob
from typing import Final, cast

from bridge.drivers.files.layout import UNREADABLE, ArchiveFile, Layout, Span
from bridge.drivers.files.options import Columns, Options, suffix
from bridge.drivers.files.tables import SlowTables
from bridge.drivers.files.waveforms import WaveformFiles
from bridge.drivers.protocols import Driver, Page
from historian.errors import ConfigError, Problem, SourceError
from historian.plant.connections import ConnectionConfig, Tag

_INSTANT: Final = timedelta(microseconds=1)


class FilesArchive:
    """See `bridge.drivers.protocols.Archive`; the module says what it reads."""

    def __init__(self, feed: ConnectionConfig) -> None:
        """Raises `ConfigError` for tags that the layout cannot bring."""
        self._feed = feed
        self._options = cast(Options, feed.options)
        self._spans: dict[tuple[str, int, int], Span | None] = {}
        _check_tags(feed, self._options)

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> Iterator[Page]:
        """See `Archive.read`.

        Raises:
            SourceError: files are missing or unreadable; everything that can be read was given before.
        """
        failures: list[str] = []
        yield from self._pages([tag for tag in self._feed.tags if tag.name in tags], start, end, failures)
        if failures:
            told = "\n".join(failures)
            raise SourceError(f"archive {self._feed.name}: what could be read was read, but not\n{told}")

    def extent(self) -> tuple[datetime, datetime]:
        """See `Archive.extent`. Reads the times of all files, and samples only where the first and the last may be."""
        layout, failures = self._layout(), list[str]()
        spans = [span for file in self._files() if (span := self._span(layout, file, failures))]
        if not spans:
            told = "\n".join(["it has no times that can be read", *failures])
            raise SourceError(f"archive {self._feed.name}: {told}")
        earliest, latest = min(span.earliest for span in spans), max(span.latest for span in spans)
        slack = max(span.slack for span in spans)
        if not slack:
            return earliest, latest + _INSTANT
        head = self._pages(self._feed.tags, earliest - slack, earliest + _INSTANT, failures)
        tail = self._pages(self._feed.tags, latest, latest + slack + _INSTANT, failures)
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
                failures.append(_told(file, error))

    def _layout(self) -> Layout:
        return WaveformFiles(self._options) if self._options.layout == "waveform" else SlowTables(self._options)

    def _files(self) -> list[ArchiveFile]:
        root = self._feed.root
        names = sorted(glob(self._options.path, root_dir=root, recursive=True))  # noqa: PTH207 (may be absolute)
        files = [ArchiveFile(root / name, name) for name in names if suffix(name) and (root / name).is_file()]
        if not files:
            raise SourceError(
                f"archive {self._feed.name}: no file matches {self._options.path!r} in {root}; check path"
            )
        return files

    def _span(self, layout: Layout, file: ArchiveFile, failures: list[str]) -> Span | None:
        """The file's span, remembered for as long as the file stays as it is."""
        try:
            state = file.path.stat()
            key = (file.name, state.st_size, state.st_mtime_ns)
            if key not in self._spans:
                self._spans[key] = layout.span(file, self._feed.tags)
            return self._spans[key]
        except UNREADABLE as error:
            failures.append(_told(file, error))
            return None


def _told(file: ArchiveFile, error: Exception) -> str:
    """What is wrong with a file, on one line."""
    if isinstance(error, SourceError):
        return f"{file.name}: {error}"
    first_line = next(iter(str(error).splitlines()), type(error).__name__)  # hints for programmers follow
    return f"{file.name}: cannot be read: {first_line}"


def _check_tags(feed: ConnectionConfig, options: Options) -> None:
    """Raises `ConfigError` for tags that the layout cannot bring."""
    problems = []
    for tag in feed.tags if options.layout == "waveform" else ():
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
