"""The protocol of a format in which a file is one burst: signals by name, and what the file says of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import polars as pl


class Held(NamedTuple):
    """What a file holds, as far as that is known without reading its samples."""

    names: Sequence[str]
    """What addresses can be, or begin with."""
    absent: Iterable[str]
    """Those of the addresses asked for that it does not hold."""
    longest: int
    """Upper bound on the samples of a signal."""
    start: datetime | None = None
    """When the file itself says it starts."""


class Signals(NamedTuple):
    """The signals of a file."""

    values: Mapping[str, pl.Series]
    """Address -> samples: Int16, Float32 or any other numbers."""
    rates: Mapping[str, float] = {}
    """Address -> the sample rate that the file itself says, in Hz."""
    problems: Sequence[str] = ()
    """Why some addresses cannot be read."""


class SignalFile(Protocol):
    """A file that is one burst."""

    def held(self, addresses: Sequence[str]) -> Held:
        """Return what it holds. Raises `SourceError` or an error of `UNREADABLE` if it is damaged."""
        ...

    def signals(self, addresses: Sequence[str]) -> Signals:
        """Return the signals of the addresses that it holds. Raises as `held` does."""
        ...
