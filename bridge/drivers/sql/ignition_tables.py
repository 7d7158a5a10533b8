"""Which ids and which tables of Ignition's Tag Historian hold the samples of a tag.

Tables and columns are those that Ignition 8 creates, as its manual lists them: "Ignition Database Table Reference".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import polars as pl

from bridge.drivers.files.names import nearest
from bridge.drivers.sql.profile import Database, not_there
from historian.errors import SourceError
from historian.logs import get_logger
from historian.plant.connections import Tag
from historian.times import micros

_ADDRESS: Final = re.compile(r"(?:\[([^\]]+)\])?(.+)")
_TABLE: Final = re.compile(r"\w+")
_TEXT, _DATE = 2, 3
"""`datatype` of texts and dates; 0 is a whole number, 1 a float."""
_AT_A_TIME: Final = 500
_IDS: Final = """
    SELECT e.id AS id, LOWER(e.tagpath) AS path, e.scid AS scid, e.datatype AS datatype, d.provider AS provider
    FROM sqlth_te e LEFT JOIN sqlth_scinfo s ON s.id = e.scid LEFT JOIN sqlth_drv d ON d.id = s.drvid
"""
_TABLES: Final[Mapping[str, str]] = {
    "sqlite": "SELECT name AS name FROM sqlite_master WHERE type IN ('table', 'view')",
    "postgresql": "SELECT CAST(table_name AS text) AS name FROM information_schema.tables",
    "mariadb": "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()",
    "sqlserver": "SELECT table_name AS name FROM information_schema.tables",
}

log = get_logger(__name__)


class Partition(NamedTuple):
    """A table of samples, and the time that it is for in milliseconds since 1970; None is without end."""

    table: str
    start: int | None
    end: int | None

    def overlaps(self, start: datetime, end: datetime) -> bool:
        """Return whether it may hold samples of a range."""
        first, last = micros(start) // 1000, micros(end) // 1000
        return (self.start is None or self.start <= last) and (self.end is None or self.end >= first)


class Found(NamedTuple):
    """The ids of the tags."""

    ids: pl.DataFrame
    """An id a row: id, tag, scid, and `is_text`: whether its samples are texts."""
    problems: list[str]


def ids_of(database: Database, tags: Sequence[Tag]) -> Found:
    """Find all ids of each tag: a tag that was renamed, or got another data type, has several."""
    paths = {tag.name: _parsed(tag.address) for tag in tags}
    wanted = sorted({path for _, path in paths.values()})
    parts = [
        database.rows(f"{_IDS} WHERE LOWER(e.tagpath) IN (:paths)", paths=wanted[first : first + _AT_A_TIME])
        for first in range(0, len(wanted), _AT_A_TIME)
    ]
    known = pl.concat(parts, how="vertical_relaxed")
    known = known.select(
        pl.col("id", "scid").cast(pl.Int64),
        pl.col("path", "provider").cast(pl.String),
        pl.col("datatype").cast(pl.Int64),
    )
    found, problems = [_named(known.clear(), "")], list[str]()
    for tag in tags:
        own = _own(known, *paths[tag.name])
        if problem := _problem(database, tag, own):
            problems.append(problem)
        else:
            found.append(_named(own, tag.name))
    return Found(pl.concat(found), problems)


def _named(own: pl.DataFrame, tag: str) -> pl.DataFrame:
    is_text = (pl.col("datatype") == _TEXT).fill_null(value=False)
    return own.select("id", tag=pl.lit(tag), scid="scid", is_text=is_text)


def _parsed(address: str) -> tuple[str | None, str]:
    """Return provider and path; Ignition keeps paths in lower case and without provider."""
    found = _ADDRESS.fullmatch(address.strip().lower())
    if found is None:
        raise SourceError(f"the address {address!r} is no path of a tag; write [provider]folder/tag")
    return found[1], found[2]


def _own(known: pl.DataFrame, provider: str | None, path: str) -> pl.DataFrame:
    rows = known.filter(pl.col("path") == path)
    return rows if provider is None else rows.filter(pl.col("provider").str.to_lowercase() == provider)


def _problem(database: Database, tag: Tag, own: pl.DataFrame) -> str:
    """Return why a tag cannot be read; empty if it can."""
    if own.is_empty():
        paths = database.rows("SELECT DISTINCT LOWER(tagpath) AS path FROM sqlth_te")["path"].drop_nulls()
        return not_there(tag, "sqlth_te", nearest(tag.address.lower(), paths))
    providers = own["provider"].drop_nulls().unique().sort().to_list()
    if len(providers) > 1:
        return (
            f"{' '.join(tag.listed)}: the providers {' and '.join(providers)} record {tag.address}, the address of "
            f"{tag.name}; write [{providers[0]}]{tag.address}"
        )
    if (own["datatype"] == _DATE).all():
        return f"{' '.join(tag.listed)}: {tag.address} is a date in Ignition, neither number nor text"
    return ""


def partitions(database: Database) -> list[Partition]:
    """Return the tables of samples as they were recorded, in order of time, without those that were pruned."""
    listed = database.rows("SELECT pname, start_time, end_time, blocksize FROM sqlth_partitions")
    raw = listed.filter((pl.col("blocksize") == 0) | pl.col("blocksize").is_null()).unique("pname")
    there = {name.lower(): name for name in database.rows(_TABLES[database.engine])["name"]}
    found = []
    for name, start, end in raw.sort("start_time", "pname").select("pname", "start_time", "end_time").iter_rows():
        if not _TABLE.fullmatch(name):
            raise SourceError(f"sqlth_partitions names the table {name!r}, which is none of Ignition's")
        if name.lower() in there:
            found.append(Partition(there[name.lower()], start, end))
        else:
            log.info("a table of samples was pruned", table=name)
    return found


def stops(database: Database, ids: pl.DataFrame) -> pl.DataFrame:
    """Return when the scan class of each tag stopped running: tag and time in milliseconds, one row a stop.

    A run that ends while another one of the tag's classes still runs, or where the next begins at once, is no stop.

    Args:
        database: where they are recorded.
        ids: columns of `Found.ids`.
    """
    runs = database.rows("SELECT scid, start_time, end_time, rate FROM sqlth_sce").cast(pl.Int64)
    own = ids.select("tag", "scid").unique().join(runs, on="scid")
    following = own.sort("tag", "start_time").with_columns(
        reached=pl.col("end_time").cum_max().over("tag"), after=pl.col("start_time").shift(-1).over("tag")
    )
    gap = pl.col("after") - pl.col("reached") > 2 * pl.col("rate").fill_null(0)
    return following.filter(gap).select("tag", at="reached")
