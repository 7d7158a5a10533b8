"""The archive over files of annotated CSV; `bridge.drivers.influxdb.driver` is its manual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Generator, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from glob import glob
from typing import Final, NamedTuple, cast

import polars as pl

from bridge.drivers.cells import page_of
from bridge.drivers.files.names import nearest
from bridge.drivers.files.opening import ArchiveFile, members, opened
from bridge.drivers.files.times import INSTANT
from bridge.drivers.influxdb.annotated import named, pieces, series_of
from bridge.drivers.influxdb.driver import Options, places_of
from bridge.drivers.influxdb.series import Matches, ambiguity, matched
from bridge.drivers.protocols import Extent, Page
from bridge.drivers.threads import in_thread
from historian.errors import SourceError
from historian.plant.connections import ConnectionConfig

_MICROSECOND: Final = timedelta(microseconds=1)
Series = tuple[str, str, tuple[tuple[str, str], ...]]
"""Measurement, field and Influx tags."""


class _Contents(NamedTuple):
    """What the files hold."""

    spans: Mapping[ArchiveFile, Extent]
    """File -> its times."""
    matches: Matches
    extents: Mapping[str, Extent]
    problems: Sequence[str]


class ExportArchive:
    """An `Archive` over exported files. They are read once for what they hold, and then a file a slice."""

    def __init__(self, connection: ConnectionConfig, path: str) -> None:
        """Prepare; opens no file. Raises `ConfigError` for addresses that cannot be."""
        self._connection = connection
        self._path = path
        self._places = places_of(connection)
        self._page_rows = cast(Options, connection.options).page_rows
        self._contents: _Contents | None = None

    async def open(self) -> None:
        """See `Archive.open`: there is nothing to connect to."""

    async def close(self) -> None:
        """See `Archive.close`."""

    async def extents(self) -> Mapping[str, Extent]:
        """See `Archive.extents`. Reads all files."""
        self._contents = await asyncio.to_thread(self._scan)
        return self._contents.extents

    async def problems(self) -> Sequence[str]:
        """See `ReportsProblems.problems`."""
        contents = await asyncio.to_thread(self._known)
        return [f"archive {self._connection.name}: {each}" for each in contents.problems]

    async def slice_starts(self, start: datetime, end: datetime) -> Sequence[datetime]:
        """See `ProposesSlices.slice_starts`: files whose times overlap share a slice."""
        spans = sorted((await asyncio.to_thread(self._known)).spans.values())
        found: list[Extent] = []
        for first, last in spans:
            if found and first < found[-1][1]:
                found[-1] = (found[-1][0], max(last, found[-1][1]))
            else:
                found.append((first, last))
        return [first for first, _ in found if start <= first < end]

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`."""
        return in_thread(self._read(set(tags), start, end))

    def _read(self, tags: set[str], start: datetime, end: datetime) -> Generator[Page]:
        contents = self._known()
        wanted = Matches({tag: each for tag, each in contents.matches.series.items() if tag in tags}, {})
        within = pl.col("timestamp").is_between(start, end, closed="left")
        for file, (first, last) in contents.spans.items():
            if first >= end or last < start:
                continue
            with opened(file) as stream:
                for piece in pieces(stream):
                    rows = named(piece, self._places, wanted).filter(within)
                    for part in rows.iter_slices(self._page_rows):
                        if part.height:
                            yield page_of(part, self._connection.tags, origin=file.name, quality=None)

    def _known(self) -> _Contents:
        if self._contents is None:
            self._contents = self._scan()
        return self._contents

    def _scan(self) -> _Contents:
        """Read all files for their series and times."""
        spans, problems, series = dict[ArchiveFile, Extent](), list[str](), set[Series]()
        for file in self._files():
            try:
                found, span = _outline(file)
            except (SourceError, OSError, ValueError, pl.exceptions.PolarsError) as error:
                problems.append(f"{file.name}: {error}")
                continue
            series |= found
            spans |= {file: span} if span else {}
        if not spans:
            raise SourceError(f"archive {self._connection.name}: " + "\n".join(["no file has points", *problems]))
        matches = matched(self._places, [(*each[:2], dict(each[2])) for each in sorted(series)])
        end = max(last for _, last in spans.values()) + _MICROSECOND
        extents = dict.fromkeys(matches.series, (min(first for first, _ in spans.values()), end))
        return _Contents(spans, matches, extents, [*problems, *self._absent(matches, series)])

    def _absent(self, matches: Matches, series: Collection[Series]) -> Iterator[str]:
        names = [",".join([m, *(f"{key}={value}" for key, value in tags)]) + f" {f}" for m, f, tags in series]
        for tag in self._connection.tags:
            where = f"{' '.join(tag.listed)}: "
            if tag.name in matches.ambiguous:
                yield f"{where}{tag.address}: {ambiguity(self._places[tag.name], matches.ambiguous[tag.name])}"
            elif tag.name not in matches.series:
                yield f"{where}no file has {tag.address}, the address of {tag.name}; {nearest(tag.address, names)}"

    def _files(self) -> list[ArchiveFile]:
        root = self._connection.root
        matching = sorted(glob(self._path, root_dir=root, recursive=True))  # noqa: PTH207 (may be absolute)
        found = [ArchiveFile(root / name, name) for name in matching if (root / name).is_file()]
        if not found:
            raise SourceError(f"archive {self._connection.name}: no file matches {self._path!r} in {root}; check path")
        return [member for file in found for member in members(file)]


def _outline(file: ArchiveFile) -> tuple[set[Series], Extent | None]:
    """Return the series of a file, and its first and last time."""
    series, ends = set[Series](), list[datetime]()
    with opened(file) as stream:
        for piece in pieces(stream):
            series |= {(name, field, tuple(sorted(tags.items()))) for name, field, tags in series_of(piece)}
            instants = piece.rows[INSTANT].drop_nulls()
            ends += [each for each in (instants.min(), instants.max()) if isinstance(each, datetime)]
    return series, (min(ends), max(ends)) if ends else None
