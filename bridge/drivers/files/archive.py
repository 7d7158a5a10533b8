"""The archive over a folder of files; `bridge.drivers.files.driver` is its manual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from glob import glob
from typing import Final, NamedTuple, cast

import polars as pl

from bridge.drivers.files.driver import check_tags
from bridge.drivers.files.layout import Layout, Outline, starts_between
from bridge.drivers.files.names import nearest
from bridge.drivers.files.opening import ArchiveFile, members
from bridge.drivers.files.options import Options
from bridge.drivers.files.tables import TableFiles
from bridge.drivers.files.values import Parsed
from bridge.drivers.files.waveforms import WaveformFiles
from bridge.drivers.protocols import Extent, Page
from bridge.drivers.threads import in_thread
from historian.errors import SourceError
from historian.logs import get_logger
from historian.plant.connections import ConnectionConfig, Tag

_INSTANT: Final = timedelta(microseconds=1)
_MOST_NEAR: Final = 20
"""Number of missing tags for which the nearest names are looked up, which takes time with many names."""

_MOST_READS: Final = 4

log = get_logger(__name__)


class _Found(NamedTuple):
    """The files of the archive."""

    outlines: dict[ArchiveFile, Outline]
    """Those that can be read, in order."""
    problems: list[str]
    """The others, each with the reason, and tags that are in no file."""
    absent: frozenset[str]
    """Names of these tags."""


class FilesArchive:
    """An `Archive` over files; `bridge.drivers.files.driver` is its manual."""

    def __init__(self, connection: ConnectionConfig) -> None:
        """Check the tags. Raises `ConfigError` for tags that the layout cannot provide."""
        self._connection = connection
        self._options = cast(Options, connection.options)
        self._outlines: dict[tuple[str, int, int], Outline | str] = {}
        self._known: _Found | None = None
        check_tags(connection)

    async def open(self) -> None:
        """See `Archive.open`: there is nothing to connect to."""

    async def close(self) -> None:
        """See `Archive.close`."""

    async def extents(self) -> Mapping[str, Extent]:
        """See `Archive.extents`. Reads the times of all files, and samples only where the first or last may be."""
        found, (first, end) = await asyncio.to_thread(self._extent)
        return {tag.name: (first, end) for tag in self._connection.tags if tag.name not in found.absent}

    async def outlook(self) -> Mapping[str, Extent]:
        """See `LearnsByReading.outlook`. Reads the ends of large files of text, and what `extents` reads of others."""
        found, (first, end) = await asyncio.to_thread(self._extent, glance=True)
        return {tag.name: (first, end) for tag in self._connection.tags if tag.name not in found.absent}

    def unseen(self, tags: Collection[str]) -> Collection[str]:
        """See `LearnsByReading.unseen`."""
        outlines = [] if self._known is None else self._known.outlines.values()
        nowhere = frozenset.intersection(*(outline.unseen for outline in outlines)) if outlines else frozenset()
        return {tag.name for tag in self._connection.tags if tag.name in tags and tag.address in nowhere}

    def concurrent_reads(self) -> int:
        """See `ReadsConcurrently.concurrent_reads`: each file is parsed by several cores already."""
        return _MOST_READS

    async def problems(self) -> Sequence[str]:
        """See `ReportsProblems.problems`."""
        found = await asyncio.to_thread(self._found, glance=True)
        return [f"archive {self._connection.name}: {each}" for each in found.problems]

    def names(self) -> tuple[frozenset[str], Sequence[str]]:
        """Return what addresses could be in the tables, and what cannot be read; reads all files.

        Raises:
            SourceError: no file matches the path.
        """
        if self._options.layout == "waveform":
            return frozenset(), ["the addresses of waveforms are those of docs/files.md; they are not listed"]
        found = self._found()
        return frozenset[str]().union(*(outline.names for outline in found.outlines.values())), found.problems

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`.

        Raises:
            SourceError: something in a file cannot be read; everything readable has been yielded before.
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

    def _extent(self, *, glance: bool = False) -> tuple[_Found, Extent]:
        found, failures = self._found(glance=glance), list[str]()
        spans = [outline.span for outline in found.outlines.values() if outline.span]
        if not spans or len(found.absent) == len(self._connection.tags):
            nothing = "it has no times that can be read" if not spans else "it has none of the tags"
            raise SourceError(f"archive {self._connection.name}: " + "\n".join([nothing, *found.problems]))
        earliest, latest = min(span.earliest for span in spans), max(span.latest for span in spans)
        slack = max(span.slack for span in spans)
        if not slack:
            return found, (earliest, latest + _INSTANT)
        tags = self._connection.tags
        head = self._pages(tags, earliest - slack, earliest + _INSTANT, failures)
        tail = self._pages(tags, latest, latest + slack + _INSTANT, failures)
        first = [instant for page in head if isinstance(instant := page.rows.spans()["first"].min(), datetime)]
        last = [instant for page in tail if isinstance(instant := page.rows.spans()["last"].max(), datetime)]
        return found, (min(first, default=earliest), max(last, default=latest) + _INSTANT)

    def _slice_starts(self, start: datetime, end: datetime) -> list[datetime]:
        spans = [outline.span for outline in self._listed().outlines.values()]
        return starts_between([span for span in spans if span is not None and span.overlaps(start, end)])

    def _pages(self, tags: Sequence[Tag], start: datetime, end: datetime, failures: list[str]) -> Iterator[Page]:
        """Yield the pages of all readable files; problems within them are added to `failures`."""
        layout = self._layout()
        for file, outline in list(self._listed().outlines.items()):
            if outline.span is None or not outline.span.overlaps(start, end):
                continue
            held = [tag for tag in tags if tag.address not in outline.absent]
            if len(held) < len(tags):
                absent = sorted({tag.address for tag in tags} & outline.absent)
                log.info("a file lacks some of the tags", source=self._connection.name, file=file.name, absent=absent)
            try:
                if held:
                    exact = yield from _pages_of(file, layout.pages(file, outline, held, start, end))
                    self._learn(file, exact)
            except Exception as error:  # noqa: BLE001 (as in `_outline`)
                failures.append(_describe(file, error))

    def _layout(self) -> Layout:
        return WaveformFiles(self._options) if self._options.layout == "waveform" else TableFiles(self._options)

    def _listed(self) -> _Found:
        """Return the files as they were found last; looking for them before every slice would take too long."""
        return self._known or self._found(glance=True)

    def _learn(self, file: ArchiveFile, exact: Outline) -> None:
        """Remember what reading all of a file has shown."""
        if self._known is not None:
            self._known.outlines[file] = exact
        with suppress(OSError):
            self._outlines[_state_of(file)] = exact

    def _found(self, *, glance: bool = False) -> _Found:
        """Return the files with their outlines, which are cached while a file does not change.

        Args:
            glance: whether outlines that are not exact will do.
        """
        outlines, problems = dict[ArchiveFile, Outline](), list[str]()
        layout = self._layout()
        for file in self._files(problems):
            outline = self._outline(layout, file, glance=glance)
            if isinstance(outline, Outline):
                outlines[file] = outline
                problems.extend(f"{file.name}: {each}" for each in outline.problems)
            else:
                problems.append(outline)
        absent = self._absent(outlines, problems) if outlines else frozenset[str]()
        self._known = _Found(outlines, problems, absent)
        return self._known

    def _absent(self, outlines: Mapping[ArchiveFile, Outline], problems: list[str]) -> frozenset[str]:
        """Return the names of the tags that no file has, and describe them."""
        nowhere = frozenset.intersection(*(outline.absent for outline in outlines.values()))
        names = frozenset[str]().union(*(outline.names for outline in outlines.values()))
        tags = [tag for tag in self._connection.tags if tag.address in nowhere]
        unknown = [tag for tag in tags if tag.address not in names]  # of others the file's own problem is described
        for number, tag in enumerate(unknown):
            near = f"; {nearest(tag.address, names)}" if number < _MOST_NEAR else ""
            problems.append(f"{' '.join(tag.listed)}: no file has {tag.address}, the address of {tag.name}{near}")
        return frozenset(tag.name for tag in tags)

    def _files(self, problems: list[str]) -> Iterator[ArchiveFile]:
        """Yield the files that match the path, members of zips among them; those of no known format are problems."""
        root = self._connection.root
        matching = sorted(glob(self._options.path, root_dir=root, recursive=True))  # noqa: PTH207 (may be absolute)
        matched = [ArchiveFile(root / name, name) for name in matching if (root / name).is_file()]
        if not matched:
            raise SourceError(
                f"archive {self._connection.name}: no file matches {self._options.path!r} in {root}; check path"
            )
        for file in matched:
            try:
                found = members(file)
            except (SourceError, OSError) as error:
                problems.append(_describe(file, error))
                continue
            unknown = [each for each in found if self._options.format_of(each.name) is None]
            problems.extend(
                f'{each.name}: its suffix says no format; say format = "text" or another' for each in unknown
            )
            yield from (each for each in found if each not in unknown)

    def _outline(self, layout: Layout, file: ArchiveFile, *, glance: bool) -> Outline | str:
        """Return the file's outline, or why there is none."""
        try:
            key = _state_of(file)
        except OSError as error:
            return _describe(file, error)
        known = self._outlines.get(key)
        if known is None or not (glance or isinstance(known, str) or known.is_exact):
            try:
                known = (layout.glance if glance else layout.outline)(file, self._connection.tags)
            except Exception as error:  # noqa: BLE001 (what a library raises for a damaged file is anybody's guess)
                known = _describe(file, error)
            self._outlines[key] = known
        return known


def _state_of(file: ArchiveFile) -> tuple[str, int, int]:
    """Return what changes when a file does. Raises `OSError` if it is gone."""
    state = file.path.stat()
    return file.name, state.st_size, state.st_mtime_ns


def _pages_of(file: ArchiveFile, parsed: Generator[Parsed, None, Outline]) -> Generator[Page, None, Outline]:
    """Yield the pages of a file, and return its outline."""
    while True:
        try:
            rows, rejected = next(parsed)
        except StopIteration as end:
            exact: Outline = end.value
            return exact
        yield Page(rows, file.name, rejected)


def _describe(file: ArchiveFile, error: Exception) -> str:
    """Return the problem with a file on one line."""
    if isinstance(error, SourceError):
        return f"{file.name}: {error}"
    first_line = next(iter(str(error).splitlines()), "")  # hints for programmers follow
    kind = "" if isinstance(error, OSError | ValueError | pl.exceptions.PolarsError) else f"{type(error).__name__}: "
    return f"{file.name}: cannot be read: {kind}{first_line}"
