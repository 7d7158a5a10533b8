"""Connections to databases that can only read: Arrow from ADBC for PostgreSQL and SQLite, from ODBC for the others.

The only file that knows these libraries. A statement is a read-only transaction of its own: none is kept open while
pages are stored, which would hold up the database's own housekeeping.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

import polars as pl
import pyarrow as pa
from adbc_driver_postgresql import dbapi as postgresql
from adbc_driver_sqlite import dbapi as sqlite

from bridge.drivers.sql.address import DatabaseAddress, Engine
from bridge.drivers.sql.statements import MARIADB, POSTGRESQL, SQLITE, SQLSERVER, Dialect, Statement, Value
from historian.errors import NotConnected, SourceError

DIALECTS: Final[dict[Engine, Dialect]] = {
    "postgresql": POSTGRESQL, "sqlite": SQLITE, "mariadb": MARIADB, "sqlserver": SQLSERVER,
}  # fmt: skip
ODBC_DRIVERS: Final[dict[Engine, str]] = {"mariadb": "MariaDB Unicode", "sqlserver": "ODBC Driver 18 for SQL Server"}
"""Engine -> name under which its ODBC driver is usually installed."""
_CONNECT_S: Final = 10
_TEXT_BYTES: Final = 8_192
_LEAST_ROWS: Final = 65_536
_BATCH_BYTES: Final = 64 << 20
_STATE: Final = re.compile(r"(?:SQLSTATE|State): ?(\w{5})")
_LOST: Final = re.compile(r"08...|57P0[123]|53300|HYT0.")
"""SQLSTATEs of connections that are lost, or refused for now."""
_DENIED: Final = re.compile(
    r"authentication failed|no password supplied|does not exist|Access denied|Login failed", re.I
)
_SLOW: Final = re.compile(
    r"57014|70100|HY008|max_statement_time|query execution was interrupted|statement timeout", re.I
)


@dataclass(frozen=True)
class Access:
    """How to connect to a database, and for how long a statement may run."""

    address: DatabaseAddress
    password: str
    timeout: timedelta
    root: Path
    """Directory to which the path of a SQLite file is relative."""
    odbc_driver: str | None = None


class DatabaseConnection(Protocol):
    """A connection that can only read."""

    def frames(self, statement: Statement, rows: int) -> Generator[pl.DataFrame]:
        """Yield the rows of a SELECT in frames of at most `rows` rows; at least one frame, perhaps without rows.

        Raises:
            NotConnected: the connection is lost.
            SourceError: the statement took too long, or the database refuses it.
        """
        ...

    def close(self) -> None:
        """Close the connection."""


def connect(access: Access) -> DatabaseConnection:
    """Connect to a database.

    Raises:
        NotConnected: it does not respond.
        SourceError: it does not accept the user, or a library is missing.
    """
    with _errors(access, connecting=True):
        if access.address.engine in ODBC_DRIVERS:
            return OdbcConnection(access)
        return AdbcConnection(access)


def whole(connection: DatabaseConnection, statement: Statement, rows: int) -> pl.DataFrame:
    """Return the rows of a SELECT that has at most about `rows` rows."""
    return pl.concat(list(connection.frames(statement, rows)), how="vertical_relaxed")


class AdbcConnection:
    """PostgreSQL or SQLite."""

    def __init__(self, access: Access) -> None:
        self._access = access
        address = access.address
        if address.engine == "sqlite":
            self._connection: Any = sqlite.connect(address.sqlite_uri(access.root), autocommit=True)
            self._prepare("PRAGMA query_only = ON")
            return
        self._connection = postgresql.connect(address.libpq_uri(access.password, _CONNECT_S), autocommit=True)
        self._prepare("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        self._prepare(f"SET statement_timeout = {access.timeout // timedelta(milliseconds=1)}")
        self._prepare("SET TimeZone = 'UTC'")

    def _prepare(self, text: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(text)

    def frames(self, statement: Statement, rows: int) -> Generator[pl.DataFrame]:
        """See `DatabaseConnection.frames`."""
        with _errors(self._access), self._connection.cursor() as cursor:
            if self._access.address.engine == "sqlite":
                # The types of a column are those of its first batch.
                cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(max(rows, _LEAST_ROWS))})
            cursor.execute(statement.text, statement.values or None)
            yield from _frames(cursor.fetch_record_batch(), rows)

    def close(self) -> None:
        """See `DatabaseConnection.close`."""
        self._connection.close()


class OdbcConnection:
    """MariaDB or SQL Server."""

    def __init__(self, access: Access) -> None:
        self._access = access
        address = access.address
        driver = access.odbc_driver or ODBC_DRIVERS[address.engine]
        text = address.odbc_text(driver, access.password)
        self._connection: Any = _odbc().connect(text, login_timeout_sec=_CONNECT_S)
        if address.engine == "mariadb":
            seconds = access.timeout.total_seconds()
            self._connection.execute("SET SESSION TRANSACTION READ ONLY")
            self._connection.execute(f"SET SESSION max_statement_time = {seconds}, time_zone = '+00:00'")

    def frames(self, statement: Statement, rows: int) -> Generator[pl.DataFrame]:
        """See `DatabaseConnection.frames`."""
        with _errors(self._access):
            reader = self._connection.read_arrow_batches(
                statement.text,
                batch_size=max(min(rows, 65_535), 1),
                parameters=[_odbc_text(value) for value in statement.values] or None,
                max_bytes_per_batch=_BATCH_BYTES,
                max_text_size=_TEXT_BYTES,
                fetch_concurrently=False,
                query_timeout_sec=max(int(self._access.timeout.total_seconds()), 1),
            )
            yield from _frames(pa.RecordBatchReader.from_batches(reader.schema, reader), rows)

    def close(self) -> None:
        """See `DatabaseConnection.close`; ODBC closes it when the last reference is gone."""
        self._connection = None


def _odbc_text(value: Value) -> str:
    return f"{value.replace(tzinfo=None):%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else str(value)


def _frames(reader: pa.RecordBatchReader, rows: int) -> Iterator[pl.DataFrame]:
    yield _frame(reader.schema.empty_table())
    for batch in reader:
        yield from _frame(pa.Table.from_batches([batch])).iter_slices(rows)


def _frame(table: pa.Table) -> pl.DataFrame:
    """Return Arrow data as a frame; PostgreSQL's numeric comes as text of a type of its own."""
    plain = [column.cast(column.type.storage_type) if _is_opaque(column) else column for column in table.columns]
    frame = pl.from_arrow(pa.table(plain, names=table.column_names))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 (of a table it is one)
    return frame


def _is_opaque(column: pa.ChunkedArray) -> bool:
    return isinstance(column.type, pa.BaseExtensionType)


@contextmanager
def _errors(access: Access, *, connecting: bool = False) -> Iterator[None]:
    """Turn what the libraries raise into `NotConnected` or `SourceError`."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:  # noqa: BLE001 (the libraries have trees of their own, and Arrow wraps both)
        raise _meaning(access, str(error), connecting=connecting) from None


def _meaning(access: Access, text: str, *, connecting: bool) -> SourceError:
    """Return the error for what a library says."""
    said = " ".join(text.split()).removesuffix(". SQLSTATE:")
    found = _STATE.search(text)
    state, peer = found[1] if found else "", access.address.peer
    if connecting and _DENIED.search(text):
        return SourceError(f"{peer} does not accept us: {said}; check url and password")
    if _SLOW.search(text):
        return SourceError(
            f"{peer}: a statement took longer than the time-out: {said}; it may lack an index on the timestamp, or "
            "give it more time with timeout"
        )
    if connecting or _LOST.fullmatch(state) or (not state and _is_cut_off(access, text)):
        return NotConnected(f"{peer} cannot be reached: {said}")
    return SourceError(f"{peer} refuses a statement: {said}")


def _is_cut_off(access: Access, text: str) -> bool:
    """Whether an error without SQLSTATE is one of the connection: libpq quotes what the server said as ERROR."""
    said_by_server = "ERROR:" in text and "terminating connection" not in text
    return access.address.engine != "sqlite" and not said_by_server


def _odbc() -> ModuleType:
    """Import the library for ODBC, which needs the driver manager of the operating system."""
    try:
        return import_module("arrow_odbc")
    except (ImportError, OSError) as error:
        raise SourceError(f"ODBC cannot be used: {error}; install unixODBC (Debian: unixodbc, odbc-mariadb)") from None
