"""One figure of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Figure:
    """One number that a script prints in a JSON line."""

    name: str
    group: str
    """The table of the page it is in; see `benchmarks/page.md`."""
    script: str
    """The module of `benchmarks` that measures it."""
    what: str
    """What of ours is measured, for the page."""
    against: str
    """What it is compared with, or nothing."""
    target: float | None = None
    unit: str = "ratio"
    """`ratio` is our rate divided by the other's, unless `what` says otherwise."""
    better: Better = "higher"
    line: str = ""
    """The `name` in the JSON line; that of the figure if empty."""
    key: str = "ratio"
    """The key in the JSON line."""
    where: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Other keys of the line, with the values that distinguish it from lines of the same name."""

    def value_in(self, record: Mapping[str, Any]) -> float | None:
        """The figure's value in a line its script has printed, or None if the line is about another figure."""
        if record.get("name") != (self.line or self.name) or any(record.get(k) != v for k, v in self.where.items()):
            return None
        value = record.get(self.key)
        return None if value is None else float(value)
