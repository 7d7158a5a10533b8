"""What a driver can find out about the other side besides samples: `probe` and `browse`.

Both are optional and declared in the `Driver`. They connect, read, and disconnect; nothing is ever written or called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from historian.plant.connections import ConnectionConfig

Fact = str | float | bool | datetime | None
"""A value of a report; a float may be an integer."""

VARIABLES: Final = pl.Schema(
    {
        "address": pl.String(),
        "path": pl.String(),
        "type": pl.String(),
        "unit": pl.String(),
        "low": pl.Float64(),
        "high": pl.Float64(),
    }
)
"""Columns of the variables that a browse finds: the address as the tag list takes it, the names on the way there, the
type of the value, and unit and range where the server says them."""


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
    """The variables of a device or server."""

    variables: pl.DataFrame
    """Columns of `VARIABLES`, in the order of the levels."""
    missing: tuple[str, ...] = ()
    """What was left out, and why; empty if nothing was."""


Probe = Callable[[ConnectionConfig], Awaitable[ProbeReport]]
"""Connects and returns what the other side says of itself. Raises `NotConnected` if the connection cannot be made."""

Browse = Callable[[ConnectionConfig, BrowseLimits], Awaitable[BrowseReport]]
"""Connects and returns the variables of the other side. Raises `NotConnected` if the connection cannot be made or is
lost. The connection's tags are not used, and need not exist yet."""
