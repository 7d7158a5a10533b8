"""The drivers that are installed: a driver's name in `plant.toml` is its name in the entry-point group."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Final

from historian.errors import near_misses
from historian.plant.connections import DriverSpec

_GROUP: Final = "penstock.drivers"


def driver_names() -> list[str]:
    """List the names of all installed drivers, sorted."""
    return sorted(entry_points(group=_GROUP).names)


def find_driver(name: str) -> DriverSpec:
    """Find an installed driver by its name.

    Raises:
        ValueError: there is no such driver; the message lists those that are installed.
    """
    found = entry_points(group=_GROUP)
    if name not in found.names:
        raise ValueError(f"unknown driver {name!r}{near_misses(name, found.names)}")
    driver: DriverSpec = found[name].load()
    return driver


def driver_module(name: str) -> str:
    """Return the name of the module that an installed driver is in.

    Raises:
        KeyError: there is no such driver.
    """
    return entry_points(group=_GROUP)[name].module
