"""The profile `ignition`: samples in the tables of Ignition's Tag Historian."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from bridge.drivers.cells import page_of
from bridge.drivers.files.vocabulary import Quality
from bridge.drivers.protocols import Extent, Page
from bridge.drivers.raw_rows import RawRows
from bridge.drivers.sql.clock import Clock
from bridge.drivers.sql.driver import Options
from bridge.drivers.sql.ignition_tables import Found, Partition, ids_of, partitions, stops
from bridge.drivers.sql.paging import TIME, Fetch, pages
from bridge.drivers.sql.profile import Database, Holdings
from historian.plant.connections import Tag
from historian.quality import BAD_NO_DATA
from historian.samples import SCHEMA
from historian.times import from_micros, micros

_MILLISECONDS: Final = Clock("epoch-ms")
_QUALITY: Final = Quality(column="dataintegrity", kind="ignition")
_IDS_AT_A_TIME: Final = 500
_DAY: Final = timedelta(days=1)


class IgnitionProfile:
    """A `Profile` of Ignition."""

    def __init__(self, options: Options, tags: Sequence[Tag]) -> None:
        self._options = options
        self._tags = tags
        self._found: Found | None = None

    def holdings(self, database: Database) -> Holdings:
        """See `Profile.holdings`; looks up the first and last sample of each id by index, no more."""
        self._found = found = ids_of(database, self._tags)
        tables = partitions(database)
        first = _ends(database, found.ids["id"].to_list(), tables, "MIN")
        last = _ends(database, found.ids["id"].to_list(), reversed(tables), "MAX")
        spans = found.ids.join(first, on="id").join(last, on="id", suffix="_last").group_by("tag")
        extents: dict[str, Extent] = {
            tag: (from_micros(start * 1000), from_micros(end * 1000 + 1))
            for tag, start, end in spans.agg(pl.col("at").min(), pl.col("at_last").max()).iter_rows()
        }
        return Holdings(extents, found.problems)

    def slice_starts(self, database: Database, start: datetime, end: datetime) -> Sequence[datetime]:
        """See `Profile.slice_starts`: the days for which there are tables, of which each lies in one table or two."""
        found = set()
        for table in partitions(database):
            first = start if table.start is None else max(start, from_micros(table.start * 1000))
            last = end if table.end is None else min(end, from_micros(table.end * 1000))
            midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
            found |= {midnight + number * _DAY for number in range((last - midnight) // _DAY + 1)}
        return sorted(day for day in found if start <= day < end)

    def pages(self, database: Database, tags: Sequence[Tag], start: datetime, end: datetime) -> Iterator[Page]:
        """See `Profile.pages`."""
        if self._found is None:
            self._found = ids_of(database, self._tags)
        ids = self._found.ids.filter(pl.col("tag").is_in([tag.name for tag in tags]))
        for table in partitions(database):
            if not table.overlaps(start, end):
                continue
            for part in _parts(ids):
                fetch = _fetch(database, table, part)
                for rows in pages(fetch, micros(start), micros(end), self._options.page_rows):
                    named = rows.join(part.select("id", "tag"), on="id", maintain_order="left")
                    yield page_of(_timed(named), tags, origin=table.table, quality=_QUALITY)
        if self._options.gaps == "mark":
            yield from _gaps(database, ids, start, end)


def _ends(database: Database, ids: list[int], tables: Iterable[Partition], end: str) -> pl.DataFrame:
    """Return id and `at`, the time of its first (MIN) or last (MAX) sample, from the first table that has it."""
    found = [pl.DataFrame(schema={"id": pl.Int64(), "at": pl.Int64()})]
    open_ = list(ids)
    for table in tables:
        for first in range(0, len(open_), _IDS_AT_A_TIME):
            text = (
                f"SELECT e.id AS id, (SELECT {end}(t_stamp) FROM {database.dialect.quoted(table.table)} "
                "WHERE tagid = e.id) AS at FROM sqlth_te e WHERE e.id IN (:ids)"
            )
            rows = database.rows(text, ids=open_[first : first + _IDS_AT_A_TIME])
            found.append(rows.cast({"id": pl.Int64, "at": pl.Int64}).drop_nulls())
        known = set(pl.concat(found)["id"])
        open_ = [each for each in open_ if each not in known]
    return pl.concat(found)


def _parts(ids: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the ids of one statement at a time: those of texts apart, because texts are read more slowly."""
    for part in ids.partition_by("is_text"):
        yield from part.iter_slices(_IDS_AT_A_TIME)


def _timed(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(timestamp=pl.col(TIME).cast(SCHEMA["timestamp"]))


def _fetch(database: Database, table: Partition, part: pl.DataFrame) -> Fetch:
    """Return what reads a page of a table."""
    ids, word = part["id"].to_list(), "stringvalue" if part["is_text"][0] else "NULL"
    rest = f"FROM {database.dialect.quoted(table.table)} WHERE tagid IN (:ids) AND t_stamp >= :start AND t_stamp < :end"
    columns = f"tagid, t_stamp, COALESCE(floatvalue, intvalue) AS number, {word} AS word, dataintegrity"

    def fetch(start: int, end: int, rows: int) -> pl.DataFrame:
        text = database.dialect.first_rows(columns, rest, "t_stamp", rows)
        bounds = {"start": _MILLISECONDS.bound(start), "end": _MILLISECONDS.bound(end)}
        found = database.rows(text, rows, ids=ids, **bounds)
        return found.select(
            _MILLISECONDS.micros(found["t_stamp"]).alias(TIME),
            pl.col("tagid").cast(pl.Int64).alias("id"),
            pl.col("number").cast(pl.Float64),
            pl.col("word").cast(pl.String),
            pl.col("dataintegrity").cast(pl.String).alias("grade"),
        )

    return fetch


def _gaps(database: Database, ids: pl.DataFrame, start: datetime, end: datetime) -> Iterator[Page]:
    """Yield a page of Bad samples, a millisecond after each scan class had last run."""
    at = ((pl.col("at") + 1) * 1000).cast(SCHEMA["timestamp"])
    rows = stops(database, ids).select(
        "tag",
        timestamp=at,
        value=pl.lit(None, SCHEMA["value"]),
        text=pl.lit(None, SCHEMA["text"]),
        quality=pl.lit(BAD_NO_DATA, SCHEMA["quality"]),
    )
    within = rows.filter(pl.col("timestamp").is_between(start, end, closed="left"))
    if within.height:
        yield Page(RawRows(within), "sqlth_sce")
