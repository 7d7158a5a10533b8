"""Annotated CSV, as Flux writes it: tables one after another, each with annotations and a header. Pure.

#datatype,string,long,dateTime:RFC3339,double,string,string,string
#group,false,false,false,false,true,true,true
#default,_result,,,,,,
,result,table,_time,_value,_field,_measurement,machine
,,0,2026-03-01T00:00:00Z,0.41,rms,vibration,c101
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import IO, Final, NamedTuple

import polars as pl

from bridge.drivers.files.forms import TimeRule
from bridge.drivers.files.times import FAULT, INSTANT, with_instants
from bridge.drivers.influxdb.places import Place
from bridge.drivers.influxdb.series import Matches, matched
from historian.errors import SourceError

_BLOCK: Final = 4 << 20
_HEAD: Final = re.compile(rb"^(?:#[^\n]*\n)+[^\n]*\n", re.MULTILINE)
_OPEN_HEAD: Final = re.compile(rb"^(?:#[^\n]*\n)+\Z", re.MULTILINE)
_NUMBERS: Final = frozenset({"double", "long", "unsignedLong"})
_NEEDED: Final = ("_time", "_value", "_field", "_measurement")
_OTHER: Final = frozenset({"", "result", "table", "_start", "_stop", *_NEEDED})
"""Columns that are no Influx tags."""


class Head(NamedTuple):
    """Annotations and header of a table."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    defaults: tuple[str, ...]

    @property
    def tags(self) -> list[str]:
        """The columns that are Influx tags."""
        return [name for name in self.columns if name not in _OTHER]


class Piece(NamedTuple):
    """Some rows of a table."""

    head: Head
    rows: pl.DataFrame
    """Columns of the header, all texts, with `INSTANT` and `FAULT`."""


def pieces(stream: IO[bytes]) -> Iterator[Piece]:
    """Yield the rows of a file in pieces of some megabytes.

    Raises:
        SourceError: it is no annotated CSV, or lacks one of the columns that samples need.
    """
    head: Head | None = None
    for text in _whole(stream):
        at = 0
        for found in _HEAD.finditer(text):
            if head is not None:
                yield from _piece(head, text[at : found.start()])
            head, at = _head(found[0]), found.end()
        if head is None:
            raise SourceError("it is no annotated CSV: a table begins with #datatype; see influx query --raw")
        yield from _piece(head, text[at:])


def _whole(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the text in blocks that end with a row, and never between annotations and their header."""
    rest = b""
    while block := stream.read(_BLOCK):
        text = (rest + block).replace(b"\r\n", b"\n")
        cut = text.rfind(b"\n") + 1
        while cut and text.count(b'"', 0, cut) % 2:
            cut = text.rfind(b"\n", 0, cut - 1) + 1
        if opened := _OPEN_HEAD.search(text, 0, cut):
            cut = opened.start()
        if cut:
            yield text[:cut]
        rest = text[cut:]
    if rest.strip():
        yield rest + b"\n"


def _head(text: bytes) -> Head:
    lines = list(csv.reader(text.decode().splitlines()))
    notes = {line[0]: tuple(line[1:]) for line in lines[:-1]}
    columns = tuple(lines[-1][1:])
    if missing := [name for name in _NEEDED if name not in columns]:
        what = f"InfluxDB wrote the error {columns}" if "error" in columns else "export without pivot() and drop()"
        raise SourceError(f"a table has no column {', '.join(missing)}; {what}")
    empty = ("",) * len(columns)
    return Head(columns, notes.get("#datatype", empty), notes.get("#default", empty))


def _piece(head: Head, text: bytes) -> Iterator[Piece]:
    if not text.strip():
        return
    schema = {"#first": pl.String(), **{name: pl.String() for name in head.columns}}
    frame = pl.read_csv(BytesIO(text), has_header=False, schema=schema).filter(pl.col("_time").is_not_null())
    defaults = {
        name: pl.col(name).fill_null(pl.lit(value))
        for name, value in zip(head.columns, head.defaults, strict=True)
        if value
    }
    yield Piece(head, with_instants(frame.with_columns(**defaults), ["_time"], TimeRule(name="_time")))


def series_of(piece: Piece) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Yield measurement, field and Influx tags of each series in a piece."""
    tags = piece.head.tags
    for measurement, field, *values in piece.rows.select("_measurement", "_field", *tags).unique().iter_rows():
        yield measurement, field, {key: value for key, value in zip(tags, values, strict=True) if value}


def named(piece: Piece, places: Mapping[str, Place], matches: Matches) -> pl.DataFrame:
    """Return the rows of the tags that have one series, as cells."""
    keys = ["_measurement", "_field", *piece.head.tags]
    owners = []
    for measurement, field, tags in series_of(piece):
        found = matched({tag: places[tag] for tag in matches.series}, [(measurement, field, tags)]).series
        owners += [(measurement, field, *(tags.get(key) for key in piece.head.tags), tag) for tag in found]
    owner = pl.DataFrame(owners, {name: pl.String() for name in [*keys, "tag"]}, orient="row")
    rows = piece.rows.join(owner, on=keys, nulls_equal=True, maintain_order="left")
    types = dict(zip(piece.head.columns, piece.head.types, strict=True))
    is_number = types["_value"] in _NUMBERS
    value = pl.col("_value")
    return rows.select(
        "tag",
        timestamp=INSTANT,
        number=value.cast(pl.Float64, strict=False) if is_number else pl.lit(None, pl.Float64),
        word=pl.when(value.cast(pl.Float64, strict=False).is_null()).then(value) if is_number else value,
        fault=FAULT,
    )
