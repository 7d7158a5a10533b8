"""Which archive an `influxdb` connection has: a server's, or that of exported files."""

from __future__ import annotations

from typing import cast

from bridge.drivers.influxdb.driver import Options
from bridge.drivers.influxdb.exports import ExportArchive
from bridge.drivers.influxdb.server import ServerArchive
from bridge.drivers.protocols import Archive
from historian.plant.connections import ConnectionConfig


def archive_of(connection: ConnectionConfig) -> Archive:
    """Create the archive of a connection; connects to nothing."""
    options = cast(Options, connection.options)
    return ServerArchive(connection) if options.path is None else ExportArchive(connection, options.path)
