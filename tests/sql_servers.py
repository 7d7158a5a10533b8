"""PostgreSQL and MariaDB for tests, each in a directory of its own and on a free port of loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from tests.servers import free_port, needed

PASSWORD: Final = "only-a-test"  # noqa: S105 (of a server that lives for one test run)
_NUMBERS: Final = count()
Command = list[str | Path]


@dataclass(frozen=True)
class SqlServer:
    """A server with a user `reader`, who may only SELECT, and has the password `PASSWORD`."""

    engine: str
    port: int
    client: tuple[str, ...]
    """The engine's own client, as administrator; takes SQL on standard input, and a database as its last argument."""

    def run(self, sql: str, database: str = "") -> None:
        """Run statements as administrator, through the engine's own client."""
        last = [database] if database else []
        done = subprocess.run([*self.client, *last], input=sql, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr

    def new_database(self) -> str:
        """The name of an empty database, of which the reader may read every table, also those made later."""
        name = f"db{next(_NUMBERS)}"
        self.run(f"CREATE DATABASE {name};", "postgres" if self.engine == "postgresql" else "")
        if self.engine == "postgresql":
            self.run("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO reader;", name)
        else:
            self.run(f"GRANT SELECT ON {name}.* TO reader@'127.0.0.1';")
        return name


@contextmanager
def postgresql() -> Iterator[SqlServer]:
    """Debian's PostgreSQL while the block runs; as user postgres, since it does not run as root."""
    programs = Path(shutil.which("initdb") or _debian_initdb()).parent
    directory, port = Path(tempfile.mkdtemp(prefix="pg")), free_port()
    as_user: Command = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(directory, "postgres")
    made: Command = [
        *as_user,
        programs / "initdb",
        "-D",
        directory / "data",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C",
        "-N",
    ]
    subprocess.run([*made, "-U", "postgres"], check=True, stdout=subprocess.DEVNULL)
    (directory / "data" / "pg_hba.conf").write_text(
        "local all postgres trust\nhost all postgres 127.0.0.1/32 trust\nhost all reader 127.0.0.1/32 scram-sha-256\n"
    )
    options = f"-p {port} -h 127.0.0.1 -k {directory} -c fsync=off -c shared_buffers=64MB"
    control: Command = [*as_user, programs / "pg_ctl", "-D", directory / "data", "-l", directory / "log", "-w"]
    subprocess.run([*control, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL)
    try:
        client = (
            "psql",
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-U",
            "postgres",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-f",
            "-",
        )
        server = SqlServer("postgresql", port, client)
        server.run(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}';", "postgres")
        yield server
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(directory)


def _debian_initdb() -> str:
    """Debian keeps the server's programs out of the path, by version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return str(found[-1]) if found else needed("initdb")


@contextmanager
def mariadb(directory: Path) -> Iterator[SqlServer]:
    """Debian's MariaDB while the block runs."""
    port, socket = free_port(), directory / "s"
    user = ["--user=root"] if os.geteuid() == 0 else []
    made = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
    install: Command = [needed("mariadb-install-db"), "--no-defaults", *user, f"--datadir={directory}/data", *made]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    options = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={socket}", "--innodb-buffer-pool-size=64M"]
    unsafe = ["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin", f"--pid-file={directory}/pid"]
    command: Command = [needed("mariadbd"), "--no-defaults", *user, f"--datadir={directory}/data", *options, *unsafe]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        for _ in range(600):
            if socket.exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        try:
            server = SqlServer("mariadb", port, ("mariadb", "--no-defaults", f"--socket={socket}", "-uroot"))
            server.run(f"CREATE USER reader@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';")
            yield server
        finally:
            process.terminate()
