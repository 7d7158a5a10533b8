"""The profile `custom`: samples as any one SELECT returns them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import polars as pl

from bridge.drivers.cells import page_of
from bridge.drivers.files.names import nearest
from bridge.drivers.files.vocabulary import Quality
from bridge.drivers.protocols import Extent, Page
from bridge.drivers.sql.clock import EVER, Clock
from bridge.drivers.sql.driver import Options
from bridge.drivers.sql.paging import TIME, Fetch, pages
from bridge.drivers.sql.profile import Database, Holdings, not_there
from historian.errors import SourceError
from historian.plant.connections import Tag

_NEEDED: Final = ("tag", "timestamp", "value")


class CustomProfile:
    """A `Profile` of a query in `plant.toml`."""

    def __init__(self, options: Options, tags: Sequence[Tag]) -> None:
        self._options = options
        self._tags = tags
        self._clock = Clock(options.time or "timestamp", options.timezone)

    def holdings(self, database: Database) -> Holdings:
        """See `Profile.holdings`; unless `extents` says how, the database aggregates all that the query returns."""
        first, last = (self._clock.bound(each) for each in self._clock.range_of(*EVER))
        aggregate = (
            f"SELECT tag, MIN(timestamp) AS first, MAX(timestamp) AS last FROM ({self._options.query}) q GROUP BY tag"
        )
        addresses = [tag.address for tag in self._tags]
        found = database.rows(self._options.extents or aggregate, tags=addresses, start=first, end=last)
        _check(found, ("tag", "first", "last"), "extents")
        begin, end = (self._clock.instants(self._clock.micros(found[name]))["earliest"] for name in ("first", "last"))
        spans = dict(zip(found["tag"].cast(pl.String), zip(begin, end, strict=True), strict=True))
        extents: dict[str, Extent] = {
            tag.name: (spans[tag.address][0], spans[tag.address][1] + self._clock.slack)
            for tag in self._tags
            if tag.address in spans
        }
        absent = [tag for tag in self._tags if tag.address not in spans]
        near = {tag: nearest(tag.address, spans) for tag in absent[:20]}
        return Holdings(extents, [not_there(tag, "the query", near.get(tag, "")) for tag in absent])

    def slice_starts(self, _database: Database, _start: datetime, _end: datetime) -> Sequence[datetime]:
        """See `Profile.slice_starts`: nothing is known of the tables."""
        return ()

    def pages(self, database: Database, tags: Sequence[Tag], start: datetime, end: datetime) -> Iterator[Page]:
        """See `Profile.pages`."""
        named = pl.DataFrame({"address": [tag.address for tag in tags], "tag": [tag.name for tag in tags]})
        fetch = _fetch(database, self._options.query or "", named["address"].to_list(), self._clock)
        quality = self._options.quality
        for rows in pages(fetch, *self._clock.range_of(start, end), self._options.page_rows):
            timed = pl.concat([rows, self._clock.instants(rows[TIME])], how="horizontal")
            within = timed.filter(pl.col("earliest").is_between(start, end, closed="left"))
            cells = _cells(within, quality).join(named, on="address", maintain_order="left")
            yield page_of(cells, tags, origin="the query", quality=quality)


def _fetch(database: Database, query: str, addresses: Sequence[str], clock: Clock) -> Fetch:
    """Return what reads a page of the query; rows of other tags are left out."""
    rest = f"FROM ({query}) q"

    def fetch(start: int, end: int, rows: int) -> pl.DataFrame:
        text = database.dialect.first_rows("*", rest, database.dialect.quoted("timestamp"), rows)
        found = database.rows(text, rows, tags=addresses, start=clock.bound(start), end=clock.bound(end))
        _check(found, _NEEDED, "query")
        return found.with_columns(clock.micros(found["timestamp"]).alias(TIME)).drop("timestamp")

    return fetch


def _cells(rows: pl.DataFrame, quality: Quality | None) -> pl.DataFrame:
    """Return the query's rows as cells; a value that is text is a word, and so is the column `text`."""
    value, is_text = pl.col("value"), rows.schema["value"] == pl.String
    word = [value] if is_text else []
    if "text" in rows.columns:
        word.append(pl.col("text").cast(pl.String))
    if quality is not None and quality.column not in rows.columns:
        raise SourceError(f"the query returns no column {quality.column}, which quality names")
    return rows.select(
        "timestamp",
        "fault",
        address=pl.col("tag").cast(pl.String),
        number=pl.lit(None, pl.Float64) if is_text else value.cast(pl.Float64),
        word=pl.coalesce(word) if word else pl.lit(None, pl.String),
        grade=pl.col(quality.column).cast(pl.String) if quality else pl.lit(None, pl.String),
    )


def _check(found: pl.DataFrame, names: Sequence[str], key: str) -> None:
    if missing := [name for name in names if name not in found.columns]:
        raise SourceError(
            f"{key} returns no column {', '.join(missing)}, but {', '.join(found.columns)}; name them with AS"
        )
