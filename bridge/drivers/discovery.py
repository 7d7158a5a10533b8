"""What a driver can find out about the other side besides samples: `probe`, `browse` and `events`.

All are optional and declared in the `Driver`. They connect, read, and disconnect; nothing is ever written or called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from historian.plant.connections import ConnectionConfig

if TYPE_CHECKING:  # the plant file is checked without it
    import polars as pl

Fact = str | float | bool | datetime | None
"""A value of a report; a float may be an integer."""


@dataclass(frozen=True)
class ProbeReport:
    """What a device or server says of itself."""

    facts: Mapping[str, Fact]
    """Single facts, by name; durations end in `_s`, in seconds."""
    tables: Mapping[str, Sequence[Mapping[str, Fact]]]
    """Facts of which there are several, by name: rows with the same keys."""
    ok: bool
    """Whether the source can be read as it is configured."""


@dataclass(frozen=True)
class BrowseLimits:
    """How far a browse goes."""

    depth: int = 12
    """Largest number of levels below the root."""
    variables: int = 10_000
    """Largest number of variables to return."""

    @property
    def nodes(self) -> int:
        """Largest number of nodes to visit, variables or not."""
        return 10 * self.variables


@dataclass(frozen=True)
class BrowseReport:
    """The variables of a device or server, or the tags of a historian."""

    variables: pl.DataFrame
    """A variable a row, in the order of the levels: `address` as the tag list takes it, `path` of names, `type` of the
    value, and whichever other columns of `catalogue.VARIABLES` the other side can fill."""
    missing: tuple[str, ...] = ()
    """What was left out, and why; empty if nothing was."""


@dataclass(frozen=True)
class EventReport:
    """What a historian recorded about the plant apart from samples: event frames, alarms, annotations."""

    events: pl.DataFrame
    """An event a row, whichever columns of `catalogue.EVENTS` the other side can fill."""
    missing: tuple[str, ...] = ()
    """What was left out, and why; empty if nothing was."""


Probe = Callable[[ConnectionConfig], Awaitable[ProbeReport]]
"""Connects and returns what the other side says of itself. Raises `NotConnected` if the connection cannot be made."""

Browse = Callable[[ConnectionConfig, BrowseLimits], Awaitable[BrowseReport]]
"""Connects and returns the variables of the other side. Raises `NotConnected` if the connection cannot be made or is
lost. The connection's tags are not used, and need not exist yet."""

Events = Callable[[ConnectionConfig, datetime | None, datetime | None], Awaitable[EventReport]]
"""Connects and returns the events with start <= t < end; None is the oldest or the newest one. Raises `NotConnected` if
the connection cannot be made or is lost. The connection's tags are not used, and need not exist yet."""
