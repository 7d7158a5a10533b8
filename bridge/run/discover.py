"""Probing and browsing the plant's sources, for `penstock probe` and `penstock browse`."""

from __future__ import annotations

from bridge.drivers.discovery import BrowseLimits, BrowseReport, ProbeReport
from bridge.drivers.protocols import Driver
from historian.errors import InvalidInput
from historian.plant.connections import ConnectionConfig


async def probe_source(connection: ConnectionConfig) -> ProbeReport:
    """Return what the device or server of a source says of itself.

    Raises:
        InvalidInput: the driver cannot probe.
        ConfigError: a variable is not set, or a file of the connection cannot be used.
        NotConnected: the other side cannot be reached.
    """
    connection.check_variables()
    driver = connection.driver
    if not isinstance(driver, Driver) or driver.probe is None:
        raise InvalidInput(
            f"the driver of {connection.name} cannot probe; start `penstock stream` to see what it reads"
        )
    return await driver.probe(connection)


async def browse_source(connection: ConnectionConfig, limits: BrowseLimits) -> BrowseReport:
    """Return the variables of the device or server of a source; its tags are not needed.

    Raises:
        InvalidInput: the driver cannot browse.
        ConfigError: a variable is not set, or a file of the connection cannot be used.
        NotConnected: the other side cannot be reached.
    """
    connection.check_variables()
    driver = connection.driver
    if not isinstance(driver, Driver) or driver.browse is None:
        raise InvalidInput(
            f"the driver of {connection.name} cannot browse: its devices do not list what they hold; "
            "take the addresses from their manual"
        )
    return await driver.browse(connection, limits)
