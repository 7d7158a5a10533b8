"""Tags and the connections that read them, as resolved from the plant file and its tag lists.

Drivers belong to the bridge. Checking a plant file requires only a driver's keys and columns, and whether the driver
can read the tags: `DriverSpec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel

from historian.errors import ConfigError, Problem
from historian.plant.model import Bearing, Zones

Section = Literal["sources", "archives"]
"""Section of `plant.toml` in which a connection is described."""


@dataclass(frozen=True)
class Tag:
    """One named signal, resolved: its address, the point that it fills, and the newest facts about that point.

    `Plant.tag_at` returns it with the facts of another time.
    """

    name: str
    asset: str
    point: str
    kind: Literal["vibration", "process", "speed", "state"]
    unit: str
    sample_rate: float | None
    range: tuple[float, float] | None
    max_staleness: timedelta
    address: str
    scale: float
    offset: float
    options: BaseModel
    """The driver's own columns of the tag list, checked."""
    listed: tuple[str, str] = ("", "")
    """File and row of the tag list, as `errors.Problem` takes them."""
    states: Mapping[str, float | str] = field(default_factory=dict, hash=False)
    """Name of a state -> its number or text."""
    bearing: Bearing | None = None
    """The bearing under the point."""
    zones: Zones | None = field(default=None, hash=False)
    """The point's limits of velocity RMS."""
    ranges: tuple[tuple[datetime, tuple[float, float] | None], ...] = ()
    """Range and from when it holds, oldest first; empty if it has always been the same."""
    fixed_rpm: tuple[tuple[datetime, float | None], ...] = ()
    """Of a speed tag: the fixed speed that the plant file gives the asset as well, and from when, oldest first."""
    since: datetime | None = None
    """From when on it fills the point, UTC; None for ever, or as long as no other tag is known to have filled it."""


class DriverSpec(Protocol):
    """The part of a driver that is needed to check a plant file; implemented by `bridge.drivers.protocols.Driver`."""

    @property
    def options(self) -> type[BaseModel]:
        """The keys the driver takes in its table of `plant.toml`."""
        ...

    @property
    def address(self) -> type[BaseModel]:
        """The columns the driver adds to the tag list."""
        ...

    def offers(self, section: Section) -> bool:
        """Return whether the driver can be used in that section: as a live source, or as an archive."""
        ...

    def check(self, connection: ConnectionConfig, section: Section) -> None:
        """Check options and tags without connecting. Raises `ConfigError` with every problem."""


@dataclass(frozen=True)
class ConnectionConfig:
    """A resolved source or archive: its driver, the driver's options, and its tags."""

    name: str
    driver: DriverSpec
    options: BaseModel | None
    """The driver's options, checked; None if the environment lacks a variable they refer to."""
    tags: tuple[Tag, ...]
    root: Path
    """Directory of `plant.toml`, to which paths in the options are relative."""
    unset: tuple[Problem, ...] = ()
    """One problem for each missing variable."""
    state: Path | None = None
    """Directory for what is to survive a restart; None for a connection that keeps nothing."""

    def check_variables(self) -> None:
        """Check that the environment has every variable the options refer to; call before the connection is used.

        Raises:
            ConfigError: with each missing variable and the line that refers to it.
        """
        if self.unset:
            raise ConfigError(self.unset)
