"""The profile `aveva`: samples of AVEVA Historian, formerly Wonderware, through the views of its database Runtime.

Without a retrieval mode the view History returns a hundred interpolated rows, and without a time zone the server's
local time. Its provider does not see bound values, and joins with it are slow: names and times are literals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from bridge.drivers.cells import page_of
from bridge.drivers.files.names import nearest
from bridge.drivers.files.vocabulary import Quality
from bridge.drivers.protocols import Extent, Page
from bridge.drivers.sql.driver import Options
from bridge.drivers.sql.profile import Database, Holdings, not_there
from bridge.drivers.sql.statements import Statement
from historian.plant.connections import Tag
from historian.samples import SCHEMA

_QUALITY: Final = Quality(column="QualityDetail", kind="opc-da")
_GOOD, _REVISED = 192, 202
"""QualityDetail of good values, and of those that were edited later."""
_TAGS_AT_A_TIME: Final = 24
_MARGIN: Final = timedelta(seconds=1)
_RAW: Final = "wwRetrievalMode = 'Full' AND wwVersion = 'Latest' AND wwTimeZone = 'UTC' AND wwQualityRule = 'Extended'"


class AvevaProfile:
    """A `Profile` of AVEVA Historian."""

    def __init__(self, options: Options, tags: Sequence[Tag]) -> None:
        self._options = options
        self._tags = tags
        self._known: frozenset[str] | None = None

    def holdings(self, database: Database) -> Holdings:
        """See `Profile.holdings`; from `since` to the newest value of each tag."""
        since = self._options.since or datetime.min.replace(tzinfo=UTC)
        names = database.rows("SELECT TagName FROM Tag")["TagName"].to_list()
        known = {name.lower() for name in names}
        extents: dict[str, Extent] = {}
        for part in _parts(self._tags):
            query = f"SELECT TagName, DateTime FROM Live WHERE {_among(part)} AND wwTimeZone = 'UTC'"
            newest = {
                name.lower(): at for name, at in _instants(database.rows(query)).select("TagName", "at").iter_rows()
            }
            for tag in part:
                if at := newest.get(tag.address.lower()):
                    extents[tag.name] = (since, at + timedelta(microseconds=1))
        absent = [tag for tag in self._tags if tag.address.lower() not in known]
        return Holdings(extents, [not_there(tag, "Tag", nearest(tag.address, names)) for tag in absent])

    def slice_starts(self, _database: Database, _start: datetime, _end: datetime) -> Sequence[datetime]:
        """See `Profile.slice_starts`."""
        return ()

    def pages(self, database: Database, tags: Sequence[Tag], start: datetime, end: datetime) -> Iterator[Page]:
        """See `Profile.pages`; the answer is a stream, which needs no paging.

        In mode Full, the server puts a value at the start of the range that nothing recorded. The range begins a second
        earlier, so that this value lies outside what was requested.
        """
        for part in _parts(tags):
            names = pl.DataFrame({"key": [tag.address.lower() for tag in part], "tag": [tag.name for tag in part]})
            statement = Statement(raw_query(part, start - _MARGIN, end))
            for rows in database.connection.frames(statement, self._options.page_rows):
                timed = _instants(rows).filter(pl.col("at").is_between(start, end, closed="left"))
                keyed = timed.with_columns(key=pl.col("TagName").str.to_lowercase()).join(names, on="key")
                yield page_of(_cells(keyed), part, origin="History", quality=_QUALITY)


def raw_query(tags: Sequence[Tag], start: datetime, end: datetime) -> str:
    """Return the SELECT of the samples of some tags as they were recorded, start <= DateTime < end."""
    return (
        "SELECT TagName, DateTime, Value, vValue, QualityDetail FROM History "
        f"WHERE {_among(tags)} AND DateTime >= {_time(start)} AND DateTime < {_time(end)} AND {_RAW}"
    )


def _parts(tags: Sequence[Tag]) -> Iterator[Sequence[Tag]]:
    for first in range(0, len(tags), _TAGS_AT_A_TIME):
        yield tags[first : first + _TAGS_AT_A_TIME]


def _among(tags: Sequence[Tag]) -> str:
    """Return the condition on the names; in Transact-SQL only the apostrophe needs escaping."""
    names = ", ".join("'" + tag.address.replace("'", "''") + "'" for tag in tags)
    return f"TagName IN ({names})"


def _time(instant: datetime) -> str:
    return f"'{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"


def _instants(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with `at`: DateTime as UTC, truncated to microseconds."""
    times = rows["DateTime"]
    if not isinstance(times.dtype, pl.Datetime):  # of a database that has no time type
        times = times.cast(pl.String).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us")
    utc = times.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return rows.with_columns(pl.col("TagName").cast(pl.String), utc.alias("at"))


def _cells(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows as cells: Value is the number, and vValue the text of tags that have no number."""
    number = pl.col("Value").cast(SCHEMA["value"])
    return rows.select(
        "tag",
        number=number,
        word=pl.when(number.is_null()).then(pl.col("vValue").cast(pl.String)),
        timestamp="at",
        grade=pl.col("QualityDetail").replace(_REVISED, _GOOD).cast(pl.String),
    )
