"""The definition that a feature table's rows were computed by, as stored in the table, and what a change of it means.

Rows with another window, hop, alignment, unit or rate must not be in one table with the old ones: such a change is
refused. Another version of a feature, or a new feature, leaves the table usable: each row's created timestamp shows the
versions it was computed by, and older rows are stale in these columns until they are recomputed. Rows of an asset are
stale if the plant file has other facts for the time of their windows than it had when they were computed: other tags,
another bearing, speed, range, states or zones; only facts that a column of the view depends on count.

The form in which a definition is stored has a version; see `features.tables.definition_format`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final

import polars as pl

from features.define.history import FIRST, LAST, Held, history_of
from features.define.view_plan import ViewPlan
from features.tables.definition_format import read, written
from historian.plant.plant import Plant
from historian.times import format_duration, parse_duration

OUTDATED: Final = pl.Schema(
    {
        "asset": pl.String(),
        "after": pl.Int64(),
        "until": pl.Int64(),
        "created_from": pl.Int64(),
        "created_until": pl.Int64(),
    }
)
"""Rows of an asset with after < event_timestamp <= until and created_from <= created_timestamp < created_until, all in
microseconds since the epoch."""


Digests = Sequence[tuple[int | None, str]]
"""Digests of an asset's facts, oldest first, each with the instant from which they hold; None for ever."""


@dataclass(frozen=True)
class Provenance:
    """By what rows were computed, from one created timestamp up to that of the next provenance."""

    since: int
    """The first created timestamp, in microseconds since the epoch."""
    features: Mapping[str, int]
    """Column -> version."""
    assets: Mapping[str, Digests]
    """Asset -> digests of the facts that its rows depend on: its tags and what the plant file says of it."""
    newest: int | None = None
    """An upper bound of the event timestamps of rows by this provenance and older ones; None if more may follow."""


@dataclass(frozen=True)
class Definition:
    """Everything except samples that the values of a view's rows depend on."""

    window: str
    hop: str
    align: str
    points: Mapping[str, tuple[str, float | str]]
    """Point -> unit, and sample rate or max_staleness."""
    provenance: tuple[Provenance, ...]
    """Oldest first; by the last one rows are computed now."""

    def to_json(self) -> str:
        """Return the form that is stored as the table's description."""
        return written({**_fields(self), "provenance": [*map(_fields, self.provenance)]})

    @property
    def features(self) -> Mapping[str, int]:
        """Column -> version, of rows computed now."""
        return self.provenance[-1].features

    @property
    def fresh_since(self) -> int:
        """The first created timestamp from which rows have every column at its present version."""
        since = self.provenance[-1].since
        for before in reversed(self.provenance[:-1]):
            if not self.features.items() <= before.features.items():
                return since
            since = before.since
        return since

    @property
    def stale_columns(self) -> list[str]:
        """Columns that older rows lack, or have by another version, sorted."""
        current = self.features.items()
        return sorted({name for each in self.provenance for name, _ in current - each.features.items()})

    @property
    def stale_assets(self) -> list[str]:
        """Assets with older rows of windows in which other facts held according to the plant file of then, sorted."""
        return sorted(set(self.outdated["asset"]))

    @cached_property
    def outdated(self) -> pl.DataFrame:
        """Rows that other facts were used for than hold according to the present plant file; columns of `OUTDATED`."""
        now, length = self.provenance[-1].assets, parse_duration(self.window) // timedelta(microseconds=1)
        rows = [
            (asset, after, min(until + length, LAST) - 1, each.since, following.since)
            for each, following in pairwise(self.provenance)
            for asset, was in each.assets.items()
            if was != now.get(asset, was)  # nearly always equal, and quickly compared
            for after, until in differing(was, now[asset])
            if each.newest is None or after < each.newest
        ]
        return pl.DataFrame(rows, OUTDATED, orient="row")

    def conflict(self, other: Definition) -> str:
        """Return in words what differs in the meaning of windows; empty if rows of both can stand in one table."""
        for key in ("window", "hop", "align"):
            if getattr(self, key) != getattr(other, key):
                return f"{key} was {getattr(self, key)} and is {getattr(other, key)} now"
        for point in self.points.keys() & other.points.keys():
            if self.points[point] != other.points[point]:
                was, now = (" at ".join(map(str, each.points[point])) for each in (self, other))
                return f"{point} was {was} and is {now} now"
        return ""

    def followed_by(self, other: Definition, *, since: int, newest: int | None = None) -> Definition:
        """Return this definition, followed by that of `other` for rows created from `since` on.

        Args:
            other: the definition that follows.
            since: a created timestamp in microseconds since the epoch.
            newest: an upper bound of the event timestamps of the rows there are.
        """
        before = replace(self.provenance[-1], newest=newest)
        after = replace(other.provenance[-1], since=since)
        return replace(other, provenance=(*self.provenance[:-1], before, after))


def differing(was: Digests, now: Digests) -> Iterator[tuple[int, int]]:
    """Yield the times, from and up to in microseconds since the epoch, at which two histories differ."""
    histories = [{since if since is not None else FIRST: digest for since, digest in each} for each in (was, now)]
    current: list[str | None] = [None, None]
    for start, end in pairwise([*sorted({*histories[0], *histories[1]}), LAST]):
        current = [each.get(start, held) for each, held in zip(histories, current, strict=True)]
        if current[0] != current[1]:
            yield start, end


def outdated_keys(rows: pl.LazyFrame, outdated: pl.DataFrame) -> pl.LazyFrame:
    """Return (asset, event_timestamp) of those rows that are outdated, each once.

    Args:
        rows: with asset, event_timestamp and created_timestamp.
        outdated: see `Definition.outdated`.
    """
    event, created = (pl.col(name).to_physical() for name in ("event_timestamp", "created_timestamp"))
    return (
        rows.select("asset", "event_timestamp", "created_timestamp")
        .join(outdated.lazy(), on="asset")
        .filter(event > pl.col("after"), event <= pl.col("until"))
        .filter(created >= pl.col("created_from"), created < pl.col("created_until"))
        .select("asset", "event_timestamp")
        .unique()
    )


def definition_of(plant: Plant, plan: ViewPlan) -> Definition:
    """Return the definition by which rows of a view are computed now.

    Args:
        plant: the plant.
        plan: what the view computes.
    """
    view = plan.view
    features = {column.name: column.spec.version for column in plan.columns}
    assets = {name: _digests(history_of(plant, view, plan.uses, name)) for name in plan.names}
    return Definition(
        window=format_duration(view.window),
        hop=format_duration(view.hop),
        align=view.align,
        points={
            each.name: (each.point.unit, each.point.sample_rate or format_duration(each.point.max_staleness))
            for each in plan.points
        },
        provenance=(Provenance(0, features, assets),),
    )


def _fields(each: Definition | Provenance) -> dict[str, Any]:
    """Return the fields by name; `asdict` would copy the facts of every asset."""
    return {field.name: getattr(each, field.name) for field in fields(each)}


def _digests(history: Sequence[Held]) -> Digests:
    """Return digests of the facts that an asset's rows depend on."""
    return [
        (
            None if each.since == FIRST else each.since,
            sha256(json.dumps(each.facts, sort_keys=True).encode()).hexdigest()[:16],
        )
        for each in history
    ]


def from_json(text: str) -> Definition:
    """Return the definition of a stored form, of this version or of an older one.

    Raises:
        FeatureError: the form is of a newer version than this program knows, or is no definition.
    """
    found = read(text)
    return Definition(
        window=found["window"],
        hop=found["hop"],
        align=found["align"],
        points={name: (unit, rate) for name, (unit, rate) in found["points"].items()},
        provenance=tuple(_provenance(each) for each in found["provenance"]),
    )


def _provenance(form: Mapping[str, Any]) -> Provenance:
    assets = {asset: [(since, digest) for since, digest in each] for asset, each in form["assets"].items()}
    return Provenance(form["since"], form["features"], assets, form["newest"])
