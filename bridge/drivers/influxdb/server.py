"""The archive over a server of InfluxDB; `bridge.drivers.influxdb.driver` is its manual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final, cast

from bridge.drivers.cells import page_of
from bridge.drivers.files.names import nearest
from bridge.drivers.influxdb.chunks import Block
from bridge.drivers.influxdb.driver import Options, places_of
from bridge.drivers.influxdb.influxql import Selection, among, by_field, name, select, selections, source
from bridge.drivers.influxdb.series import ambiguity, cells_of, grouped, matched
from bridge.drivers.influxdb.wire import ReadingWire
from bridge.drivers.protocols import Extent, Page
from bridge.drivers.threads import in_thread
from historian.errors import NotConnected, SourceError
from historian.plant.connections import ConnectionConfig
from historian.times import from_micros, micros

_MICROSECOND: Final = timedelta(microseconds=1)
Types = dict[str, dict[str, frozenset[str]]]
"""Measurement -> field -> the types that it has or had."""


class ServerArchive:
    """An `Archive` over InfluxDB 1.x or 2.x. Several reads may run at the same time."""

    def __init__(self, connection: ConnectionConfig) -> None:
        """Prepare; connects to nothing. Raises `ConfigError` for addresses, a token or TLS files that cannot be."""
        self._name = connection.name
        self._connection = connection
        self._options = cast(Options, connection.options)
        self._tags = {tag.name: tag for tag in connection.tags}
        self._places = places_of(connection)
        self._wire: ReadingWire | None = None
        self._types: Types | None = None
        self._problems: dict[str, str] | None = None

    async def open(self) -> None:
        """See `Archive.open`."""
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """See `Archive.close`."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    async def extents(self) -> Mapping[str, Extent]:
        """See `Archive.extents`; the server looks up the first and last point of each series."""
        return await asyncio.to_thread(self._extents)

    async def problems(self) -> Sequence[str]:
        """See `ReportsProblems.problems`."""
        if self._problems is None:
            await self.extents()
        return list((self._problems or {}).values())

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`."""
        return in_thread(self._read(set(tags), start, end))

    def _open(self) -> None:
        self._wire = self._wire or ReadingWire(self._connection, self._options)
        with self._named():
            self._types = self._field_types()

    def _field_types(self) -> Types:
        found: Types = {}
        for measurement in {place.measurement for place in self._places.values()}:
            fields = found.setdefault(measurement, {})
            for _, (field, kind) in self._rows(f"SHOW FIELD KEYS FROM {self._source(measurement)}"):
                fields[field] = fields.get(field, frozenset()) | {kind}
        return found

    def _extents(self) -> dict[str, Extent]:
        with self._named():
            first, last = self._ends("first"), self._ends("last")
        matches = matched(self._places, [(*key[:2], dict(key[2])) for key in first])
        absent = self._places.keys() - matches.series.keys()
        self._problems = {tag: self._problem(tag, matches.ambiguous.get(tag)) for tag in sorted(absent)}
        extents: dict[str, Extent] = {}
        for tag in matches.series:
            place = self._places[tag]
            own = [k for k in first if k[:2] == (place.measurement, place.field) and place.matches(dict(k[2]))]
            low, high = min(first[key] for key in own), max(last[key] for key in own)
            extents[tag] = (from_micros(low), from_micros(high) + _MICROSECOND)
        return extents

    def _ends(self, end: str) -> dict[tuple[str, str, tuple[tuple[str, str], ...]], int]:
        """Return measurement, field and Influx tags of each series -> time of its first or last point."""
        found = {}
        for (measurement, field), places in by_field(self._places).items():
            where = f" WHERE {condition}" if (condition := among(places)) else ""
            query = f"SELECT {end}({name(field)}) FROM {self._source(measurement)}{where} GROUP BY *"
            for block, row in self._rows(query):
                found[measurement, field, tuple(sorted(block.tags.items()))] = int(row[0])
        return found

    def _problem(self, tag: str, series: Sequence[tuple[tuple[str, str], ...]] | None) -> str:
        place, listed = self._places[tag], self._tags[tag]
        where = f"archive {self._name}: {' '.join(listed.listed)}: "
        if series:
            return f"{where}{listed.address}, the address of {tag}: {ambiguity(place, series)}"
        fields = (self._types or {}).get(place.measurement)
        if not fields:
            names = [str(row[0]) for _, row in self._rows("SHOW MEASUREMENTS")]
            near = f"it has no measurement {place.measurement}; {nearest(place.measurement, names)}"
        elif place.field not in fields:
            near = f"{place.measurement} has no field {place.field}; {nearest(place.field, fields)}"
        else:
            near = "no series has these tags, or it has no points"
        return f"{where}the database has no {listed.address}, the address of {tag}: {near}"

    def _read(self, tags: set[str], start: datetime, end: datetime) -> Generator[Page]:
        with self._named():
            if self._types is None:
                self._types = self._field_types()
            if self._problems is None:
                self._extents()
            absent = self._problems or {}
            wanted = {tag: place for tag, place in self._places.items() if tag in tags and tag not in absent}
            for selection in selections(wanted, self._types):
                yield from self._pages(selection, start, end)

    def _pages(self, selection: Selection, start: datetime, end: datetime) -> Iterator[Page]:
        grading = self._options.quality
        quality = grading.column if grading else None
        words = (self._types or {}).get(selection.measurement, {}).get(quality or "", frozenset()) - {
            "float",
            "integer",
        }
        numeric = selection.kind == "float" and not words
        wire = self._connected()
        query = select(selection, quality, wire.policy, micros(start), micros(end))
        rows = max(self._options.page_rows // len(selection.fields), 1)
        tags = [self._tags[tag] for tag in selection.places]
        for blocks in grouped(wire.blocks(query, rows=rows, numeric=numeric), rows):
            cells = cells_of(blocks, selection.places, numeric=numeric, quality=quality)
            yield page_of(cells, tags, origin=selection.measurement, quality=grading)

    def _source(self, measurement: str) -> str:
        return source(measurement, self._connected().policy)

    def _rows(self, query: str) -> list[tuple[Block, list[Any]]]:
        return self._connected().rows(query)

    def _connected(self) -> ReadingWire:
        if self._wire is None:
            raise NotConnected("InfluxDB is not connected")
        return self._wire

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Put the archive's name in front of errors."""
        try:
            yield
        except NotConnected as error:
            raise NotConnected(f"archive {self._name}: {error}") from None
        except SourceError as error:
            raise SourceError(f"archive {self._name}: {error}") from None
