"""The `sql` driver: an archive in a relational database.

    [archives.ignition]
    driver = "sql"
    url = "postgresql://bridge@10.0.4.30:5432/ignition"
    password = "${IGNITION_PASSWORD}"
    profile = "ignition"
    tags = "tags/ignition.csv"

    url                                    read through              tested against
    postgresql://USER@HOST:5432/DATABASE   ADBC                      PostgreSQL 15
    mariadb://USER@HOST:3306/DATABASE      ODBC (odbc-mariadb)       MariaDB 10.11
    sqlite:///PATH                         ADBC                      SQLite 3
    sqlserver://USER@HOST:1433/DATABASE    ODBC (msodbcsql18)        nothing: no SQL Server was at hand

What follows a question mark in the url are settings of the client library: `?sslmode=verify-full&sslrootcert=ca.pem` of
libpq, `?SSLCA=ca.pem&SSLVERIFY=1` of MariaDB's ODBC driver.

    profile    a tag's address is                              what is read
    ignition   [provider]folder/tag                            the tables of Ignition's Tag Historian
    aveva      the TagName                                     the view History of AVEVA Historian's database Runtime
    custom     the value of the column `tag` of `query`        any one SELECT

Read-only: the session is set to read-only transactions where the engine has them, and a user that may only SELECT is
enough. Every value is bound. A statement that runs longer than `timeout` is cancelled. Pages of about `page_rows` rows
follow the time, each in a statement of its own, so that neither side holds more than a page.

`ignition`: a path that was renamed or got another data type has several ids, which are read together. The tables are
those of `sqlth_partitions`; pre-processed summaries are left out, and a table that was pruned is no error. A path that
several providers record needs `[provider]` in front. With `gaps = "mark"`, a Bad sample stands wherever the tag's scan
class stopped running: Ignition records changes only, and otherwise the last value would seem to hold.

`aveva`: raw values (`wwRetrievalMode = 'Full'`, `wwVersion = 'Latest'`) in UTC, with QualityDetail as OPC DA qualities.
`since` is where the history begins; the newest values are in `Live`. Tested only against tables that stand in for the
server's views.

`custom`: a SELECT with the columns `tag`, `timestamp` and `value`, perhaps `text` and `quality`, and the parameters
`:start`, `:end` and perhaps `:tags`, in any place where a value may stand:

    query = "SELECT name AS tag, at AS timestamp, reading AS value FROM readings
             WHERE name IN (:tags) AND at >= :start AND at < :end"
    time = "timestamp"
    timezone = "Europe/Berlin"
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, Literal, cast

from pydantic import AfterValidator, Field, SecretStr, model_validator

from bridge.drivers.files.vocabulary import Quality
from bridge.drivers.files.zones import is_zone
from bridge.drivers.protocols import Driver, opened_by
from bridge.drivers.sql.address import DatabaseAddress, parse_address
from bridge.drivers.sql.clock import Form
from bridge.drivers.sql.statements import parameters
from historian.errors import ConfigError, Problem
from historian.plant.connections import ConnectionConfig
from historian.plant.keys import Model
from historian.times import Duration, Instant

Profile = Literal["ignition", "aveva", "custom"]
_OF_CUSTOM: Final = ("query", "extents", "time", "timezone", "quality")
_PARAMETERS: Final = {"tags", "start", "end"}


def _url(text: str) -> str:
    parse_address(text)
    return text


def _zone(name: str) -> str:
    if not is_zone(name):
        raise ValueError(f"unknown time zone {name!r}; write one such as Europe/Berlin or UTC")
    return name


class Options(Model):
    """Keys of `[archives.NAME]` with `driver = "sql"`."""

    url: Annotated[str, AfterValidator(_url)] = Field(
        description="postgresql://USER@HOST:5432/DATABASE, mariadb://, sqlserver://, or sqlite:///PATH relative to "
        "plant.toml; settings of the client library after a question mark."
    )
    password: SecretStr = Field(SecretStr(""), description="Password of the user in the url. Use ${NAME}.")
    profile: Profile = Field(description="Whose tables they are.")
    odbc_driver: str | None = Field(
        None, description='mariadb, sqlserver: name or path of the ODBC driver; "MariaDB Unicode" or "ODBC Driver 18 '
        'for SQL Server" if absent.',
    )  # fmt: skip
    timeout: Duration = Field(timedelta(minutes=1), description="Longest time a statement may run.")
    page_rows: int = Field(100_000, ge=1, le=10_000_000, description="Number of rows to read at a time.")
    gaps: Literal["leave", "mark"] = Field(
        "leave", description="ignition: mark adds a Bad sample where the scan class of a tag stopped running."
    )
    since: Instant | None = Field(None, description="aveva: where the history begins: 2015-01-01T00:00:00Z.")
    query: str | None = Field(
        None, description="custom: one SELECT with columns tag, timestamp, value, perhaps text and quality, and "
        "parameters :start, :end and perhaps :tags.",
    )  # fmt: skip
    extents: str | None = Field(
        None, description="custom: a SELECT of tag, first and last timestamp, perhaps with :tags; computed from query "
        "if absent, which reads all of it.",
    )  # fmt: skip
    time: Form | None = Field(
        None, description="custom: what timestamps are: a time type, text (2026-03-01 08:00:00.5), or a whole number."
    )
    timezone: Annotated[str, AfterValidator(_zone)] | None = Field(
        None, description="custom: zone of timestamps without one: UTC, Europe/Berlin."
    )
    quality: Quality | None = Field(
        None, description="custom: column and vocabulary of qualities: { column, kind }; all rows are Good if absent."
    )

    @property
    def address(self) -> DatabaseAddress:
        """The url, parsed."""
        return parse_address(self.url)

    @model_validator(mode="after")
    def _agree(self) -> Options:
        if self.profile == "custom":
            self._check_query()
        elif given := [name for name in _OF_CUSTOM if getattr(self, name) is not None]:
            raise ValueError(f'{", ".join(given)}: only for profile = "custom"')
        if self.profile == "aveva" and self.since is None:
            raise ValueError("profile aveva needs since, where the history begins: since = 2015-01-01T00:00:00Z")
        if self.profile != "aveva" and self.since is not None:
            raise ValueError('since is only for profile = "aveva"')
        return self

    def _check_query(self) -> None:
        if self.query is None or self.time is None:
            raise ValueError('profile custom needs query and time: time = "timestamp" or "epoch-ms" and the like')
        if unknown := (parameters(self.query) | parameters(self.extents or "")) - _PARAMETERS:
            raise ValueError(f"unknown parameter :{', :'.join(sorted(unknown))}; there are :tags, :start and :end")
        if missing := {"start", "end"} - parameters(self.query):
            raise ValueError(f"query lacks :{' and :'.join(sorted(missing))}; write timestamp >= :start AND < :end")
        if not all(_is_select(text) for text in (self.query, self.extents) if text is not None):
            raise ValueError("query and extents are SELECT statements")
        if self.time == "text" and self.timezone is None:
            raise ValueError("timestamps that are text have no zone; say which with timezone")
        if self.time is not None and self.time.startswith("epoch") and self.timezone is not None:
            raise ValueError("numbers count from 1970 in UTC; leave out timezone")


def _is_select(text: str) -> bool:
    return text.lstrip().lower().startswith(("select", "with"))


class Columns(Model):
    """The driver adds no column to the tag list."""


def _check(connection: ConnectionConfig) -> None:
    """Check the addresses without the libraries of databases."""
    problems = [
        Problem(*tag.listed, f"the address {tag.address!r} has no path behind the provider; write [provider]folder/tag")
        for tag in connection.tags
        if tag.address.strip().endswith("]")
    ]
    if problems and connection.options is not None and cast(Options, connection.options).profile == "ignition":
        raise ConfigError(problems)


driver: Final = Driver(
    options=Options,
    address=Columns,
    archive=opened_by("bridge.drivers.sql.archive:SqlArchive"),
    check_tags=_check,
)
