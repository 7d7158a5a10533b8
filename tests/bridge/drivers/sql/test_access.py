"""The `sql` driver only reads, binds what it is given, gives up in time, and says what is wrong."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from bridge.drivers.protocols import open_archive
from bridge.drivers.sql.address import parse_address
from bridge.drivers.sql.aveva import raw_query
from bridge.drivers.sql.connections import Access, connect, whole
from bridge.drivers.sql.paging import TIME, pages
from bridge.drivers.sql.statements import MARIADB, POSTGRESQL, SQLSERVER, Statement
from historian.errors import ConfigError, NotConnected, SourceError
from tests.bridge.conftest import ANY_TAG
from tests.contracts.archives import connection_of
from tests.sql_servers import PASSWORD, SqlServer

SLOW = {"postgresql": "SELECT pg_sleep(30)", "mariadb": "SELECT SLEEP(30) FROM seq_1_to_9 WHERE SLEEP(1) = 0"}


def access(server: SqlServer, *, password: str = PASSWORD, user: str = "reader") -> Access:
    """Access to a new database of a server."""
    address = parse_address(f"{server.engine}://{user}@127.0.0.1:{server.port}/{server.new_database()}")
    return Access(address, password, timedelta(milliseconds=300), Path())


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> SqlServer:
    """Each server."""
    found: SqlServer = request.getfixturevalue(f"{request.param}_server")
    return found


def test_nothing_can_be_written_even_by_an_administrator(server: SqlServer) -> None:
    """The session refuses it, whatever the user may do."""
    server.run(
        f"CREATE ROLE boss SUPERUSER LOGIN PASSWORD '{PASSWORD}'"
        if server.engine == "postgresql"
        else f"GRANT ALL ON *.* TO boss@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'",
        "postgres" if server.engine == "postgresql" else "",
    )
    user = "postgres" if server.engine == "postgresql" else "boss"
    connection = connect(access(server, user=user))
    with pytest.raises(SourceError, match=r"(?i)read.only"):
        whole(connection, Statement("CREATE TABLE t (a INTEGER)"), 1)
    connection.close()


def test_a_statement_that_takes_too_long_is_cancelled(server: SqlServer) -> None:
    """With what to do about it."""
    connection = connect(access(server))
    with pytest.raises(SourceError, match=r"time-out.*index.*timeout"):
        whole(connection, Statement(SLOW[server.engine]), 1)
    connection.close()


def test_a_wrong_password_is_no_lost_connection(server: SqlServer) -> None:
    """It is not tried again and again, which would lock the account; and it is not shown."""
    with pytest.raises(SourceError, match="does not accept us") as caught:
        connect(access(server, password="wr0ng"))  # noqa: S106
    assert not isinstance(caught.value, NotConnected)
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql", "mariadb"])
def test_nobody_at_the_address_is_a_lost_connection(url: str) -> None:
    """The runner tries again."""
    with pytest.raises(NotConnected, match="cannot be reached"):
        connect(Access(parse_address(f"{url}://u@127.0.0.1:1/d"), "", timedelta(seconds=1), Path()))


def test_values_are_bound_wherever_a_colon_is_none() -> None:
    """Colons in strings, quoted names, comments and casts stay; several values become several places."""
    text = """SELECT ':start', "a:end", x::int -- :tags\n FROM t WHERE n IN (:tags) AND a >= :start AND b >= :start"""
    found = POSTGRESQL.bound(text, {"tags": ["x", "y'; DROP TABLE t"], "start": 5})
    tail = """ FROM t WHERE n IN ($1, $2) AND a >= $3 AND b >= $4"""
    assert found.text == """SELECT ':start', "a:end", x::int -- :tags\n""" + tail
    assert found.values == ("x", "y'; DROP TABLE t", 5, 5)
    assert MARIADB.bound("a >= :start", {"start": 5}).text == "a >= CAST(? AS SIGNED)"


def test_sql_server_limits_by_top() -> None:
    """Transact-SQL, of which the text is all that could be tested."""
    text = SQLSERVER.first_rows("*", "FROM (SELECT 1 a) q", SQLSERVER.quoted("time]stamp"), 10)
    assert text == "SELECT TOP (10) * FROM (SELECT 1 a) q ORDER BY [time]]stamp]"
    address = parse_address("sqlserver://reader@h/Runtime?TrustServerCertificate=yes")
    assert address.odbc_text("ODBC Driver 18 for SQL Server", "a}b;c") == (
        "DRIVER={ODBC Driver 18 for SQL Server};SERVER={h,1433};ApplicationIntent={ReadOnly};DATABASE={Runtime};"
        "UID={reader};PWD={a}}b;c};TrustServerCertificate={yes}"
    )


def test_aveva_is_requested_raw_values_in_utc() -> None:
    """Without these conditions the server returns a hundred interpolated rows in local time."""
    start = datetime(2026, 3, 1, 1, tzinfo=UTC)
    query = raw_query([ANY_TAG.__class__(**{**vars(ANY_TAG), "address": "O'Neil"})], start, start + timedelta(hours=1))
    assert query == (
        "SELECT TagName, DateTime, Value, vValue, QualityDetail FROM History WHERE TagName IN ('O''Neil') "
        "AND DateTime >= '2026-03-01 01:00:00.000000' AND DateTime < '2026-03-01 02:00:00.000000' "
        "AND wwRetrievalMode = 'Full' AND wwVersion = 'Latest' AND wwTimeZone = 'UTC' AND wwQualityRule = 'Extended'"
    )


def test_a_query_that_ignores_its_range_is_refused() -> None:
    """It would return the same rows for every page."""
    rows = pl.DataFrame({TIME: [5, 6, 7]})
    with pytest.raises(SourceError, match=r"outside its range.*:start"):
        list(pages(lambda *_: rows, 10, 20, 2))


def test_a_local_time_that_occurs_twice_is_quarantined_once(tmp_path: Path) -> None:
    """The hours around it are read, in whichever slices the night is read."""
    (tmp_path / "plant").mkdir()
    database = sqlite3.connect(tmp_path / "plant" / "old.db")
    database.execute("CREATE TABLE r (at TEXT, v REAL)")
    times = ["01:30:00", "02:30:00", "02:45:00.5", "03:15:00"]
    database.executemany("INSERT INTO r VALUES (?, ?)", [(f"2025-10-26 {each}", 1.0) for each in times])
    database.commit()
    table = (
        'driver = "sql"\nurl = "sqlite:///old.db"\nprofile = "custom"\ntime = "text"\ntimezone = "Europe/Berlin"\n'
        "query = \"SELECT 'x' AS tag, at AS timestamp, v AS value FROM r WHERE at >= :start AND at < :end\""
    )
    archive = open_archive(connection_of(tmp_path, table, {"t": {"address": "x"}}))
    start = datetime(2025, 10, 25, 22, 10, tzinfo=UTC)
    cuts = [start + number * timedelta(minutes=37) for number in range(10)]

    async def main() -> tuple[list[datetime], list[str]]:
        kept, rejected = list[datetime](), list[str]()
        for first, last in pairwise(cuts):
            async for page in archive.read(["t"], first, last):
                kept += page.rows.samples["timestamp"].to_list()
                rejected += [] if page.rejected is None else page.rejected["reason"].to_list()
        extents = await archive.extents()
        assert extents["t"][0] <= kept[0] <= kept[-1] < extents["t"][1]
        await archive.close()
        return kept, rejected

    kept, rejected = asyncio.run(main())
    assert kept == [datetime(2025, 10, 25, 23, 30, tzinfo=UTC), datetime(2025, 10, 26, 2, 15, tzinfo=UTC)]
    assert rejected == ["the local time occurs twice or not at all: the clock changes, in Europe/Berlin"] * 2


CUSTOM = 'url = "sqlite:///a.db"\nprofile = "custom"\ntime = "epoch-ms"\n'


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('url = "oracle://u@h/d"\nprofile = "ignition"', "names no database"),
        ('url = "postgresql://u:pw@h/d"\nprofile = "ignition"', "has a password in it"),
        ('url = "postgresql://h/d"\nprofile = "ignition"', "lacks user"),
        ('url = "sqlite:///a.db"\nprofile = "aveva"', "needs since"),
        ('url = "sqlite:///a.db"\nprofile = "ignition"\nquery = "SELECT 1"', "only for profile"),
        (CUSTOM + 'query = "DELETE FROM t WHERE :start < :end"', "SELECT"),
        (CUSTOM + 'query = "SELECT 1 WHERE a > :start"', "lacks :end"),
        (CUSTOM + 'query = "SELECT :first, :start, :end"', ":first"),
    ],
)
def test_a_table_that_cannot_work_is_refused(tmp_path: Path, keys: str, said: str) -> None:
    """Before anything is connected."""
    with pytest.raises(ConfigError, match=said):
        connection_of(tmp_path, f'driver = "sql"\n{keys}', {"t": {"address": "x"}})
