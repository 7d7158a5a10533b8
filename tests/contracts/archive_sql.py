"""Databases as the contract suite of archives fills them: Ignition's tables, tables of any plant, and AVEVA's views."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Final

import polars as pl
import pytest

from historian.plant.connections import ConnectionConfig
from historian.quality import BAD, BAD_NOT_CONNECTED, UNCERTAIN
from tests.contracts.archives import connection_of
from tests.gate import Gate, gate_to
from tests.sql_servers import PASSWORD, SqlServer

_DA: Final = {0: 192, UNCERTAIN: 64, BAD: 0, BAD_NOT_CONNECTED: 8}
"""StatusCode -> quality of OPC DA, in which Ignition and AVEVA write it."""
IGNITION_TABLES: Final = """
CREATE TABLE sqlth_drv (id INTEGER PRIMARY KEY, name VARCHAR(255), provider VARCHAR(255));
CREATE TABLE sqlth_scinfo (id INTEGER PRIMARY KEY, scname VARCHAR(255), drvid INTEGER);
CREATE TABLE sqlth_sce (scid INTEGER, start_time BIGINT, end_time BIGINT, rate INTEGER);
CREATE TABLE sqlth_te (id INTEGER PRIMARY KEY, tagpath VARCHAR(255), scid INTEGER, datatype INTEGER, querymode INTEGER,
                       created BIGINT, retired BIGINT);
CREATE TABLE sqlth_partitions (pname VARCHAR(64), drvid INTEGER, start_time BIGINT, end_time BIGINT, blocksize INTEGER,
                               flags INTEGER);
INSERT INTO sqlth_drv VALUES (1, 'gw', 'north');
INSERT INTO sqlth_scinfo VALUES (1, '_exempt_', 1), (2, 'default', 1);
"""
SAMPLES_TABLE: Final = (
    "CREATE TABLE {name} (tagid INTEGER NOT NULL, intvalue BIGINT, floatvalue DOUBLE PRECISION, "
    "stringvalue VARCHAR(255), datevalue TIMESTAMP NULL, dataintegrity INTEGER, t_stamp BIGINT NOT NULL, "
    "PRIMARY KEY (tagid, t_stamp));"
)


class Database:
    """A database that a test fills by SQL, on a server behind a gate or in a file."""

    def __init__(self, request: pytest.FixtureRequest, directory: Path, engine: str) -> None:
        self.directory = directory
        self.engine = engine
        self.gate: Gate | None = None
        if engine == "sqlite":
            (directory / "plant").mkdir()
            self.url = "sqlite:///old.db"
            return
        server: SqlServer = request.getfixturevalue(f"{engine}_server")
        self._server, self._name = server, server.new_database()
        opened = gate_to(server.port)
        self.gate = opened.__enter__()
        request.addfinalizer(lambda: opened.__exit__(None, None, None))
        self.url = f"{engine}://reader@127.0.0.1:{self.gate.port}/{self._name}"

    def run(self, sql: str) -> None:
        """Run statements as administrator."""
        if self.engine != "sqlite":
            self._server.run(sql, self._name)
            return
        connection = sqlite3.connect(self.directory / "plant" / "old.db")
        connection.executescript(sql)
        connection.close()

    def insert(self, table: str, rows: pl.DataFrame) -> None:
        """Insert rows whose columns are those of the table, in order."""
        if rows.is_empty():
            return
        lines = ", ".join(f"({', '.join(map(self._literal, row))})" for row in rows.iter_rows())
        self.run(f"INSERT INTO {table} VALUES {lines};")

    def _literal(self, value: object) -> str:
        if isinstance(value, str):
            escaped = value.replace("\\", "\\\\") if self.engine == "mariadb" else value
            return "'" + escaped.replace("'", "''") + "'"
        return "NULL" if value is None else str(value)


class SqlHarness:
    """What all databases have in common; the subclasses of tests say what the tables are."""

    resolution = timedelta(milliseconds=1)
    qualities: Collection[int] = (UNCERTAIN, BAD, BAD_NOT_CONNECTED)
    has_texts, has_repeats = True, False
    keys: str
    """Keys of the archive's table in plant.toml, apart from those that all have."""

    def __init__(self, request: pytest.FixtureRequest, directory: Path, engine: str) -> None:
        self.database = Database(request, directory, engine)

    def connection(self, tags: Collection[str], page_rows: int) -> ConnectionConfig:
        """As the user who may only SELECT."""
        table = f'driver = "sql"\nurl = "{self.database.url}"\npassword = "{PASSWORD}"\npage_rows = {page_rows}\n'
        cells = {tag: {"address": self.address(tag)} for tag in tags}
        return connection_of(self.database.directory, table + self.keys, cells)

    def address(self, tag: str) -> str:
        """The address of a tag."""
        return tag

    def most_rows(self, page_rows: int) -> int:
        """More than `page_rows` only where more samples share a time: fifteen do."""
        return max(page_rows, 30)

    def stop(self) -> None:
        """Shut the gate."""
        assert self.database.gate is not None
        self.database.gate.shut()

    def start(self) -> None:
        """Open the gate."""
        assert self.database.gate is not None
        self.database.gate.open()


class IgnitionHarness(SqlHarness):
    """Ignition's tables: two ids for each tag, and a table a month."""

    keys = 'profile = "ignition"'

    def fill(self, history: pl.DataFrame) -> None:
        """The first half of each tag has an id that was retired since."""
        self.database.run(IGNITION_TABLES)
        tags = sorted(history["tag"].unique())
        retired = [f"({100 + n}, '{self.path(tag)}', 2, 0, 0, 0, 1)" for n, tag in enumerate(tags)]
        current = [f"({n}, '{self.path(tag)}', 2, {1 + ('text' in tag)}, 0, 1, NULL)" for n, tag in enumerate(tags)]
        self.database.run(f"INSERT INTO sqlth_te VALUES {', '.join([*retired, *current])};")
        is_text = pl.col("text").is_not_null()
        number = pl.col("tag").replace_strict({tag: n for n, tag in enumerate(tags)}, return_dtype=pl.Int64)
        is_old = (pl.col("timestamp").rank("ordinal").over("tag") % 2 == 0) & ~is_text
        rows = history.with_columns(id=pl.when(is_old).then(number + 100).otherwise(number))
        whole = pl.col("value").round() == pl.col("value")
        month = pl.col("timestamp").dt.strftime("%Y_%m")
        table = rows.select(
            "id",
            intvalue=pl.when(whole).then(pl.col("value").cast(pl.Int64)),
            floatvalue=pl.when(~whole).then("value"),
            stringvalue="text",
            datevalue=pl.lit(None),
            dataintegrity=pl.col("quality").replace_strict(_DA),
            t_stamp=pl.col("timestamp").dt.epoch("ms"),
            month=month,
        )
        for (name,), part in table.partition_by("month", as_dict=True, include_key=False).items():
            low, high = part.select(low=pl.col("t_stamp").min(), high=pl.col("t_stamp").max()).row(0)
            self.database.run(SAMPLES_TABLE.format(name=f"sqlt_data_1_{name}"))
            self.database.insert(f"sqlt_data_1_{name}", part)
            listed = f"('sqlt_data_1_{name}', 1, {low}, {high}, 0, 0)"
            self.database.run(f"INSERT INTO sqlth_partitions VALUES {listed}, {listed};")
        self.database.run(
            "INSERT INTO sqlth_partitions VALUES ('sqlt_data_1_2018_12', 1, 0, 1546300800000, 0, 0), "
            "('sqlth_1_data_60', 1, 0, 2000000000000, 60, 0);"
        )

    def path(self, tag: str) -> str:
        """Ignition's tables have paths in lower case."""
        return f"line 1/{tag}"

    def address(self, tag: str) -> str:
        """As an engineer writes it."""
        return f"[North]Line 1/{tag}"


class TableHarness(SqlHarness):
    """A table of any plant, with a time type and with repeats."""

    resolution = timedelta(microseconds=1)
    has_repeats = True

    def __init__(self, request: pytest.FixtureRequest, directory: Path, engine: str) -> None:
        super().__init__(request, directory, engine)
        zone = {"postgresql": "", "mariadb": 'timezone = "UTC"\n', "sqlite": 'timezone = "UTC"\n'}[engine]
        self.keys = (
            f'profile = "custom"\ntime = "{"text" if engine == "sqlite" else "timestamp"}"\n{zone}'
            'quality = { column = "q", kind = "opc-da" }\n'
            f'query = "SELECT name AS tag, ts AS timestamp, reading AS value, word AS text, q FROM readings '
            'WHERE name IN (:tags) AND ts >= :start AND ts < :end"'
        )

    def fill(self, history: pl.DataFrame) -> None:
        """One table, with an index on the time."""
        kind = {"postgresql": "timestamptz", "mariadb": "DATETIME(6)", "sqlite": "TEXT"}[self.database.engine]
        self.database.run(
            f"CREATE TABLE readings (name VARCHAR(64), ts {kind}, reading DOUBLE PRECISION, word VARCHAR(64), q INT);"
            "CREATE INDEX by_time ON readings (ts);"
        )
        offset = "+00" if self.database.engine == "postgresql" else ""
        times = pl.col("timestamp").dt.strftime("%Y-%m-%d %H:%M:%S%.6f" + offset)
        quality = pl.col("quality").replace_strict(_DA)
        self.database.insert("readings", history.select("tag", times, "value", "text", quality))


class AvevaHarness(SqlHarness):
    """Tables that stand in for the views of AVEVA Historian, with the rows of other modes among those of Full."""

    resolution = timedelta(microseconds=1)
    has_repeats = True
    keys = 'profile = "aveva"\nsince = 2019-01-01T00:00:00Z'

    def fill(self, history: pl.DataFrame) -> None:
        """Beside each raw row stand those that the server would return in another mode, version and time zone."""
        self.database.run(
            "CREATE TABLE Tag (TagName TEXT); CREATE TABLE Live (TagName TEXT, DateTime TEXT, wwTimeZone TEXT);"
            "CREATE TABLE History (TagName TEXT, DateTime TEXT, Value REAL, vValue TEXT, QualityDetail INTEGER, "
            "wwRetrievalMode TEXT, wwVersion TEXT, wwTimeZone TEXT, wwQualityRule TEXT);"
        )
        times = pl.col("timestamp").dt.strftime("%Y-%m-%d %H:%M:%S%.6f")
        newest = history.group_by("tag").agg(pl.col("timestamp").max()).select("tag", times, zone=pl.lit("UTC"))
        self.database.insert("Tag", newest.select("tag"))
        self.database.insert("Live", newest)
        is_edited = (pl.col("quality") == 0) & (pl.col("value") > 5)
        detail = pl.when(is_edited).then(202).otherwise(pl.col("quality").replace_strict(_DA))
        rows = history.select("tag", times, "value", "text", detail.alias("quality"))
        for mode in (
            ("Full", "Latest", "UTC", "Extended"),
            ("Cyclic", "Latest", "UTC", "Extended"),
            ("Full", "Original", "UTC", "Extended"),
            ("Full", "Latest", "Eastern Standard Time", "Extended"),
        ):
            marks = [pl.lit(each).alias(f"m{number}") for number, each in enumerate(mode)]
            self.database.insert("History", rows.with_columns(marks))
