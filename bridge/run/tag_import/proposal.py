"""A catalogue and a naming rule -> tags, points and assets, and a list of what could not be carried. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

import polars as pl

from bridge.drivers.catalogue import VARIABLES, completed, states_of
from bridge.run.tag_import.naming import NamingRule, Place, plain
from historian.errors import SourceError
from historian.states import listing_problem

_TEXT_TYPES: Final = ("string", "text", "digital", "bool", "enum")
"""Parts of the names of types whose values are states."""
_ABOVE: Final = re.compile(r"[/\\|.:]?[^/\\|.:]*$")
"""The last name of a path, with what separates it from those above."""


class NotCarried(NamedTuple):
    """Something that the proposal lacks."""

    address: str
    what: str
    why: str


@dataclass(frozen=True)
class ProposedTag:
    """A row of the tag list."""

    tag: str
    asset: str
    point: str
    address: str
    since: datetime | None = None
    """From when on it fills the point, if another tag did so before."""


@dataclass(frozen=True)
class ProposedPoint:
    """What a point is, as far as the catalogue says."""

    kind: str
    """`state` or `process`."""
    unit: str
    range: tuple[float, float] | None
    states: Mapping[str, float | str]


@dataclass
class Proposal:
    """What a catalogue becomes."""

    tags: list[ProposedTag] = field(default_factory=list)
    points: dict[tuple[str, str], ProposedPoint] = field(default_factory=dict)
    """(class, point) -> what it is for the first asset that has it."""
    differing: dict[tuple[str, str], ProposedPoint] = field(default_factory=dict)
    """(asset, point) -> what it is there, where range or states differ from those of the class."""
    assets: dict[str, str] = field(default_factory=dict)
    """Asset -> class."""
    elements: dict[str, str] = field(default_factory=dict)
    """Name of an element of the hierarchy, up to where the asset ends -> asset."""
    filled: dict[tuple[str, str], str] = field(default_factory=dict)
    """(asset, point) -> address of the tag that fills it."""
    not_carried: list[NotCarried] = field(default_factory=list)

    def add(self, row: Mapping[str, Any], place: Place) -> None:
        """Add a tag of the catalogue."""
        address, known = str(row["address"]), self.assets.setdefault(place.asset, place.asset_class)
        self.elements.setdefault(place.element, place.asset)
        if known != place.asset_class:
            self._leave_out(address, "class", f"{place.asset} is of class {known} by tags above it")
        filled = self.filled.setdefault((place.asset, place.point), address)
        if filled != address:
            why = f"{filled} fills {place.point} of {place.asset} already; make the rule tell them apart"
            self._leave_out(address, "tag", why)
            return
        self._add_point(row, place, known)
        self.tags += self._tags(row, place)

    def asset_of(self, path: str | None) -> str | None:
        """Return the asset of an element of the hierarchy, which is its own or one above it; None if there is none."""
        while path and path not in self.elements:
            path = _ABOVE.sub("", path)
        return self.elements.get(path or "")

    def _tags(self, row: Mapping[str, Any], place: Place) -> list[ProposedTag]:
        """Return the rows of a tag: one, or two if the signal was recorded under another address before."""
        name, address = f"{place.asset}.{place.point}", str(row["address"])
        old, since = row["replaces"], row["since"]
        if old and not since:
            self._leave_out(address, "rename", f"it replaces {old}, but not even the historian knows since when")
        if not old or not since:
            return [ProposedTag(name, place.asset, place.point, address)]
        before = ProposedTag(str(old), place.asset, place.point, str(old))
        return [before, ProposedTag(name, place.asset, place.point, address, since)]

    def _add_point(self, row: Mapping[str, Any], place: Place, asset_class: str) -> None:
        """Add what a tag says of its point, or compare it with what others say."""
        address, point = str(row["address"]), self._point(row)
        known = self.points.setdefault((asset_class, place.point), point)
        if (known.kind, known.unit) != (point.kind, point.unit):
            why = f"{asset_class}.{place.point} is {known.kind} in {known.unit or 'no unit'} by tags above it"
            self._leave_out(address, f"{point.kind} in {point.unit or 'no unit'}", f"{why}; give the tag a scale")
        elif known != point:
            self.differing[place.asset, place.point] = point

    def _point(self, row: Mapping[str, Any]) -> ProposedPoint:
        address, kind = str(row["address"]), str(row["type"] or "").lower()
        states = self._states(address, row["states"])
        if "[]" in kind:
            self._leave_out(address, "kind", "it has arrays: make its point a vibration point with a sample_rate")
        is_state = bool(states) or any(word in kind for word in _TEXT_TYPES)
        low, high = row["low"], row["high"]
        limits = (float(low), float(high)) if low is not None and high is not None and low < high else None
        if limits is None and (low is not None or high is not None):
            self._leave_out(address, "range", f"{low} to {high} is no range")
        return ProposedPoint(
            "state" if is_state else "process", row["unit"] or "", None if is_state else limits, states
        )

    def _states(self, address: str, cell: str | None) -> dict[str, float | str]:
        try:
            given = states_of(cell)
        except SourceError as error:
            self._leave_out(address, "states", str(error))
            return {}
        found = {plain(name): value for name, value in given.items()}
        problem = "two of them have one name" if len(found) < len(given) else listing_problem(found, numbers=False)
        if problem:
            self._leave_out(address, "states", problem)
        return {} if problem else found

    def _leave_out(self, address: str, what: str, why: str) -> None:
        self.not_carried.append(NotCarried(address, what, why))


def proposal_of(catalogue: pl.DataFrame, rule: NamingRule, missing: Iterable[str] = ()) -> Proposal:
    """Return what a catalogue becomes.

    Args:
        catalogue: some or all columns of `VARIABLES`.
        rule: says which asset and point a tag is.
        missing: what the catalogue lacks, as the driver reports it.
    """
    found = Proposal(not_carried=[NotCarried("", "catalogue", each) for each in missing])
    rows = completed(catalogue, VARIABLES)
    replaced = set(rows.filter(pl.col("since").is_not_null())["replaces"].drop_nulls())
    taken = set[str]()
    for row in rows.iter_rows(named=True):
        address = row["address"]
        if not address or address in taken:
            found.not_carried.append(
                NotCarried(address or "", "tag", "the catalogue has it without an address or twice")
            )
            continue
        taken.add(address)
        if address in replaced:  # it gets its row with the tag that replaces it
            continue
        place = rule.place_of(row["path"], address)
        if place is None:
            found.not_carried.append(
                NotCarried(address, "tag", f"the rule matches neither {row['path']} nor the address")
            )
        else:
            found.add(row, place)
    return found
