"""The url of a database: which engine it names, and what its libraries need to connect. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

Engine = Literal["postgresql", "mariadb", "sqlite", "sqlserver"]

_SCHEMES: Final[Mapping[str, Engine]] = {
    "postgresql": "postgresql", "postgres": "postgresql", "mariadb": "mariadb", "sqlite": "sqlite",
    "sqlserver": "sqlserver", "mssql": "sqlserver",
}  # fmt: skip
_PORTS: Final[Mapping[Engine, int]] = {"postgresql": 5432, "mariadb": 3306, "sqlserver": 1433}
_FORM: Final = "write postgresql://USER@HOST:5432/DATABASE, mariadb://, sqlserver://, or sqlite:///PATH"


@dataclass(frozen=True)
class DatabaseAddress:
    """Where a database is."""

    engine: Engine
    host: str
    port: int
    database: str
    """Name of the database; of SQLite, the path of its file."""
    user: str
    settings: tuple[tuple[str, str], ...]
    """What follows the question mark: settings of the engine's own client library."""

    @property
    def peer(self) -> str:
        """The database, for messages."""
        if self.engine == "sqlite":
            return f"SQLite database {self.database}"
        return f"{self.engine} database {self.database} at {self.host} port {self.port}"

    def libpq_uri(self, password: str, timeout_s: int) -> str:
        """Return the address as libpq takes it."""
        user = quote(self.user, safe="") + (f":{quote(password, safe='')}" if password else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        settings = urlencode({"connect_timeout": timeout_s, **dict(self.settings)})
        return f"postgresql://{user}@{host}:{self.port}/{quote(self.database, safe='')}?{settings}"

    def sqlite_uri(self, root: Path) -> str:
        """Return the address of the file as SQLite takes it, to be opened for reading only."""
        return f"file:{quote(str(root / self.database))}?mode=ro"

    def odbc_text(self, driver: str, password: str) -> str:
        """Return the address as an ODBC driver manager takes it; a setting of the url overrides one of these.

        Args:
            driver: name or path of the ODBC driver.
            password: the user's password.
        """
        server = (
            {"SERVER": f"{self.host},{self.port}", "ApplicationIntent": "ReadOnly"}
            if self.engine == "sqlserver"
            else {"SERVER": self.host, "PORT": str(self.port)}
        )
        keys = {"DRIVER": driver, **server, "DATABASE": self.database, "UID": self.user, "PWD": password}
        return ";".join(f"{key}={_braced(value)}" for key, value in {**keys, **dict(self.settings)}.items())


def parse_address(url: str) -> DatabaseAddress:
    """Parse the url of a database.

    Raises:
        ValueError: it names no engine, host, database or user, or has a password in it.
    """
    parts = urlsplit(url)
    engine = _SCHEMES.get(parts.scheme)
    if engine is None:
        raise ValueError(f"url names no database that can be read; {_FORM}")
    if parts.password is not None:
        raise ValueError('url has a password in it; write password = "${NAME}" instead')
    settings = tuple(parse_qsl(parts.query, strict_parsing=True)) if parts.query else ()
    if engine == "sqlite":
        path = unquote(parts.path.removeprefix("/"))
        if parts.netloc or not path or settings:
            raise ValueError("write sqlite:///PATH, relative to plant.toml, or sqlite:////PATH from the root")
        return DatabaseAddress(engine, "", 0, path, "", ())
    database, host = unquote(parts.path).strip("/"), parts.hostname or ""
    if not (host and database and parts.username):
        raise ValueError(f"url lacks user, host or database; {_FORM}")
    port = parts.port or _PORTS[cast(Engine, engine)]
    return DatabaseAddress(engine, host, port, database, unquote(parts.username), settings)


def _braced(value: str) -> str:
    """Return a value of an ODBC connection text, whatever characters it has."""
    return "{" + value.replace("}", "}}") + "}"
